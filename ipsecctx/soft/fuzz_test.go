package soft

import (
	"testing"

	"github.com/cxtp/cxtp/ipsecctx"
)

// FuzzInbound gives a gateway arbitrary datagrams from outside, and the same
// octets as the contents of authentic packets and from inside. Nothing may get
// through that the selectors do not allow.
func FuzzInbound(f *testing.F) {
	s := gateSession("AES-GCM-128")
	for _, p := range nodeEnd(f, s).uplink(2) {
		f.Add(p, uint8(protoIPv4))
	}
	f.Add([]byte{0xff}, uint8(protoNone))
	f.Add([]byte{0, 0, 0, 0, 0, 0, 0, 0}, uint8(protoIPv6))
	f.Add(udpPacket(node4, host4, 1, 2, []byte("data")), uint8(protoIPv4))
	f.Add(udpPacket(node6, host6, 1, 2, []byte("data")), uint8(protoIPv6))
	f.Add(fragment6(extDestinations, 8, []byte{1, 2, 3}), uint8(protoIPv6))
	f.Add(ipPacket(node6, host6, extRouting, []byte{protoUDP, 255, 0, 0, 0, 0, 0, 0}), uint8(protoIPv6))

	su, err := newSuite(&s.SAs[1])
	must(f, err)
	f.Fuzz(func(t *testing.T, data []byte, next uint8) {
		g := newBench(t)
		must(t, g.Install(testID, s, nil))
		g.fromNode(data)
		g.fromHost(data)
		buf := make([]byte, headroom+len(data)+tailroom)
		copy(buf[headroom:], data)
		g.fromNode(encapsulate(su, buf, headroom, headroom+len(data), spiToGate, 100, next))

		st := g.Stats()
		in := st.In
		seen := in.Received + in.Replayed + in.AuthFailed + in.Malformed + in.PolicyDrops + in.Dummies
		if in.Received > 2 || seen == 0 {
			t.Errorf("%+v", in)
		}
		for _, p := range g.in.take() {
			inner, n, err := parse(p)
			if err != nil || n != len(p) || inner.src != node4 && inner.src != node6 {
				t.Errorf("passed %x", p)
			}
		}
		for _, p := range g.out.take() {
			if !wellFormed(layout{iv: 8, icv: 16, align: 4}, p) || p[2] != spiToNode>>8 {
				t.Errorf("sent %x", p)
			}
		}
		if _, dynamic, err := g.Export(ctx, testID); err != nil || dynamic[0].Direction != ipsecctx.Inbound {
			t.Errorf("%+v, %v", dynamic, err)
		}
	})
}
