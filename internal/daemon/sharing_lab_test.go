//go:build linux && lab

package daemon

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/internal/config"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/lab/topology"
)

// sharer is the kernel gateway of sg1, the holder of the virtual address, without a
// daemon around it.
type sharer struct {
	*kernel
	lab *topology.Topology
	t   *testing.T
	cfg *config.Config
	log bytes.Buffer
}

func newSharer(t *testing.T) *sharer {
	t.Helper()
	lab, err := topology.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { lab.Close() })
	s := &sharer{lab: lab, t: t, cfg: &config.Config{StateDir: t.TempDir()}}
	s.cfg.Kernel = config.KernelGateway{Protect: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}, Outside: topology.Outer, Inside: topology.Inner,
		Shared: []netip.Addr{topology.Virtual.V4, topology.Virtual.V6}, ReqIDs: []uint32{1 << 30, 1<<31 - 1}, SPIs: []uint32{256, 1<<32 - 1}, Priority: 1000}
	s.cfg.Peers = []config.Peer{
		{Name: "sg2", Via: []netip.Addr{topology.SG2Inner.V4}, Outside: []netip.Addr{topology.SG2.V4}},
		// Anybody on the link will do for a third.
		{Name: "sg3", Via: []netip.Addr{topology.SG2Inner.V4}, Outside: []netip.Addr{netip.MustParseAddr("192.0.2.1")}},
	}
	s.must(lab.SG1.AddAddress(topology.Outer, topology.Virtual))
	s.start()
	return s
}

func (s *sharer) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// start begins its life, as after a restart of the daemon.
func (s *sharer) start() []cxtp.Held {
	s.t.Helper()
	var held []cxtp.Held
	s.must(s.lab.SG1.Do(func() error {
		g, err := openKernel(s.t.Context(), s.cfg, slog.New(slog.NewTextHandler(&s.log, nil)), around{near: func(cxtp.SessionID) {}, vanished: func(cxtp.SessionID, string) {}})
		if err != nil {
			return err
		}
		s.kernel = g.(*kernel)
		held, err = g.Held(s.t.Context())
		return err
	}))
	return held
}

func (s *sharer) restart() []cxtp.Held {
	s.t.Helper()
	s.must(s.Stop())
	return s.start()
}

// session is one with the virtual address, of a number.
func (s *sharer) session(n byte) (cxtp.SessionID, *ipsecctx.Session) {
	inner := netip.AddrFrom4([4]byte{10, 1, 0, n})
	one := func(a netip.Addr) []ipsecctx.Range { return []ipsecctx.Range{{From: a, To: a}} }
	static := &ipsecctx.Session{Inner: []netip.Prefix{netip.PrefixFrom(inner, 32)}}
	for _, d := range []ipsecctx.Direction{ipsecctx.Inbound, ipsecctx.Outbound} {
		sa := ipsecctx.SA{Direction: d, Protocol: ipsecctx.ESP, SPI: 0xc0000000 + uint32(n)<<4 + uint32(d), Mode: ipsecctx.Tunnel, Pair: 1,
			Local: topology.Virtual.V4, Remote: netip.AddrFrom4([4]byte{198, 51, 100, n}),
			Encryption: ipsecctx.Cipher{ID: ipsecctx.EncrAESGCM16, Bits: 128, Key: secret.New(bytes.Repeat([]byte{n}, 16)), Salt: secret.New([]byte{1, 2, 3, 4})},
			Selectors: []ipsecctx.Selector{{Local: one(topology.Host.V4), Remote: one(inner),
				LocalPort: ipsecctx.AnyPort, RemotePort: ipsecctx.AnyPort, MobilityHeader: ipsecctx.AnyPort}}}
		if d == ipsecctx.Inbound {
			sa.Window = 64
		}
		static.SAs = append(static.SAs, sa)
	}
	return cxtp.SessionID{n}, static
}

func (s *sharer) install(n byte) cxtp.SessionID {
	s.t.Helper()
	id, static := s.session(n)
	s.must(s.Install(s.t.Context(), id, static, nil))
	return id
}

// depart has a session leave, up to its redirection.
func (s *sharer) depart(id cxtp.SessionID, to cxtp.RouterID) {
	s.t.Helper()
	s.Divert(s.t.Context(), id, to)
	_, err := s.Freeze(s.t.Context(), id)
	s.must(err)
	s.must(s.Redirect(s.t.Context(), id, to))
}

func (s *sharer) finish(id cxtp.SessionID) []netip.Addr {
	s.t.Helper()
	_, err := s.Close(s.t.Context(), id)
	s.must(err)
	return s.Yield(s.t.Context(), id)
}

