package soft

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
)

var ctx = context.Background()

// down is the i-th packet for the node.
func down(i int) []byte {
	return udpPacket(host4, node4, 7, 7, binary.BigEndian.AppendUint32(nil, uint32(i)))
}

// TestStagedIsSilent has a staged session send nothing, accept nothing and leak
// nothing, and lose nothing of what came from inside.
func TestStagedIsSilent(t *testing.T) {
	// With Bypass whatever the session did not hold back would leave in clear.
	g := newBench(t, func(c *Config) { c.DefaultPolicy, c.ClearNextHop = Bypass, nodeOuter })
	s := gateSession("AES-GCM-256")
	must(t, g.Stage(ctx, testID, s))
	esp := nodeEnd(t, s).uplink(3)
	for i := range 5 {
		g.fromHost(down(i))
	}
	for _, p := range esp {
		g.fromNode(p)
	}
	if out, in := g.out.take(), g.in.take(); len(out) != 0 || len(in) != 0 {
		t.Fatalf("a staged session sent %x and passed %x", out, in)
	}
	st := g.Stats().Sessions[testID]
	if st.Phase != Staged || st.Waiting != 5 || st.Counters != (Counters{Out: OutCounters{Queued: 5}, In: InCounters{StagedDrops: 3}}) {
		t.Errorf("%+v", st)
	}

	// A fresher stage keeps what waits.
	must(t, g.Stage(ctx, testID, s))
	final := []ipsecctx.Dynamic{
		{Direction: ipsecctx.Outbound, Protocol: ipsecctx.ESP, SPI: spiToNode, Sequence: 41},
		{Direction: ipsecctx.Inbound, Protocol: ipsecctx.ESP, SPI: spiToGate, Sequence: 2, Window: []uint64{1}},
	}
	wantStatus(t, g.Activate(ctx, testID, final[:1]), cxtp.StatusNoBase)
	wantStatus(t, g.Activate(ctx, testID, []ipsecctx.Dynamic{final[0], final[0]}), cxtp.StatusMalformed)
	wantStatus(t, g.Activate(ctx, testID, []ipsecctx.Dynamic{{Direction: ipsecctx.Outbound, Protocol: ipsecctx.ESP, SPI: 0x777}, final[1]}), cxtp.StatusNoBase)
	must(t, g.Activate(ctx, testID, final))
	must(t, g.Activate(ctx, testID, final)) // changes nothing
	if got, want := sequences(t, s, g.out.take()), []uint64{42, 43, 44, 45, 46}; !slices.Equal(got, want) {
		t.Errorf("sent %d, want %d", got, want)
	}
	for _, p := range esp {
		g.fromNode(p)
	}
	if in := g.Stats().Sessions[testID].In; in.Received != 2 || in.Replayed != 1 { // 2 was seen before
		t.Errorf("%+v", in)
	}
}

// TestQueueBound drops the newest, and counts.
func TestQueueBound(t *testing.T) {
	g := newBench(t, func(c *Config) { c.QueuePackets = 3 })
	s := gateSession("ChaCha20")
	must(t, g.Install(testID, s, nil))
	_, err := g.Freeze(ctx, testID)
	must(t, err)
	for i := range 5 {
		g.fromHost(down(i))
	}
	must(t, g.Thaw(ctx, testID, nil))
	inspector, err := NewInspector(&s.SAs[0])
	must(t, err)
	for i, p := range g.out.take() {
		_, _, inner, err := inspector.Open(p)
		must(t, err)
		if !bytes.Equal(inner, hopped(down(i))) {
			t.Errorf("packet %d is %x", i, inner)
		}
	}
	if out := g.Stats().Out; out != (OutCounters{Sent: 3, Queued: 3, QueueDrops: 2}) {
		t.Errorf("%+v", out)
	}
}

