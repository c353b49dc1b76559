package xfrm

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

func TestStats(t *testing.T) {
	b := newBench(t, newJudge())
	must(t, b.Install(ctx, testID, rekeyed(), nil))
	b.sendDown(3)
	b.receiveUp(7)
	delete(b.kernel.states, uapi.StateID{Dst: node, SPI: spiToNode, Proto: uapi.ESP})
	all, err := b.Stats(ctx)
	must(t, err)
	st := all[testID]
	if len(all) != 1 || st.Phase != Active || len(st.SAs) != 4 {
		t.Fatalf("%+v", all)
	}
	in, gone, newest := st.SAs[0], st.SAs[1], st.SAs[3]
	if in.Sequence != 7 || in.Used.Packets != 1 || !gone.Gone || newest.Gone || newest.Sequence != 3 {
		t.Errorf("%+v", st.SAs)
	}
}

// TestEventsLost looks for ceilings that come near when the kernel could not tell.
func TestEventsLost(t *testing.T) {
	near := make(chan cxtp.SessionID, 10)
	b := newBench(t, newJudge(), func(c *Config) { c.NearCeiling = func(id cxtp.SessionID) { near <- id } })
	must(t, b.Install(ctx, testID, testSession(), nil))
	must(t, b.Limit(ctx, testID, ipsecctx.Ceilings{outbound: 10}))
	b.kernel.events = make(chan uapi.Event) // nobody listens yet: what is told now is lost
	b.sendDown(6)
	watch, stop := context.WithCancel(ctx)
	done := make(chan error)
	go func() { done <- b.Run(watch) }()
	b.kernel.events <- &uapi.EventsLost{}
	if id := <-near; id != testID {
		t.Errorf("near for %v", id)
	}
	stop()
	must(t, <-done)
}

// TestReserveSPI stages a session on an SPI that the kernel has reserved for it,
// and nobody else can.
func TestReserveSPI(t *testing.T) {
	b := newBench(t, newJudge(), func(c *Config) { c.FirstSPI, c.LastSPI = 0x2000, 0x2001 })
	spi, err := b.ReserveSPI(ctx, gate, node, ipsecctx.ESP, ipsecctx.Tunnel)
	must(t, err)
	another, err := b.ReserveSPI(ctx, gate, node, ipsecctx.ESP, ipsecctx.Tunnel)
	must(t, err)
	if spi != 0x2000 || another != 0x2001 {
		t.Errorf("reserved %#x and %#x", spi, another)
	}
	_, err = b.ReserveSPI(ctx, gate, node, ipsecctx.ESP, ipsecctx.Tunnel)
	wantStatus(t, err, cxtp.StatusSPIConflict)
	s := testSession()
	s.SAs[0].SPI = spi
	must(t, b.Install(ctx, testID, s, nil))
	if !b.kernel.receive(gate, spi, uapi.ESP, 1, up(1)) {
		t.Error("the SA does not work")
	}
	b.kernel.clock += 31 // the reservation is over, and the SPI is somebody else's
	theirs := testSession()
	elsewhere(theirs)
	theirs.SAs[0].SPI, theirs.SAs[1].SPI = another, 0x5001
	wantStatus(t, b.Stage(ctx, cxtp.SessionID{7}, theirs), cxtp.StatusSPIConflict)
}

// TestReasons has every failure of the kernel say what to do.
func TestReasons(t *testing.T) {
	for errno, want := range map[syscall.Errno]string{
		syscall.EPERM:           "CAP_NET_ADMIN",
		syscall.EPROTONOSUPPORT: "esp4",
		syscall.ENOSYS:          "crypto module",
	} {
		b := newBench(t, newJudge())
		b.kernel.fault = func(_ int, r uapi.Request) error {
			if r.State == nil {
				return nil
			}
			return &uapi.Error{Op: r.Op, Errno: errno}
		}
		for name, err := range map[string]error{"Stage": b.Stage(ctx, testID, testSession()), "Supports": b.Supports(&testSession().SAs[0])} {
			if err == nil || !strings.Contains(err.Error(), want) || !errors.Is(err, errno) {
				t.Errorf("%s, %v: %v", name, errno, err)
			}
		}
	}
	b := newBench(t, newJudge())
	must(t, b.Stage(ctx, testID, testSession()))
	delete(b.kernel.states, uapi.StateID{Dst: gate, SPI: spiToGate, Proto: uapi.ESP})
	final := []ipsecctx.Dynamic{find(nil, &testSession().SAs[0]), find(nil, &testSession().SAs[1])}
	err := b.Activate(ctx, testID, final)
	wantStatus(t, err, cxtp.StatusNoBase)
	if !strings.Contains(err.Error(), "somebody else deleted it") {
		t.Error(err)
	}
}

