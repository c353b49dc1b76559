package agent

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/cxtp/cxtp/cxtp"
)

// Request asks the router at for a move, naming the other access router, and
// waits for the answer; that contexts were refused, or that nobody answered, is
// in [cxtp.AgentAnswered] and no error. The role says which of the two the node is
// leaving. A sequence of 0 draws one at random; the second half of a predictive
// request repeats the one in the first half's answer (see [cxtp.Agent.Request]).
//
// Requests are made one after the other. Ending ctx ends the waiting and the
// repetitions, but the router may have been asked already.
func (a *Agent) Request(ctx context.Context, at, naming netip.Addr, role cxtp.Role, sequence uint32) (cxtp.AgentAnswered, error) {
	to, known := a.cfg.Routers[at]
	if a.cfg.ICMP { // to where it takes UDP, or else where messages say that it is
		to, known = netip.AddrPortFrom(cmp.Or(to.Addr(), at), 0), true
	}
	if !known {
		return cxtp.AgentAnswered{}, fmt.Errorf("failed to ask router %s: its UDP endpoint is not configured", at)
	}
	q := &request{
		ctx: ctx, answer: make(chan answer, 1),
		Ask: cxtp.Ask{To: to, At: at.Unmap(), Naming: naming.Unmap(), Role: role, Sequence: sequence, Types: a.cfg.Types},
	}
	// A request that cannot be encoded would cost a token key.
	for _, router := range []netip.Addr{q.At, q.Naming} {
		if router.Is4() != a.cfg.Agent.Previous.Is4() || !router.IsValid() {
			return cxtp.AgentAnswered{}, fmt.Errorf("failed to name router %s: its address must be of the family of the node's, %s", router, a.cfg.Agent.Previous)
		}
	}
	select {
	case a.requests <- q:
	case <-ctx.Done():
		return cxtp.AgentAnswered{}, ctx.Err()
	case <-a.closed:
		return cxtp.AgentAnswered{}, ErrClosed
	}
	select {
	case got := <-q.answer:
		return got.AgentAnswered, got.err
	case <-ctx.Done():
		return cxtp.AgentAnswered{}, ctx.Err()
	case <-a.closed:
		return cxtp.AgentAnswered{}, ErrClosed
	}
}

// begin sends the first message of a request.
func (a *Agent) begin(q *request) {
	a.waiting = q
	now := time.Now()
	if q.Sequence == 0 {
		q.Sequence = a.sequences.Draw(now)
	} else {
		a.sequences.Use(now, q.Sequence)
	}
	actions, ok := a.machine.Request(now, q.Ask)
	if !ok {
		a.finish(answer{err: ErrNoToken})
		return
	}
	if err := a.carryOut(actions); err != nil {
		a.machine.Abandon()
		a.finish(answer{err: err})
	}
}
