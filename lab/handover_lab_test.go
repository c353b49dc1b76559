//go:build linux && lab

package lab

import (
	"time"

	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
	"github.com/cxtp/cxtp/lab/topology"
	"github.com/cxtp/cxtp/lab/traffic"
)

// byHand is a handover made of kernel calls alone, in the order that loses
// nothing: what a gateway has to do, with nobody in between.
type byHand struct {
	*rig
	from, to *link // the connection with sg1, and with sg2
	flows    *traffic.Traffic
	strict   bool
	delay    time.Duration // before each step, as if it came over a slow path
}

// handedOver is the same connection with the second gateway.
func (l *link) handedOver() *link {
	to := *l
	if !l.virtual {
		to.gate = topology.SG2.Of(l.outer6)
	}
	return &to
}

const (
	routeSettles  = 10 * time.Millisecond // after the route has moved, before the source stops
	uplinkSettles = 20 * time.Millisecond // after the node's packets have moved, before the source forgets
)

// run moves the connection.
func (h *byHand) run() {
	h.stage()
	time.Sleep(h.delay)
	h.moveDownlink(h.from, h.flows)
	time.Sleep(routeSettles + h.delay)

	final := h.sg1.delete(h.from.down().ID())
	if h.strict {
		h.fill(h.sg1.delete(h.from.up().ID()))
	}
	time.Sleep(h.delay)
	final.Src = h.to.gate
	h.sg2.addStates(final)
	h.sg2.must(h.sg2.kernel.UpdatePolicy(h.ctx, h.to.policy(uapi.DirOut, false)))

	h.moveUplink(h.from, h.to)
	time.Sleep(uplinkSettles + h.delay)
	if !h.strict {
		h.merge(h.sg1.delete(h.from.up().ID()))
	}
	for _, p := range h.from.gatePolicies() {
		h.sg1.must(h.sg1.kernel.DeletePolicy(h.ctx, p.ID()))
	}
}

// stage prepares the target. In the lossless order it accepts the node's
// packets from now on, beside the source.
func (h *byHand) stage() {
	if h.from.encap {
		h.sg2.encapsulate(h.from.node)
	}
	if h.from.virtual {
		h.must(h.StageVirtual(h.SG2))
	}
	_, err := h.sg2.kernel.AllocSPI(h.ctx, &uapi.SPIRequest{
		Src: h.to.node, Dst: h.to.gate, Proto: h.to.suite.proto, Mode: h.to.up().Mode, ReqID: h.to.reqID,
		Min: h.to.spiUp, Max: h.to.spiUp,
	})
	h.must(err)
	h.sg2.addPolicies(h.to.gateBlocks()...)
	if !h.strict {
		snapshot, err := h.sg1.kernel.GetState(h.ctx, h.from.up().ID())
		h.must(err)
		h.fill(snapshot)
	}
	h.sg2.addPolicies(h.to.gatePolicies()...)
}

// fill puts the inbound SA into its reserved place.
func (h *byHand) fill(inbound *uapi.State) {
	inbound.Dst = h.to.gate
	h.must(h.sg2.kernel.UpdateState(h.ctx, inbound))
}

// merge adds what the source accepted to what the target knows.
func (h *byHand) merge(last *uapi.State) {
	id := h.to.up().ID()
	here, err := h.sg2.kernel.GetState(h.ctx, id)
	h.must(err)
	// Nobody sends to the source any more: what is older is complete.
	union := here.Replay
	for n := last.Replay.Seq; n > 0 && last.Replay.Seq-n < uint64(last.Replay.Window); n-- {
		if last.Replay.Seen(n) {
			union.SetSeen(n)
		}
	}
	h.must(h.sg2.kernel.SetReplay(h.ctx, &uapi.AEvent{ID: id, Src: here.Src, Replay: &union}))
}
