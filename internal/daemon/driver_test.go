package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"runtime"
	"runtime/pprof"
	"sync"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/internal/config"
	"github.com/cxtp/cxtp/ipsecctx"
)

// Driver works a daemon from within its process, so that a benchmark can begin
// and move sessions by the hundred thousand without a control request for each.
// Its methods have the form that net/rpc wants.
type Driver struct {
	d       *daemon
	adopted int
	sent    []Sent // since Record(true)
	record  bool   // the engine's, as sent is
	profile *os.File
}

// Sent is one message that the daemon gave to the transport.
type Sent struct {
	At     time.Time
	Octets int
}

// RunDriven is Run with a Driver, which ready is given once everything listens.
func RunDriven(ctx context.Context, cfg *config.Config, opts Options, ready func(*Driver)) error {
	v := &Driver{d: newDaemon(cfg, opts)}
	opts.Ready = func() {
		v.watch()
		ready(v)
	}
	return v.d.run(ctx, opts)
}

// watch stands between the engine and the transport.
func (v *Driver) watch() {
	e := v.d.engine
	e.call(func() {
		send := e.send
		e.send = func(to cxtp.RouterID, msg []byte, expires time.Time) error {
			if v.record {
				v.sent = append(v.sent, Sent{time.Now(), len(msg)})
			}
			return send(to, msg, expires)
		}
	})
}

// Record begins to note what is sent, or ends it and returns the notes.
func (v *Driver) Record(on bool, notes *[]Sent) error {
	v.d.engine.call(func() { *notes, v.sent, v.record = v.sent, nil, on })
	return nil
}

