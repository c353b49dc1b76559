//go:build linux && lab

package xfrm

import (
	"net/netip"
	"slices"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
	"github.com/cxtp/cxtp/lab/topology"
)

// TestNodeFollows has a node's SAs in a kernel follow to another address and
// another SPI, and go on above a floor; then again, and with less.
func TestNodeFollows(t *testing.T) {
	const spiUp, spiThere, spiDown, reqID = 0x1001, 0x2002, 0x3003, 7
	there := netip.MustParseAddr("192.0.2.2")
	lab, err := topology.New()
	must(t, err)
	t.Cleanup(func() { must(t, lab.Close()) })
	var n *Node
	must(t, lab.MN.Do(func() error { n, err = NewNode(reqID); return err }))
	t.Cleanup(func() { n.Close() })

	sa := func(src, dst netip.Addr, spi uint32, r uapi.Replay) {
		must(t, n.kernel.AddState(ctx, &uapi.State{
			Src: src, Dst: dst, Selector: uapi.Selector{Family: uapi.IPv4}, SPI: spi, Proto: uapi.ESP, Mode: uapi.Tunnel, ReqID: reqID, Flags: uapi.FlagESN,
			AEAD: &uapi.AEAD{Name: "rfc4106(gcm(aes))", Key: key(1, 36), ICVBits: 128}, Replay: r, Limits: uapi.NoLimits(),
		}))
	}
	sa(node, gate, spiUp, uapi.Replay{Extended: true, OSeq: 41, Window: 32, Bitmap: make([]uint32, 1)})
	sa(gate, node, spiDown, uapi.Replay{Extended: true, Seq: 1000, Window: 128, Bitmap: make([]uint32, 4)})
	must(t, n.kernel.AddPolicy(ctx, &uapi.Policy{
		Selector: uapi.Selector{Family: uapi.IPv4, Src: full4(inner.String()), Dst: full4(host.String())}, Dir: uapi.DirOut, Limits: uapi.NoLimits(),
		Templates: []uapi.Template{{Family: uapi.IPv4, Src: node, Dst: gate, Proto: uapi.ESP, Mode: uapi.Tunnel, ReqID: reqID}},
	}))

	const floor = 5 << 32
	follow := cxtp.AgentFollow{
		Gateway: netip.AddrPortFrom(there, 4500), Number: 1,
		SPIs:   []cxtp.SPIChange{{Protocol: 50, Old: spiUp, New: spiThere}, {Protocol: 50, Old: 0x9999, New: 0x9998}},
		Floors: []cxtp.SequenceFloor{{Protocol: 50, SPI: spiDown, Number: floor}, {Protocol: 50, SPI: 0x9999, Number: 1}},
	}
	for i, want := range []int{1, 0} {
		changed, err := n.Follow(ctx, follow)
		must(t, err)
		if changed != want {
			t.Errorf("time %d: %d SAs changed, want %d", i+1, changed, want)
		}
		up, err := n.kernel.GetState(ctx, uapi.StateID{Dst: there, SPI: spiThere, Proto: uapi.ESP})
		must(t, err)
		if up.Replay.OSeq != 41 {
			t.Errorf("the node goes on above %d, want 41", up.Replay.OSeq)
		}
		follow.Floors[0].Number = floor - uint64(i) - 1 // less than what is there
	}
	down, err := n.kernel.GetReplay(ctx, uapi.StateID{Dst: node, SPI: spiDown, Proto: uapi.ESP})
	must(t, err)
	unseen := slices.ContainsFunc(down.Replay.Bitmap, func(w uint32) bool { return w != ^uint32(0) })
	if down.Replay.Seq != floor || unseen {
		t.Errorf("the node receives above %d with the window %x, want %d and nothing below it", down.Replay.Seq, down.Replay.Bitmap, uint64(floor))
	}
	policies, err := n.outbound(ctx)
	must(t, err)
	if at := policies[0].Templates[0].Dst; at != there {
		t.Errorf("the policy points at %v", at)
	}
}