func (s *sharer) forwarded() (list []string) {
	for _, fw := range s.sharing.forwards.List() {
		list = append(list, fmt.Sprintf("%s to %s by %s", fw.ID[:min(4, len(fw.ID))], fw.To, fw.Width))
	}
	return list
}

func (s *sharer) wants(what string, want ...string) {
	s.t.Helper()
	if got := s.forwarded(); !slices.Equal(got, want) {
		s.t.Errorf("%s: forwarded is %q, want %q", what, got, want)
	}
}

// TestThawEndsForwarding: a session that had left and is here again, because its
// target was fenced after a restart, is not forwarded.
func TestThawEndsForwarding(t *testing.T) {
	s := newSharer(t)
	id := s.install(1)
	s.depart(id, "sg2")
	s.wants("redirected", "0100 to sg2 by address")
	if held := s.restart(); len(held) != 1 || held[0].State != cxtp.HeldFrozen {
		t.Fatalf("found again: %+v", held)
	}
	s.wants("after a restart", "0100 to sg2 by address")
	s.must(s.Thaw(t.Context(), id, ipsecctx.Ceilings{{Direction: ipsecctx.Outbound, Protocol: ipsecctx.ESP, SPI: 0xc0000012}: 1000}))
	s.wants("thawed")
	filters, err := s.lab.SG1.Run(t.Context(), "tc", "filter", "show", "dev", topology.Outer, "ingress")
	if s.must(err); strings.Contains(filters, "c0000011") {
		t.Error("the kernel forwards it still")
	}
}

// TestYield: an address stays as long as somebody here needs it, or its sessions are
// at several gateways; it is yielded once for all, across a restart too.
func TestYield(t *testing.T) {
	s := newSharer(t)
	a, b, c := s.install(1), s.install(2), s.install(3)
	s.depart(a, "sg2")
	if got := s.finish(a); got != nil {
		t.Errorf("with others here: %v", got)
	}
	s.depart(b, "sg3")
	s.depart(c, "sg2")
	for _, id := range []cxtp.SessionID{b, c} {
		if got := s.finish(id); got != nil {
			t.Errorf("with sessions at two gateways: %v", got)
		}
	}
	if notes := strings.Join(s.Notes(), "\n"); !strings.Contains(notes, "for 2 at sg2") || !strings.Contains(notes, "for 1 at sg3") {
		t.Errorf("notes: %q", notes)
	}
	for _, id := range []cxtp.SessionID{a, b, c} {
		s.must(s.Release(t.Context(), id))
	}
	s.wants("all gone", "0100 to sg2 by address", "0200 to sg3 by address", "0300 to sg2 by address")

	// The one that was elsewhere comes back, and goes where the others are.
	id, static := s.session(2)
	s.must(s.Stage(t.Context(), id, static))
	s.wants("staged", "0100 to sg2 by address", "0200 to sg3 by address", "0300 to sg2 by address")
	s.must(s.Activate(t.Context(), id, []ipsecctx.Dynamic{
		{Direction: ipsecctx.Inbound, Protocol: ipsecctx.ESP, SPI: static.SAs[0].SPI, Window: make([]uint64, 1)},
		{Direction: ipsecctx.Outbound, Protocol: ipsecctx.ESP, SPI: static.SAs[1].SPI}}))
	s.wants("active", "0100 to sg2 by address", "0300 to sg2 by address")
	s.depart(id, "sg2")
	want := []netip.Addr{topology.Virtual.V4}
	for range 2 {
		if got := s.finish(id); !slices.Equal(got, want) {
			t.Errorf("yielded %v, want %v", got, want)
		}
	}
	if notes := strings.Join(s.Notes(), "\n"); !strings.Contains(notes, "is to be sg2's") {
		t.Errorf("notes: %q", notes)
	}
	s.restart()
	if got := s.sharing.yield(t.Context(), id); got != nil {
		t.Errorf("before it has left again: %v", got)
	}
	s.depart(id, "sg2")
	if got := s.sharing.yield(t.Context(), id); !slices.Equal(got, want) {
		t.Errorf("after a restart: %v, want %v", got, want)
	}
}

