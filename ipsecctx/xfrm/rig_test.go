package xfrm

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/features"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

var (
	ctx    = context.Background()
	testID = cxtp.SessionID{1, 2, 3}

	gate = netip.MustParseAddr("192.0.2.1") // the gateways' shared outer address
	node = netip.MustParseAddr("198.51.100.9")

	inner  = netip.MustParseAddr("10.4.0.7")
	inner6 = netip.MustParseAddr("2001:db8:4::7")
	host   = netip.MustParseAddr("10.0.0.1")

	nodes  = netip.MustParsePrefix("10.4.0.0/16")
	nodes6 = netip.MustParsePrefix("2001:db8:4::/48")
)

const (
	spiToGate = 0xc0000001
	spiToNode = 0xc0000002
)

// bench is a gateway on a fake kernel.
type bench struct {
	*Gateway
	t      *testing.T
	kernel *fake
	cfg    Config
	boot   string
	ike    *ikeDaemon // whose SAs they are; nil = the gateway's own
}

func newBench(t *testing.T, w *judge, change ...func(*Config)) *bench {
	b := &bench{t: t, boot: "this boot", kernel: newFake(w), cfg: Config{Dir: t.TempDir(), Protect: []netip.Prefix{nodes, nodes6}}}
	for _, c := range change {
		c(&b.cfg)
	}
	if b.cfg.Adopt {
		b.ike = &ikeDaemon{do: b.kernel.quietly, window: 128, start: b.kernel.clock - 100}
	}
	b.restart()
	return b
}

// adopting has a gateway take on the SAs of an IKE daemon.
func adopting(c *Config) { c.Adopt = true }

// owners runs a test with SAs of the gateways' own, and with those of IKE daemons.
func owners(t *testing.T, test func(t *testing.T, whose func(*Config))) {
	t.Run("owned", func(t *testing.T) { test(t, func(*Config) {}) })
	t.Run("adopted", func(t *testing.T) { test(t, adopting) })
}