// Parallel runs f for each of n numbers, with so many under way at a time.
func Parallel(n, atOnce int, f func(i int) error) error {
	next := make(chan int)
	errs := make(chan error, atOnce)
	var workers sync.WaitGroup
	for range atOnce {
		workers.Go(func() {
			for i := range next {
				if err := f(i); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	var err error
	for i := 0; i < n && err == nil; i++ {
		select {
		case next <- i:
		case err = <-errs:
		}
	}
	close(next)
	workers.Wait()
	close(errs)
	return errors.Join(err, <-errs)
}

// Install puts n more sessions of one pair of SAs into the gateway, the last of
// them numbered *total, without telling the machine.
func (v *Driver) Install(n int, total *int) error {
	for range n {
		id, static, dynamic := sampleSession(v.adopted)
		if err := v.d.gateway.Install(context.Background(), id, static, dynamic); err != nil {
			return err
		}
		v.adopted++
	}
	*total = v.adopted
	return nil
}

// Adopt makes the machine the owner of the last n sessions that were installed.
func (v *Driver) Adopt(n int, _ *struct{}) error {
	first := v.adopted - n
	return Parallel(n, 256, func(i int) error {
		id, static, _ := sampleSession(first + i)
		return v.ask(func(t cxtp.Ticket) cxtp.Input {
			return cxtp.Adopt{Session: id, Previous: addressIn(samplePrevious, first+i), Claims: static.Claims(), Ticket: t,
				Node: cxtp.NodeState{Tokens: []cxtp.NumberedKey{{Number: 1, Key: secret.New(make([]byte, 20))}}}}
		})
	})
}

// ask waits for the last report on a request.
func (v *Driver) ask(request func(cxtp.Ticket) cxtp.Input) error {
	final := make(chan cxtp.Report, 1)
	unwatch := v.d.engine.ask(func(r cxtp.Report) {
		if r.Final {
			final <- r
		}
	}, request)
	defer unwatch()
	if r := <-final; r.Event != cxtp.EventAdopted && r.Event != cxtp.EventClosed {
		return fmt.Errorf("session %v: %v: %v %s", r.Session, r.Event, r.Statuses, r.Detail)
	}
	return nil
}

// DrainRequest asks for up to Sessions of the sessions that are active here to be
// moved to a peer.
type DrainRequest struct {
	To          cxtp.RouterID
	Sessions    int
	Outstanding int // moves under way at a time
}

// Drained is what became of it.
type Drained struct {
	Whole time.Duration
	Moves []time.Duration // each, from the request to "closed"
}

// Drain moves sessions away.
func (v *Driver) Drain(q DrainRequest, result *Drained) error {
	var ids []cxtp.SessionID
	v.d.engine.call(func() {
		for _, s := range v.d.engine.router.Sessions() {
			if s.State == "active" && len(ids) < q.Sessions {
				ids = append(ids, s.Session)
			}
		}
	})
	if len(ids) < q.Sessions {
		return fmt.Errorf("only %d sessions are active here", len(ids))
	}
	result.Moves = make([]time.Duration, len(ids))
	began := time.Now()
	defer func() { result.Whole = time.Since(began) }()
	return Parallel(len(ids), q.Outstanding, func(i int) error {
		asked := time.Now()
		defer func() { result.Moves[i] = time.Since(asked) }()
		return v.ask(func(t cxtp.Ticket) cxtp.Input { return cxtp.Handover{Session: ids[i], To: q.To, Ticket: t} })
	})
}

// Profile begins to write a CPU profile to the file named; "" ends it, and
// writes the allocations so far beside it.
func (v *Driver) Profile(path string, _ *struct{}) (err error) {
	if path != "" {
		if v.profile, err = os.Create(path); err != nil {
			return err
		}
		return pprof.StartCPUProfile(v.profile)
	}
	pprof.StopCPUProfile()
	allocations, err := os.Create(v.profile.Name() + ".allocs")
	if err != nil {
		return err
	}
	return errors.Join(pprof.Lookup("allocs").WriteTo(allocations, 0), allocations.Close(), v.profile.Close())
}

// Heap is what the process has reachable, in octets.
func (*Driver) Heap(_ struct{}, octets *uint64) error {
	runtime.GC()
	runtime.GC() // the first moves what pools hold to where the second frees it
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	*octets = m.HeapAlloc
	return nil
}

// CPU is the processor time that the process has used.
func (*Driver) CPU(_ struct{}, used *time.Duration) error {
	*used = cpuTime()
	return nil
}

// The prefixes in which sample session number i has the i-th address.
var (
	sampleInner    = netip.MustParseAddr("10.0.0.1")
	samplePrevious = netip.MustParseAddr("100.64.0.1")
)

func addressIn(first netip.Addr, i int) netip.Addr {
	b := first.As4()
	binary.BigEndian.PutUint32(b[:], binary.BigEndian.Uint32(b[:])+uint32(i))
	return netip.AddrFrom4(b)
}

// sampleSession is a node with one pair of SAs: keys, SPIs and addresses of its
// own, and no traffic yet.
func sampleSession(i int) (cxtp.SessionID, *ipsecctx.Session, []ipsecctx.Dynamic) {
	var id cxtp.SessionID
	binary.BigEndian.PutUint64(id[:], uint64(i)+1)
	inner := netip.PrefixFrom(addressIn(sampleInner, i), 32)
	s := &ipsecctx.Session{Inner: []netip.Prefix{inner},
		RemoteID: ipsecctx.Name{Type: idFQDN, Data: fmt.Appendf(nil, "node%d.example", i)}}
	var dynamic []ipsecctx.Dynamic
	for _, direction := range []ipsecctx.Direction{ipsecctx.Inbound, ipsecctx.Outbound} {
		spi := 0x10000 + uint32(i)*2 + uint32(direction)
		key := sha256.Sum256(binary.BigEndian.AppendUint32(nil, spi))
		sa := ipsecctx.SA{
			Direction: direction, Protocol: ipsecctx.ESP, SPI: spi, Mode: ipsecctx.Tunnel, Pair: 1,
			Local: netip.MustParseAddr("127.0.0.1"), Remote: netip.MustParseAddr("127.0.0.1"),
			Encap: ipsecctx.Encap{LocalPort: 4500, RemotePort: 9}, ESN: true,
			Encryption: ipsecctx.Cipher{ID: 20, Bits: 256, Key: secret.New(key[:]), Salt: secret.New([]byte{1, 2, 3, 4})},
			Selectors:  []ipsecctx.Selector{{Remote: ranges(s.Inner), LocalPort: ipsecctx.AnyPort, RemotePort: ipsecctx.AnyPort}},
		}
		d := ipsecctx.Dynamic{Direction: direction, Protocol: ipsecctx.ESP, SPI: spi}
		if direction == ipsecctx.Inbound {
			sa.Window, d.Window = 1024, make([]uint64, 1024/64)
		}
		s.SAs, dynamic = append(s.SAs, sa), append(dynamic, d)
	}
	return id, s, dynamic
}
