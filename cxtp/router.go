package cxtp

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// Router is the thin machine of what is between sessions: which session a
// message is about, what a request of our own is waiting for, and whether two
// sessions would clash. Everything else is the session's.
//
// Not safe for concurrent use: one goroutine steps it.
type Router struct {
	cfg      Config
	sessions map[SessionID]*Session
	byAddr   map[netip.Addr][]SessionID
	requests map[netip.Addr]*request
	timers   timers
	out      []Action
	now      time.Time
}

// request is a CT-Req of ours that has not been answered yet.
type request struct {
	to        RouterID
	session   SessionID // zero = whichever is at the address
	sequence  uint32
	token     Token
	requests  []CDB // of the CTAR, which its token covers
	stageOnly bool
	ticket    Ticket
	asker     asker
	deadline  time.Time
}

// means reports whether a stage of the session may be the answer.
func (q *request) means(id SessionID) bool { return q.session.IsZero() || q.session == id }

// maxRequests bounds the requests that may be unanswered at once: each can be
// caused by an unauthenticated CTAR.
const maxRequests = 1024

// NewRouter makes a router from its configuration and what its journal holds,
// oldest record first. It returns the records that follow from the restart and
// must be durable before the first Step: a gateway that keeps its SAs in its own
// memory has lost them, so whatever it owned has ended, and what it might have
// activated is lost.
func NewRouter(cfg Config, journal []Record) (*Router, []Record, error) {
	if err := cfg.validate(); err != nil {
		return nil, nil, fmt.Errorf("failed to configure the router: %w", err)
	}
	r := &Router{
		cfg: cfg, sessions: map[SessionID]*Session{}, byAddr: map[netip.Addr][]SessionID{},
		requests: map[netip.Addr]*request{},
	}
	return r, r.restore(journal), nil
}

// Step takes one input and returns what to do, in order. Blocks of messages in
// the actions are valid until the next Step: they are wiped when the move ends.
func (r *Router) Step(now time.Time, in Input) []Action {
	r.now, r.out = now, nil
	switch in := in.(type) {
	case Adopt:
		r.adopt(in)
	case Handover:
		r.handover(in)
	case Pull:
		r.pull(in)
	case Cancel:
		r.toSession(in.Session, in.Ticket, func(s *Session) { s.cancel(in.Ticket) })
	case Done:
		if s := r.sessions[in.Session]; s != nil {
			r.with(s, func() { s.done(in) })
		}
	case FromRouter:
		if peer, ok := r.cfg.peer(in.From); ok {
			r.fromRouter(peer, in.Message)
		}
	case FromNode:
		r.fromNode(in.From, in.Message)
	}
	return r.out
}

// Tick does what has become due.
func (r *Router) Tick(now time.Time) []Action {
	r.now, r.out = now, nil
	for id := range r.timers.due(now) {
		if s := r.sessions[id]; s != nil {
			r.with(s, s.tick)
		}
	}
	for _, addr := range slices.SortedFunc(maps.Keys(r.requests), netip.Addr.Compare) {
		if q := r.requests[addr]; due(q.deadline, now) {
			delete(r.requests, addr)
			r.requestFailed(addr, q, StatusExpired, "no answer from "+string(q.to))
		}
	}
	return r.out
}

// Deadline is when Tick has something to do next; zero = not before an input.
func (r *Router) Deadline() time.Time {
	at := r.timers.next()
	for _, q := range r.requests {
		at = earlier(at, q.deadline)
	}
	return at
}

// Sessions describes all sessions, in the order of their ids.
func (r *Router) Sessions() []View {
	views := make([]View, 0, len(r.sessions))
	for _, s := range r.sessions {
		views = append(views, s.View())
	}
	slices.SortFunc(views, func(a, b View) int { return a.Session.compare(b.Session) })
	return views
}

// with steps one session and keeps the indexes true.
func (r *Router) with(s *Session, step func()) {
	addr := s.addr
	s.begin(r.now)
	step()
	r.out = append(r.out, s.end()...)
	if s.addr != addr {
		r.unindex(addr, s.id)
		r.index(s)
	}
	r.timers.set(s.id, s.next())
}

func (r *Router) index(s *Session) {
	if s.addr.IsValid() && !slices.Contains(r.byAddr[s.addr], s.id) {
		r.byAddr[s.addr] = append(r.byAddr[s.addr], s.id)
	}
}

func (r *Router) unindex(addr netip.Addr, id SessionID) {
	ids := slices.DeleteFunc(r.byAddr[addr], func(x SessionID) bool { return x == id })
	if len(ids) == 0 {
		delete(r.byAddr, addr)
	} else {
		r.byAddr[addr] = ids
	}
}

// session returns the machine of a session, making one that has seen nothing.
func (r *Router) session(id SessionID, addr netip.Addr) *Session {
	s := r.sessions[id]
	if s == nil {
		s = newSession(&r.cfg, id, addr)
		r.sessions[id] = s
		r.index(s)
	}
	return s
}