// restart is a daemon that begins in a kernel as it is.
func (b *bench) restart() {
	g, err := newGateway(ctx, b.kernel, b.boot, b.cfg)
	must(b.t, err)
	g.listen = func(netip.AddrPort) (io.Closer, error) { return io.NopCloser(nil), nil }
	g.now = func() time.Time { return time.Unix(int64(b.kernel.clock), 0) }
	b.Gateway = g
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// begin starts a session here.
func (b *bench) begin(s *ipsecctx.Session, dynamic []ipsecctx.Dynamic) error {
	if b.ike == nil {
		return b.Install(ctx, testID, s, dynamic)
	}
	b.ike.install(b.t, s)
	for i := range dynamic {
		st := b.kernel.states[stateID(&s.SAs[slices.IndexFunc(s.SAs, func(sa ipsecctx.SA) bool { return sa.ID() == dynamic[i].ID() })], Placement{})]
		st.Replay.OSeq, st.Used = dynamic[i].Sequence, usageOf(&dynamic[i], b.now())
	}
	return b.Adopt(ctx, testID, announced(s))
}

// stage stages a session here, and has the IKE daemon bring its SAs: anew, if it had
// been told of the session before.
func (b *bench) stage(s *ipsecctx.Session) error {
	if err := b.Stage(ctx, testID, s); err != nil || b.ike == nil {
		return err
	}
	b.ike.remove()
	b.ike.install(b.t, s)
	return b.Adopted(ctx, testID)
}

// wantEmpty checks that nothing is left in the kernel, once the IKE daemon has
// taken away what is its own.
func (b *bench) wantEmpty(t *testing.T) {
	t.Helper()
	if b.ike != nil {
		b.ike.remove()
	}
	b.kernel.empty(t)
}

// tester is what testing.T and rapid.T have in common.
type tester interface {
	Helper()
	Errorf(format string, args ...any)
}

func wantStatus(t tester, err error, want cxtp.Status) {
	t.Helper()
	var refusal *features.Error
	if !errors.As(err, &refusal) || refusal.Status != want {
		t.Errorf("got %v, want status %v", err, want)
	}
}

func key(first byte, n int) secret.Key {
	octets := make([]byte, n)
	for i := range octets {
		octets[i] = first + byte(i)
	}
	return secret.New(octets)
}

// testSession is one pair of ESP tunnel SAs with AES-GCM and ESN, behind a NAT.
func testSession() *ipsecctx.Session {
	return &ipsecctx.Session{
		Inner:    []netip.Prefix{netip.PrefixFrom(inner, 32), netip.PrefixFrom(inner6, 128)},
		LocalID:  ipsecctx.Name{Type: ipsecctx.IDFQDN, Data: []byte("sg.example")},
		RemoteID: ipsecctx.Name{Type: ipsecctx.IDFQDN, Data: []byte("node1.example")},
		SAs: []ipsecctx.SA{
			testSA(ipsecctx.Inbound, spiToGate, 0x10),
			testSA(ipsecctx.Outbound, spiToNode, 0x50),
		},
	}
}

func testSA(d ipsecctx.Direction, spi uint32, k byte) ipsecctx.SA {
	return ipsecctx.SA{
		Direction: d, Protocol: ipsecctx.ESP, SPI: spi, Mode: ipsecctx.Tunnel, Pair: 1,
		Local: gate, Remote: node, Encap: ipsecctx.Encap{LocalPort: 4500, RemotePort: 61234},
		Encryption: ipsecctx.Cipher{ID: ipsecctx.EncrAESGCM16, Bits: 256, Key: key(k, 32), Salt: key(k+32, 4), IV: ipsecctx.IVSalted},
		ESN:        true, Window: 128,
		Soft: ipsecctx.Lifetime{Time: 54 * time.Minute}, Hard: ipsecctx.Lifetime{Time: time.Hour, Octets: 1 << 40},
		Selectors: []ipsecctx.Selector{
			{Remote: []ipsecctx.Range{{From: inner, To: inner}}, LocalPort: ipsecctx.AnyPort, RemotePort: ipsecctx.AnyPort, MobilityHeader: ipsecctx.AnyPort},
			{Remote: []ipsecctx.Range{{From: inner6, To: inner6}}, LocalPort: ipsecctx.AnyPort, RemotePort: ipsecctx.AnyPort, MobilityHeader: ipsecctx.AnyPort},
		},
	}
}

// down and up are the i-th packet to and from the node.
func down(i int) packet { return packet{host, inner, i} }
func up(i int) packet   { return packet{inner, host, i} }

func (b *bench) sendDown(n int) {
	for i := range n {
		b.kernel.send(down(i))
	}
}

// upTo has packets with these sequence numbers arrive, and says which got
// through.
func (b *bench) receiveUp(numbers ...uint64) (through []uint64) {
	for _, n := range numbers {
		if b.kernel.receive(gate, spiToGate, uapi.ESP, n, up(int(n))) {
			through = append(through, n)
		}
	}
	return through
}

// wantWire checks what went over the outer wires since the last call, and the
// laws.
func (w *judge) wantWire(t *testing.T, numbers ...uint64) {
	t.Helper()
	var got []uint64
	for _, s := range w.wire {
		got = append(got, s.seq)
	}
	if !slices.Equal(got, numbers) {
		t.Errorf("sent the sequence numbers %d, want %d", got, numbers)
	}
	w.wire = nil
	w.lawful(t)
}

func (w *judge) lawful(t *testing.T) {
	t.Helper()
	if len(w.reused) > 0 {
		t.Errorf("numbers used twice (law 1): %s", w.reused)
	}
	if len(w.clear) > 0 {
		t.Errorf("%d packets left in the clear (law 3)", len(w.clear))
	}
}

// empty checks that a kernel has nothing but the block policies.
func (k *fake) empty(t *testing.T) {
	t.Helper()
	if len(k.states) > 0 {
		t.Errorf("%d SAs are left", len(k.states))
	}
	for _, p := range k.policies {
		if p.Action != uapi.Block || p.Selector.User == overlayUser {
			t.Errorf("policy %v is left", p.ID())
		}
	}
}

func at(t *testing.T, dynamic []ipsecctx.Dynamic, d ipsecctx.Direction) ipsecctx.Dynamic {
	t.Helper()
	i := slices.IndexFunc(dynamic, func(x ipsecctx.Dynamic) bool { return x.Direction == d })
	if i < 0 {
		t.Fatalf("no %s SA in %v", d, dynamic)
	}
	return dynamic[i]
}

func contextWithCancel() (context.Context, context.CancelFunc) { return context.WithCancel(ctx) }

func full4(a string) netip.Prefix { return netip.PrefixFrom(netip.MustParseAddr(a), 32) }

// elsewhere gives a session another node's inner addresses.
func elsewhere(s *ipsecctx.Session) {
	a := netip.MustParseAddr("10.4.1.1")
	s.Inner = []netip.Prefix{netip.PrefixFrom(a, 32)}
	for i := range s.SAs {
		s.SAs[i].Selectors = s.SAs[i].Selectors[:1]
		s.SAs[i].Selectors[0].Remote = []ipsecctx.Range{{From: a, To: a}}
	}
}

// opened counts the sessions' outbound policies whose doors are open.
func (k *fake) opened() (n int) {
	for _, p := range k.policies {
		if p.Dir == uapi.DirOut && (p.Priority == asidePriority || len(p.Templates) > 0 && p.Templates[0].ReqID%doors == 0) {
			n++
		}
	}
	return n
}

func markOf(v uint32) uapi.Mark { return uapi.Mark{Value: v, Mask: ^uint32(0)} }