// TestPhases tries every operation in every phase, twice.
func TestPhases(t *testing.T) {
	const (
		staged = iota
		active
		frozen
		redirected
		closed
		phases
	)
	final := []ipsecctx.Dynamic{
		{Direction: ipsecctx.Outbound, Protocol: ipsecctx.ESP, SPI: spiToNode},
		{Direction: ipsecctx.Inbound, Protocol: ipsecctx.ESP, SPI: spiToGate, Window: make([]uint64, 1)},
	}
	operations := map[string]struct {
		do      func(*bench) error
		allowed []int
	}{
		"Stage":    {func(b *bench) error { return b.Stage(ctx, testID, gateSession("ChaCha20")) }, []int{staged}},
		"Export":   {func(b *bench) error { _, _, err := b.Export(ctx, testID); return err }, []int{staged, active, frozen, redirected, closed}},
		"Activate": {func(b *bench) error { return b.Activate(ctx, testID, final) }, []int{staged, active}},
		"Freeze":   {func(b *bench) error { _, err := b.Freeze(ctx, testID); return err }, []int{active, frozen, redirected, closed}},
		"Limit":    {func(b *bench) error { return b.Limit(ctx, testID, nil) }, []int{staged, active, frozen, redirected, closed}},
		"Thaw":     {func(b *bench) error { return b.Thaw(ctx, testID, nil) }, []int{active, frozen}},
		"Redirect": {func(b *bench) error { return b.Redirect(ctx, testID, "other") }, []int{frozen, redirected, closed}},
		"Close":    {func(b *bench) error { _, err := b.Close(ctx, testID); return err }, []int{frozen, redirected, closed}},
		"Merge":    {func(b *bench) error { return b.Merge(ctx, testID, final[1:]) }, []int{active, frozen, redirected, closed}},
		"Release":  {func(b *bench) error { return b.Release(ctx, testID) }, []int{active, frozen, redirected, closed}},
		"Discard":  {func(b *bench) error { return b.Discard(ctx, testID) }, []int{staged}},
	}
	withPeer := func() *bench {
		return newBench(t, func(c *Config) { c.Peers = map[cxtp.RouterID]netip.AddrPort{"other": hostHop} })
	}
	path := []string{staged: "Stage", active: "Activate", frozen: "Freeze", redirected: "Redirect", closed: "Close"}
	for name, op := range operations {
		for phase := range phases {
			b := withPeer()
			for _, step := range path[:phase+1] {
				must(t, operations[step].do(b))
			}
			for range 2 {
				before := b.Stats()
				err := op.do(b)
				if allowed := slices.Contains(op.allowed, phase); allowed != (err == nil) {
					t.Errorf("%s after %s: %v", name, path[phase], err)
				}
				var pe *PhaseError
				if after := b.Stats().Sessions[testID]; errors.As(err, &pe) && (after.Phase != before.Sessions[testID].Phase || pe.Operation != name) {
					t.Errorf("%s after %s was refused and left the session %s: %v", name, path[phase], after.Phase, err)
				}
			}
		}
		if name == "Release" || name == "Discard" {
			must(t, op.do(newBench(t)))
		} else if name != "Stage" {
			wantStatus(t, op.do(withPeer()), cxtp.StatusUnknownSession)
		}
	}
	b := newBench(t)
	must(t, b.Install(testID, gateSession("ChaCha20"), nil))
	if err := b.Redirect(ctx, testID, "nobody"); err == nil {
		t.Error("redirected to an unknown gateway")
	}
}

