package soft

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
	"github.com/cxtp/cxtp/ipsecctx"
)

var (
	outer4a, outer6a = netip.MustParseAddrPort("192.0.2.1:4500"), netip.MustParseAddrPort("[2001:db8:a::1]:4500")
	outer4b, outer6b = netip.MustParseAddrPort("192.0.2.2:4500"), netip.MustParseAddrPort("[2001:db8:b::1]:4500")
	nodeOuter6       = netip.MustParseAddrPort("[2001:db8:5::5]:4500")
)

// bothFamilies is a session with two pairs of SAs: the inner IPv4 address inside
// IPv6, and the inner IPv6 address inside IPv4.
func bothFamilies() *ipsecctx.Session {
	s := gateSession("AES-GCM-256")
	for _, sa := range s.Clone().SAs {
		sa.SPI += 0x100
		sa.Pair, sa.Selectors = 2, []ipsecctx.Selector{selector(node4)}
		sa.Local, sa.Remote = outer6a.Addr(), nodeOuter6.Addr()
		setKeys(&sa, "ChaCha20")
		s.SAs = append(s.SAs, sa)
	}
	for i := range s.SAs[:2] {
		s.SAs[i].Selectors = []ipsecctx.Selector{selector(node6)}
	}
	return s
}

// feature is a gateway as a participant in a move, whose outer addresses are v4
// and v6.
func feature(g *bench, v4, v6 netip.AddrPort) *ipsecctx.Feature {
	return ipsecctx.NewFeature(g.Gateway, ipsecctx.Options{LocalEndpoint: func(remote netip.Addr) (netip.Addr, uint16) {
		if remote.Is4() {
			return v4.Addr(), v4.Port()
		}
		return v6.Addr(), v6.Port()
	}})
}

// carried is what arrives of blocks that are sent in a CTD for a node with an
// IPv4 previous address.
func carried(t *testing.T, blocks []cxtp.CDB) []cxtp.CDB {
	t.Helper()
	wire, err := (&cxtp.CTD{Previous: netip.MustParseAddr("198.51.100.1"), Blocks: blocks}).Append(nil)
	must(t, err)
	m, err := cxtp.Decode(wire)
	must(t, err)
	return m.(*cxtp.CTD).Blocks
}

// TestBothFamiliesInOneTransfer moves a session with SAs and inner addresses of
// both families in one CTD of several context data blocks (RFC 4067 section 2.5:
// V tells of the message's own addresses only), and sends through each of them
// before and after.
func TestBothFamiliesInOneTransfer(t *testing.T) {
	a, b := newBench(t), newBench(t)
	from, to := feature(a, outer4a, outer6a), feature(b, outer4b, outer6b)
	s := bothFamilies()
	must(t, a.Install(testID, s, nil))
	ref := features.Ref{Session: testID, Epoch: 1}

	downlink := func(g *bench, name string) {
		t.Helper()
		g.fromHost(udpPacket(host4, node4, 1, 2, nil))
		g.fromHost(udpPacket(host6, node6, 1, 2, nil))
		g.out.mu.Lock()
		to := g.out.to
		g.out.mu.Unlock()
		g.out.take()
		if len(to) != 2 || to[0] != nodeOuter6 || to[1] != nodeOuter {
			t.Fatalf("%s sends to %v, want %s for the inner IPv4 address and %s for the IPv6 one", name, to, nodeOuter6, nodeOuter)
		}
	}
	downlink(a, "the source")

	static, err := from.Export(ctx, ref, nil)
	must(t, err)
	if len(static.Blocks) != 5 || len(static.Manifest) != 4 {
		t.Fatalf("%d blocks and %d entries of the manifest, want one block for the session and each of 4 SAs", len(static.Blocks), len(static.Manifest))
	}
	for i := range static.Manifest {
		static.Manifest[i].Ceiling += 100 // as the machine does
	}
	must(t, to.Stage(ctx, ref, features.Staging{Blocks: carried(t, static.Blocks), Manifest: static.Manifest}))
	claims, err := to.Claims(carried(t, static.Blocks))
	must(t, err)
	if len(claims.Inner) != 2 {
		t.Errorf("the target is responsible for %v", claims.Inner)
	}
	final, err := from.Freeze(ctx, ref)
	must(t, err)
	must(t, to.Activate(ctx, ref, carried(t, final.Blocks)))
	downlink(b, "the target")

	moved, dynamic, err := b.Export(ctx, testID)
	must(t, err)
	for i, want := range []netip.AddrPort{outer4b, outer4b, outer6b, outer6b} {
		sa := moved.SAs[i]
		if got := netip.AddrPortFrom(sa.Local, sa.Encap.LocalPort); got != want || !bytes.Equal(sa.Encryption.Key.Bytes(), s.SAs[i].Encryption.Key.Bytes()) {
			t.Errorf("SA %#x is at %s at the target, want %s, or has another key", sa.SPI, got, want)
		}
	}
	for _, d := range dynamic {
		if d.Direction == ipsecctx.Outbound && d.Sequence != 2 {
			t.Errorf("SA %#x has used %d numbers, want one of each gateway", d.SPI, d.Sequence)
		}
	}
}
