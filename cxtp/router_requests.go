package cxtp

import (
	"fmt"
	"net/netip"
	"time"
)

// request is a CT-Req of ours that has not been answered yet. There is one at a
// time for a previous address (RFC 4067 sections 2.5 and 6.3).
type request struct {
	to        RouterID
	session   SessionID // zero = whichever is at the address
	sequence  uint32
	token     Token
	requests  []CDB // of the CTAR, which its token covers
	stageOnly bool
	force     bool
	ticket    Ticket
	asker     asker
	deadline  time.Time

	repeatAt time.Time
	repeat   time.Duration
}

// means reports whether a stage of the session may be the answer.
func (q *request) means(id SessionID) bool { return q.session.IsZero() || q.session == id }

// repeats reports whether q asks for the same as an earlier request.
func (q *request) repeats(old *request) bool {
	return q.to == old.to && q.session == old.session && q.sequence == old.sequence && q.token == old.token
}

// maxRequests bounds the requests that may be unanswered at once: each can be
// caused by an unauthenticated CTAR.
const maxRequests = 1024

// pull asks a peer for a session, or to go on with one that is staged here.
func (r *Router) pull(p Pull) {
	peer, ok := r.cfg.peer(p.From)
	if !ok {
		r.failed(p.Ticket, p.Session, StatusNotAuthorised, fmt.Sprintf("no peer %q is configured here", p.From))
		return
	}
	if s, st := r.find(p.Previous, p.Session, (*Session).live); st == StatusOK {
		r.with(s, func() { s.goOn(p, peer) })
		return
	}
	if r.drained {
		r.failed(p.Ticket, p.Session, StatusDrained, drainedHere)
		return
	}
	q := &request{to: p.From, session: p.Session, sequence: p.Sequence, stageOnly: p.StageOnly, force: p.Force, ticket: p.Ticket}
	switch {
	case r.requests[p.Previous] != nil:
		r.requestFailed(p.Previous, q, control(StatusBusy), "another request for this node is under way")
		return
	case len(r.requests) >= maxRequests:
		r.requestFailed(p.Previous, q, control(StatusNoResources), "too many requests under way")
		return
	}
	if !p.Session.IsZero() {
		q.requests = []CDB{SessionNameBlock(p.Session)}
	}
	r.ask(p.Previous, q)
}

// fetch asks for the session that a node's CTAR names. While a request for its
// address is unanswered, only its own repetition counts: a forged one must not
// end a node's request with an answer.
func (r *Router) fetch(previous netip.Addr, q *request) {
	old := r.requests[previous]
	switch {
	case old != nil && q.repeats(old):
		r.sendRequest(previous, old)
	case old != nil:
		r.drop(DropBusy)
	case len(r.requests) >= maxRequests:
		r.drop(DropNoResources)
		r.requestFailed(previous, q, control(StatusNoResources), "too many requests under way")
	default:
		r.ask(previous, q)
	}
}

// ask sends a CT-Req and remembers it. It is repeated once the pAR must have
// given up the transfer that the first one began (CT_MAX_TRANSFER_TIME).
func (r *Router) ask(previous netip.Addr, q *request) {
	q.deadline = r.now.Add(r.cfg.Timers.RequestWait)
	q.repeat = r.cfg.Timers.MaxTransfer
	q.repeatAt = r.now.Add(q.repeat)
	r.requests[previous] = q
	r.requestTimers.set(previous, earlier(q.repeatAt, q.deadline))
	r.sendRequest(previous, q)
}

func (r *Router) sendRequest(previous netip.Addr, q *request) {
	r.out = append(r.out, Send{To: q.to, Expires: q.deadline,
		Message: &CTReq{Previous: previous, Sequence: q.sequence, Token: q.token, Requests: q.requests}})
}

// requestDue repeats a request, or gives it up and tells the pAR (RFC 4067
// section 2.5.5).
func (r *Router) requestDue(previous netip.Addr) {
	q := r.requests[previous]
	if due(q.deadline, r.now) {
		r.answered(previous)
		r.out = append(r.out, cancelAt(q.to, previous, r.now.Add(r.cfg.Timers.RequestWait)))
		r.requestFailed(previous, q, control(StatusExpired), "no answer from "+string(q.to))
		return
	}
	q.repeat *= 2
	q.repeatAt = r.now.Add(q.repeat)
	r.requestTimers.set(previous, earlier(q.repeatAt, q.deadline))
	r.sendRequest(previous, q)
}

// answered ends the wait for a request.
func (r *Router) answered(previous netip.Addr) {
	delete(r.requests, previous)
	r.requestTimers.set(previous, time.Time{})
}

func (r *Router) requestFailed(previous netip.Addr, q *request, statuses []ContextStatus, why string) {
	failed := failures(statuses)
	if q.asker.wants {
		r.out = append(r.out, q.asker.answer(previous, failed))
	}
	r.out = append(r.out, Report{Ticket: q.ticket, Event: EventFailed, Peer: q.to, Statuses: failed, Detail: why, Final: true})
}