// TestFreezeIsExact freezes again and again while several goroutines send. What
// is on the wire when Freeze returns is all that its counter stands for, and
// nothing more follows, not even what was on its way already.
func TestFreezeIsExact(t *testing.T) {
	const senders, freezes = 3, 5
	for _, transform := range []string{"AES-GCM-128", "AES-CBC-128"} {
		t.Run(transform, func(t *testing.T) {
			g := newBench(t, func(c *Config) { c.QueuePackets = 1 << 20 })
			s := gateSession(transform)
			must(t, g.Install(testID, s, nil))
			due := make(chan struct{}, 1) // filled at every 50th packet on the wire
			g.out.on = func(n int) {
				if n%50 == 0 {
					select {
					case due <- struct{}{}:
					default:
					}
				}
			}
			var wg sync.WaitGroup
			stop := make(chan struct{})
			var given [senders]int
			var asked [senders]atomic.Bool // to say when it is between two packets
			between := make(chan struct{}, senders)
			for k := range senders {
				wg.Go(func() {
					for ; ; given[k]++ {
						if asked[k].CompareAndSwap(true, false) {
							between <- struct{}{}
						}
						select {
						case <-stop:
							return
						default:
							g.fromHost(down(given[k]))
						}
					}
				})
			}
			for range freezes {
				<-due
				final, err := g.Freeze(ctx, testID)
				must(t, err)
				for k := range senders {
					asked[k].Store(true)
				}
				for range senders {
					<-between
				}
				again, err := g.Freeze(ctx, testID)
				must(t, err)
				if !sameDynamic(final, again) {
					t.Errorf("frozen at %v, then at %v", final, again)
				}
				if sent := g.out.count(); final[1].Sequence != uint64(sent) {
					t.Errorf("frozen at %d with %d packets on the wire", final[1].Sequence, sent)
				}
				must(t, g.Thaw(ctx, testID, nil))
			}
			close(stop)
			wg.Wait()
			total := uint64(0)
			for _, n := range given {
				total += uint64(n)
			}
			seqs := sequences(t, s, g.out.take())
			slices.Sort(seqs)
			if n := uint64(len(seqs)); n != total || seqs[n-1] != total {
				t.Errorf("%d packets up to number %d, want %d", n, seqs[n-1], total)
			}
		})
	}
}

// TestMove takes a session from one gateway to another on real sockets while
// both ends send. Nothing is lost, nothing comes twice, no number or IV is used
// twice on the wire, and no packet that the source accepted can be replayed to
// the target.
func TestMove(t *testing.T) {
	for transform := range transforms {
		t.Run(transform, func(t *testing.T) {
			b := newLive(t, false, nil)
			a := newLive(t, false, b.host, func(c *Config) {
				c.Peers = map[cxtp.RouterID]netip.AddrPort{"b": b.inside}
			})
			node := newLive(t, false, nil, func(c *Config) { c.Host = true })
			s := gateSession(transform)
			for i := range s.SAs {
				s.SAs[i].Remote, s.SAs[i].Encap.RemotePort = node.outside.Addr(), node.outside.Port()
			}
			must(t, a.Install(testID, s, nil))
			must(t, node.Install(testID, mirrored(s, a.outside), nil))

			m := &mover{t: t, node: node, got: map[uint32]int{}}
			m.downlink(a, 50) // before
			m.uplink(a, 20)

			static, _, err := a.Export(ctx, testID)
			must(t, err)
			must(t, b.Stage(ctx, testID, static))
			final, err := a.Freeze(ctx, testID)
			must(t, err)
			m.send(a, 40)   // queued at the source
			m.uplink(a, 20) // its inbound part is live still
			must(t, b.Activate(ctx, testID, final))
			must(t, a.Redirect(ctx, testID, "b"))
			m.send(a, 40) // passed on to the target
			m.recv(80)
			must(t, node.SetRemote(testID, b.outside))
			m.uplink(b, 20)
			m.downlink(b, 50)
			last, err := a.Close(ctx, testID)
			must(t, err)
			must(t, b.Merge(ctx, testID, last))
			must(t, a.Release(ctx, testID))
			m.uplink(b, 5)
			m.check()

			fromA, toA := a.tap.all()
			fromB, toB := b.tap.all()
			seqs := sequences(t, s, append(fromA, fromB...))
			slices.Sort(seqs)
			if n := uint64(len(seqs)); n != uint64(m.sent) || seqs[n-1] != n || uint64(len(fromA)) != final[1].Sequence {
				t.Errorf("%d packets on the wire up to %d, %d of them from the source, frozen at %d; %d were sent",
					n, seqs[n-1], len(fromA), final[1].Sequence, m.sent)
			}
			before := b.Stats().In
			for _, p := range append(toA, toB...) {
				feed(b.fromOutside, p)
			}
			after := b.Stats().In
			if after.Received != before.Received || after.Replayed-before.Replayed != uint64(len(toA)+len(toB)) {
				t.Errorf("of %d replayed packets %d were accepted", len(toA)+len(toB), after.Received-before.Received)
			}
		})
	}
}

// mover numbers the packets of TestMove and finds them again.
type mover struct {
	t    *testing.T
	node *live
	sent int
	got  map[uint32]int
}

