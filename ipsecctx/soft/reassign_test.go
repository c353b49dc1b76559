package soft

import (
	"bytes"
	"net/netip"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
	"github.com/cxtp/cxtp/ipsecctx"
)

var otherNode4 = netip.MustParseAddr("10.9.0.77")

// otherSession has the inbound SPI of gateSession, and another node.
func otherSession() *ipsecctx.Session {
	s := gateSession("AES-GCM-256")
	s.Inner = []netip.Prefix{netip.PrefixFrom(otherNode4, 32)}
	for i := range s.SAs {
		s.SAs[i].Selectors = []ipsecctx.Selector{selector(otherNode4)}
	}
	s.SAs[0].SPI = 0x1777
	return s
}

// TestSPIConflict moves a session to a gateway where another session has its
// inbound SPI: once refused, then with another SPI, on which the node sends as
// soon as it is told. What the source accepts until it closes is merged, although
// it speaks of the old SPI.
func TestSPIConflict(t *testing.T) {
	a, b := newBench(t), newBench(t)
	from, to := feature(a, outer4a, outer6a), feature(b, outer4b, outer6b)
	s := gateSession("AES-GCM-128")
	must(t, a.Install(testID, s, nil))
	must(t, b.Install(otherID, otherSession(), nil))
	node, other := nodeEnd(t, s), nodeEnd(t, otherSession())

	accepted := func(g *bench, packets [][]byte, want int) {
		t.Helper()
		for _, p := range packets {
			g.fromNode(bytes.Clone(p))
		}
		if got := len(g.in.take()); got != want {
			t.Fatalf("%d of %d packets came through, want %d", got, len(packets), want)
		}
	}
	before := node.uplink(5)
	accepted(a, before, 5)

	staging := func(epoch cxtp.Epoch) (features.Ref, features.Staging) {
		t.Helper()
		ref := features.Ref{Session: testID, Epoch: epoch}
		static, err := from.Export(ctx, ref, nil)
		must(t, err)
		for i := range static.Manifest {
			static.Manifest[i].Ceiling += 1000
		}
		return ref, features.Staging{Blocks: static.Blocks, Manifest: static.Manifest}
	}
	ref, staged := staging(1)
	wantStatus(t, to.Stage(ctx, ref, staged), cxtp.StatusSPIConflict)
	if b.session(testID) != nil || to.Reassigned(ref) != nil {
		t.Error("a session that was refused is there")
	}

	ref, staged = staging(2)
	staged.Reassign = true
	must(t, to.Stage(ctx, ref, staged))
	changes := to.Reassigned(ref)
	if len(changes) != 1 || changes[0].Protocol != 50 || changes[0].Old != spiToGate || changes[0].New == spiToGate {
		t.Fatalf("reassigned %+v", changes)
	}
	final, err := from.Freeze(ctx, ref)
	must(t, err)
	must(t, to.Activate(ctx, ref, final.Blocks))
	late := node.uplink(3) // still to the source, after the final
	accepted(a, late, 3)

	must(t, node.SetRemote(testID, outer4b))
	for range 2 {
		must(t, node.SetOutboundSPIs(testID, changes))
	}
	accepted(b, node.uplink(4), 4)
	last, err := from.Close(ctx, ref)
	must(t, err)
	must(t, to.Merge(ctx, ref, last.Blocks))
	must(t, from.Release(ctx, ref))

	for _, p := range append(before, late...) { // what the source accepted, on the new SPI: refused
		copy(p, []byte{byte(changes[0].New >> 24), byte(changes[0].New >> 16), byte(changes[0].New >> 8), byte(changes[0].New)})
	}
	accepted(b, append(before, late...), 0)
	other.fromHost(udpPacket(otherNode4, host4, 1, 1, nil))
	accepted(b, other.out.take(), 1)
	if static, _, err := b.Export(ctx, testID); err != nil || static.SAs[1].SPI != changes[0].New {
		t.Errorf("exported with inbound SPI %#x (%v), want %#x", static.SAs[1].SPI, err, changes[0].New)
	}
}