// TestNarrow: of a node whose other session is here, only what has the SPIs of the
// one that left is forwarded, whichever came first.
func TestNarrow(t *testing.T) {
	s := newSharer(t)
	a, b := s.install(1), s.install(2)
	s.depart(a, "sg2")
	s.wants("redirected", "0100 to sg2 by address")
	id, static := s.session(3)
	for i := range static.SAs {
		static.SAs[i].Remote = netip.AddrFrom4([4]byte{198, 51, 100, 1}) // the node's of a
	}
	s.must(s.Install(t.Context(), id, static, nil))
	s.wants("another came", "0100 to sg2 by spi")
	id, static = s.session(4)
	for i := range static.SAs {
		static.SAs[i].Remote = netip.AddrFrom4([4]byte{198, 51, 100, 2}) // the node's of b
	}
	s.must(s.Install(t.Context(), id, static, nil))
	s.depart(b, "sg2")
	s.wants("another was here", "0100 to sg2 by spi", "0200 to sg2 by spi")

	s.must(s.Stop())
	s.cfg.Kernel.Shared = nil
	s.start()
	filters, err := s.lab.SG1.Run(t.Context(), "tc", "filter", "show", "dev", topology.Outer, "ingress")
	if s.must(err); strings.Contains(filters, "c0000011") || strings.Contains(filters, "192.0.2.10") {
		t.Errorf("nothing is shared any more: %s", filters)
	}
}

// TestTake takes the address of a session, and no other.
func TestTake(t *testing.T) {
	s := newSharer(t)
	id := s.install(1)
	s.must(s.sharing.addresses.Give(topology.Virtual.V4))
	s.must(s.sharing.addresses.Give(topology.Virtual.V6))
	holds := func(a netip.Addr) bool {
		held, err := s.sharing.addresses.Holds(a)
		s.must(err)
		return held
	}
	s.Take(t.Context(), cxtp.SessionID{9}, []netip.Addr{topology.Virtual.V4})
	s.Take(t.Context(), id, []netip.Addr{topology.SG2.V4, topology.Virtual.V6})
	if holds(topology.Virtual.V4) || holds(topology.Virtual.V6) || holds(topology.SG2.V4) {
		t.Error("took what it should not")
	}
	if said := s.log.String(); strings.Count(said, "refused") != 3 {
		t.Errorf("said: %s", said)
	}
	for range 2 {
		s.Take(t.Context(), id, []netip.Addr{topology.Virtual.V4})
		if !holds(topology.Virtual.V4) {
			t.Error("did not take what is its own")
		}
	}
}

// TestConcede: where another gateway answers for an address, and the last session with it
// has ended here, that one has taken over: the address is let go of, and not before.
func TestConcede(t *testing.T) {
	s := newSharer(t)
	first, second, third := s.install(1), s.install(2), s.install(3)
	ends := func(id cxtp.SessionID, holds bool, says string) {
		t.Helper()
		s.log.Reset()
		s.must(s.Release(t.Context(), id))
		s.must(s.lab.SG1.Do(func() error { s.sharing.concede(t.Context()); return nil }))
		held, err := s.sharing.addresses.Holds(topology.Virtual.V4)
		s.must(err)
		if said := s.log.String(); held != holds || (said == "") != (says == "") || !strings.Contains(said, says) {
			t.Errorf("holds the address: %v, want %v; said %q, want %q", held, holds, said, says)
		}
	}
	ends(first, true, "")
	s.must(s.lab.SG2.AddAddress(topology.Outer, topology.Virtual))
	ends(second, true, "sessions here need it")
	ends(third, false, "another gateway has taken a shared address")
}

// TestGift: the address is let go of when its new holder answers, and not before; and
// nothing is forwarded any more when the neighbours know it.
func TestGift(t *testing.T) {
	s := newSharer(t)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	id := s.install(1)
	s.depart(id, "sg2")
	go func() { ended <- s.lab.SG1.Do(func() error { return s.sharing.run(ctx) }) }()
	defer func() { cancel(); s.must(<-ended) }()
	if got := s.finish(id); len(got) != 1 {
		t.Fatalf("yielded %v", got)
	}
	holds := func() bool {
		held, err := s.sharing.addresses.Holds(topology.Virtual.V4)
		s.must(err)
		return held
	}
	asked := func() bool {
		s.sharing.mu.Lock()
		defer s.sharing.mu.Unlock()
		g := s.sharing.gifts[topology.Virtual.V4]
		return g != nil && g.wait > askEvery // a second time
	}
	s.await(asked)
	if !holds() {
		t.Error("nobody has the address")
	}
	s.must(s.lab.SG2.AddAddress(topology.Outer, topology.Virtual))
	s.await(func() bool { return !holds() })
	s.wants("handed over", "0100 to sg2 by address", "192. to sg2 by local")
	s.sharing.mu.Lock()
	s.sharing.gifts[topology.Virtual.V4].letGo = time.Now().Add(-noticed)
	s.sharing.mu.Unlock()
	s.sharing.rouse()
	s.await(func() bool { return len(s.forwarded()) == 0 })
}

func (s *sharer) await(so func() bool) {
	s.t.Helper()
	for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if so() { // the kernel has no way to tell us
			return
		}
	}
	s.t.Fatalf("it never came about; it said: %s", &s.log)
}