// send gives n packets for the node to a gateway.
func (m *mover) send(to *live, n int) {
	m.t.Helper()
	for range n {
		to.send(m.t, down(m.sent))
		m.sent++
	}
}

// recv takes n packets at the node.
func (m *mover) recv(n int) {
	m.t.Helper()
	for range n {
		p := m.node.recv(m.t)
		m.got[binary.BigEndian.Uint32(p[28:])]++
	}
}

func (m *mover) downlink(via *live, n int) {
	m.t.Helper()
	m.send(via, n)
	m.recv(n)
}

// uplink sends n packets from the node and takes them behind the gateway.
func (m *mover) uplink(via *live, n int) {
	m.t.Helper()
	for i := range n {
		p := udpPacket(node4, host4, 9, uint16(i), nil)
		m.node.send(m.t, p)
		if got := via.recv(m.t); !bytes.Equal(got, hopped(p)) {
			m.t.Fatalf("the host received %x, want %x", got, hopped(p))
		}
	}
}

func (m *mover) check() {
	m.t.Helper()
	for i := range m.sent {
		if n := m.got[uint32(i)]; n != 1 {
			m.t.Errorf("packet %d arrived %d times", i, n)
		}
	}
}

// TestClosedAndReleased follows a session to its end.
func TestClosedAndReleased(t *testing.T) {
	g := newBench(t)
	s := gateSession("AES-GCM-128")
	must(t, g.Install(testID, s, nil))
	esp := nodeEnd(t, s).uplink(4)
	g.fromNode(esp[0])
	g.fromHost(down(0))
	_, err := g.Freeze(ctx, testID)
	must(t, err)
	g.fromNode(esp[2])
	last, err := g.Close(ctx, testID)
	must(t, err)
	if len(last) != 1 || last[0].SPI != spiToGate || last[0].Sequence != 3 || !slices.Equal(last[0].Window, []uint64{0b101}) {
		t.Errorf("closed with %+v", last)
	}
	g.fromNode(esp[3])
	g.fromHost(down(1))
	static := g.session(testID).static
	must(t, g.Release(ctx, testID))
	g.fromNode(esp[3])
	g.fromHost(down(2))

	st := g.Stats()
	want := Counters{Out: OutCounters{Sent: 1, Queued: 1}, In: InCounters{Received: 2, ClosedDrops: 1}}
	if st.Counters != want || st.Stray != (Stray{PolicyDrops: 1, UnknownSPI: 1}) || len(st.Sessions) != 0 {
		t.Errorf("%+v", st)
	}
	for i := range static.SAs {
		if key := static.SAs[i].Encryption.Key.Bytes(); !bytes.Equal(key, make([]byte, len(key))) {
			t.Error("Release left a key")
		}
		if s.SAs[i].Encryption.Key.Equal(static.SAs[i].Encryption.Key) {
			t.Error("Release wiped the caller's key")
		}
	}
}

// TestSetRemote changes where packets go, and nothing else.
func TestSetRemote(t *testing.T) {
	g := newBench(t)
	s := gateSession("ChaCha20")
	must(t, g.Install(testID, s, nil))
	to := netip.MustParseAddrPort("203.0.113.77:4501")
	g.fromHost(down(0))
	must(t, g.SetRemote(testID, to))
	g.fromHost(down(1))
	if want := []netip.AddrPort{nodeOuter, to}; !slices.Equal(g.out.to, want) {
		t.Errorf("sent to %v, want %v", g.out.to, want)
	}
	static, dynamic, err := g.Export(ctx, testID)
	must(t, err)
	if sa := static.SAs[0]; sa.Remote != to.Addr() || sa.Encap.RemotePort != to.Port() || dynamic[1].Sequence != 2 {
		t.Errorf("exported %v:%d at %d", sa.Remote, sa.Encap.RemotePort, dynamic[1].Sequence)
	}
	must(t, static.Validate())
	for _, bad := range []string{"0.0.0.0:4500", "203.0.113.77:0", "[2001:db8::1]:4500"} {
		if err := g.SetRemote(testID, netip.MustParseAddrPort(bad)); err == nil {
			t.Errorf("%s was taken", bad)
		}
	}
}