func (r *Router) failed(t Ticket, id SessionID, st Status, why string) {
	r.out = append(r.out, Report{Session: id, Ticket: t, Event: EventFailed, Final: true,
		Statuses: []ContextStatus{{FPTControl, st}}, Detail: why})
}

// toSession steps a session that an operator named, if there is one.
func (r *Router) toSession(id SessionID, t Ticket, f func(*Session)) {
	s := r.sessions[id]
	if s == nil {
		r.failed(t, id, StatusUnknownSession, "no such session here")
		return
	}
	r.with(s, func() { f(s) })
}

func (r *Router) adopt(a Adopt) {
	if s := r.sessions[a.Session]; s != nil {
		r.failed(a.Ticket, a.Session, StatusBusy, "a session of this id has been here before: draw a new id")
		return
	}
	if r.clashes(a.Session, a.Claims) {
		r.failed(a.Ticket, a.Session, StatusPolicyConflict, "its inner addresses overlap another session's")
		return
	}
	s := r.session(a.Session, a.Previous)
	r.with(s, func() {
		s.node, s.claims, s.adopter = a.Node, a.Claims, a.Ticket
		s.persist(stateAdopt, Record{Kind: RecordOwned})
	})
}

func (r *Router) handover(h Handover) {
	if h.To == r.cfg.Self {
		r.failed(h.Ticket, h.Session, StatusUnsupported, "that is this gateway itself")
		return
	}
	if _, ok := r.cfg.peer(h.To); !ok {
		r.failed(h.Ticket, h.Session, StatusNotAuthorised, fmt.Sprintf("no peer %q is configured here", h.To))
		return
	}
	r.toSession(h.Session, h.Ticket, func(s *Session) { s.handover(h) })
}

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
	var requests []CDB
	if !p.Session.IsZero() {
		requests = []CDB{SessionNameBlock(p.Session)}
	}
	r.ask(p.Previous, requests, &request{to: p.From, session: p.Session, sequence: p.Sequence, stageOnly: p.StageOnly, ticket: p.Ticket})
}

// ask sends a CT-Req and remembers it.
func (r *Router) ask(previous netip.Addr, requests []CDB, q *request) {
	if old := r.requests[previous]; old != nil && old.sequence != q.sequence {
		r.requestFailed(previous, q, StatusBusy, "another request for this node is under way")
		return
	}
	if len(r.requests) >= maxRequests {
		r.requestFailed(previous, q, StatusNoResources, "too many requests under way")
		return
	}
	q.deadline = r.now.Add(r.cfg.Timers.RequestWait)
	r.requests[previous] = q
	r.out = append(r.out, Send{To: q.to, Expires: q.deadline,
		Message: &CTReq{Previous: previous, Sequence: q.sequence, Token: q.token, Requests: requests}})
}

func (r *Router) requestFailed(previous netip.Addr, q *request, st Status, why string) {
	failed := []ContextStatus{{FPTControl, st}}
	if q.asker.wants {
		r.out = append(r.out, SendNode{To: q.asker.at, Message: &CTAA{Previous: previous, Failed: failed}})
	}
	r.out = append(r.out, Report{Ticket: q.ticket, Event: EventFailed, Peer: q.to, Statuses: failed, Detail: why, Final: true})
}

// find names the one session that an address, and perhaps an id, mean.
func (r *Router) find(addr netip.Addr, id SessionID, match func(*Session) bool) (*Session, Status) {
	var found *Session
	for _, candidate := range r.byAddr[addr] {
		s := r.sessions[candidate]
		if !match(s) || !id.IsZero() && s.id != id {
			continue
		}
		if found != nil {
			return nil, StatusAmbiguous
		}
		found = s
	}
	if found == nil {
		return nil, StatusUnknownSession
	}
	return found, StatusOK
}

// namedSession is the session that a request's blocks name; zero when none does.
func namedSession(requests []CDB) SessionID {
	for _, b := range requests {
		if b.FPT == FPTSessionName {
			if id, err := ParseSessionName(b); err == nil {
				return id
			}
		}
	}
	return SessionID{}
}

// clashes reports whether a session would overlap another one here (law 5).
func (r *Router) clashes(id SessionID, claims Claims) bool {
	for _, other := range r.sessions {
		if other.id == id || !other.live() {
			continue
		}
		for _, mine := range claims.Inner {
			if slices.ContainsFunc(other.claims.Inner, mine.Overlaps) {
				return true
			}
		}
	}
	return false
}

// full reports whether a peer has as many sessions here as it may.
func (r *Router) full(p *Peer) bool {
	if p.MaxSessions == 0 {
		return false
	}
	n := 0
	for s := range maps.Values(r.sessions) {
		if s.live() && s.from == p.ID {
			n++
		}
	}
	return n >= p.MaxSessions
}