// TestUnsupported refuses by name what the kernel has no way for.
func TestUnsupported(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*ipsecctx.SA)
		want   cxtp.Status
	}{
		"implicit IV": {func(sa *ipsecctx.SA) {
			sa.Encryption.ID, sa.Encryption.IV = ipsecctx.EncrAESGCM16IIV, ipsecctx.IVImplicit
		}, cxtp.StatusAlgorithm},
		"AH with GMAC": {func(sa *ipsecctx.SA) {
			sa.Protocol, sa.Encryption, sa.Encap = ipsecctx.AH, ipsecctx.Cipher{}, ipsecctx.Encap{}
			sa.Integrity = integrity(ipsecctx.AuthAES128GMAC)
		}, cxtp.StatusAlgorithm},
		"ESN without a window": {func(sa *ipsecctx.SA) { sa.Window = 0 }, cxtp.StatusWindow},
		"DF set":               {func(sa *ipsecctx.SA) { sa.DF = ipsecctx.DFSet }, cxtp.StatusUnsupported},
		"DSCP map":             {func(sa *ipsecctx.SA) { sa.MapDSCP = []ipsecctx.DSCPMapping{{Inner: 1, Outer: 2}} }, cxtp.StatusUnsupported},
		"DSCP":                 {func(sa *ipsecctx.SA) { sa.DSCP = []byte{46} }, cxtp.StatusUnsupported},
		"fragments":            {func(sa *ipsecctx.SA) { sa.StatefulFragments = true }, cxtp.StatusUnsupported},
		"label":                {func(sa *ipsecctx.SA) { sa.Selectors[0].Sensitivity = []byte{1} }, cxtp.StatusUnsupported},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, newJudge())
			sa := testSession().SAs[0]
			c.change(&sa)
			wantStatus(t, b.Supports(&sa), c.want)
			b.kernel.empty(t)
		})
	}
}

// TestConfig refuses what could not work, before the kernel is touched.
func TestConfig(t *testing.T) {
	good := func() Config { return Config{Dir: t.TempDir(), Protect: []netip.Prefix{nodes}} }
	for name, change := range map[string]func(*Config){
		"no folder":            func(c *Config) { c.Dir = "" },
		"nothing protected":    func(c *Config) { c.Protect = nil },
		"bits behind a prefix": func(c *Config) { c.Protect = []netip.Prefix{netip.MustParsePrefix("10.4.0.7/16")} },
		"reqids":               func(c *Config) { c.FirstReqID, c.LastReqID = 5, 6 },
		"SPIs":                 func(c *Config) { c.FirstSPI, c.LastSPI = 5, 600 },
		"priority":             func(c *Config) { c.Priority = ^uint32(0) },
	} {
		c := good()
		change(&c)
		k := newFake(newJudge())
		if _, err := newGateway(ctx, k, "", c); err == nil || k.calls > 0 {
			t.Errorf("%s: %v after %d requests", name, err, k.calls)
		}
	}
}

// TestReqIDs gives each group its own, and takes them again when they are free.
func TestReqIDs(t *testing.T) {
	b := newBench(t, newJudge(), func(c *Config) { c.FirstReqID, c.LastReqID = 100, 107 })
	other := func(i byte) (cxtp.SessionID, *ipsecctx.Session) {
		s := testSession()
		elsewhere(s)
		a := netip.AddrFrom4([4]byte{10, 4, 2, i})
		s.Inner = []netip.Prefix{netip.PrefixFrom(a, 32)}
		for k := range s.SAs {
			s.SAs[k].SPI += 256 * uint32(i)
			s.SAs[k].Selectors[0].Remote = []ipsecctx.Range{{From: a, To: a}}
		}
		return cxtp.SessionID{i}, s
	}
	for i := range byte(2) {
		id, s := other(i)
		must(t, b.Stage(ctx, id, s))
	}
	id, s := other(2)
	wantStatus(t, b.Stage(ctx, id, s), cxtp.StatusNoResources)
	must(t, b.Release(ctx, cxtp.SessionID{1}))
	must(t, b.Stage(ctx, id, s))
	b.restart()
	held, err := b.Held(ctx)
	must(t, err)
	if len(held) != 2 {
		t.Errorf("held %v", held)
	}
	id, s = other(3)
	wantStatus(t, b.Stage(ctx, id, s), cxtp.StatusNoResources)
}

// TestSockets opens one for each local end of ESP in UDP, unless others do.
func TestSockets(t *testing.T) {
	for _, others := range []bool{false, true} {
		b := newBench(t, newJudge(), func(c *Config) { c.OthersEncapsulate = others })
		var opened []netip.AddrPort
		b.listen = func(at netip.AddrPort) (io.Closer, error) { opened = append(opened, at); return io.NopCloser(nil), nil }
		must(t, b.Install(ctx, testID, rekeyed(), nil))
		want := []netip.AddrPort{netip.AddrPortFrom(gate, 4500)}
		if others {
			want = nil
		}
		if !slices.Equal(opened, want) {
			t.Errorf("opened %v, want %v", opened, want)
		}
		must(t, b.Stop())
	}
	b := newBench(t, newJudge())
	b.listen = noSocket
	wantStatus(t, b.Stage(ctx, testID, testSession()), cxtp.StatusUnsupported)
	b.kernel.empty(t)
}
