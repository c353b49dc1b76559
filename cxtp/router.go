package cxtp

import (
	"fmt"
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
	holdings holdings
	stepping holding // of the session that steps, as it was before
	drained  bool    // no session from another router is taken

	timers        timers[SessionID]
	requestTimers timers[netip.Addr]
	pace          pacer

	limiter *limiter
	dropped [drops]uint64

	out []Action
	now time.Time
}

// NewRouter makes a router from its configuration and what its journal holds,
// oldest record first, and the sessions whose SAs have outlived the daemon. It
// returns the records that follow from the restart and must be durable before
// the first Step or Tick: where the SAs are gone, what this router owned has
// ended, and what it might have activated is lost.
func NewRouter(cfg Config, journal []Record, held []Held) (*Router, []Record, error) {
	if err := cfg.validate(); err != nil {
		return nil, nil, fmt.Errorf("failed to configure the router: %w", err)
	}
	cfg.complete()
	limiter, err := newLimiter(cfg.RequestRate, cfg.RequestTotal, cfg.Rand)
	if err != nil {
		return nil, nil, fmt.Errorf("failed to configure the router: %w", err)
	}
	r := &Router{
		cfg: cfg, sessions: map[SessionID]*Session{}, byAddr: map[netip.Addr][]SessionID{},
		requests: map[netip.Addr]*request{}, limiter: limiter,
	}
	if cfg.StandbyRate > 0 {
		r.pace.every = time.Second / time.Duration(cfg.StandbyRate)
	}
	return r, r.restore(journal, held), nil
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
	case Resolve:
		r.toSession(in.Session, in.Ticket, func(s *Session) { s.resolve(in) })
	case Standby:
		r.setStandby(in)
	case Drain:
		r.drained = in.Closed
	case Near:
		if s := r.sessions[in.Session]; s != nil {
			r.with(s, s.near)
		}
	case Vanished:
		if s := r.sessions[in.Session]; s != nil {
			r.with(s, func() { s.vanished(in.Why) })
		}
	case Cancel:
		r.toSession(in.Session, in.Ticket, func(s *Session) { s.cancel(in.Ticket) })
	case Done:
		if s := r.sessions[in.Session]; s != nil {
			r.with(s, func() { s.done(in) })
		}
	case FromRouter:
		if peer, ok := r.cfg.peer(in.From); ok {
			r.fromRouter(peer, in.Message)
		} else {
			r.drop(DropUnknownPeer)
		}
	case FromNode:
		r.fromNode(in)
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
	for addr := range r.requestTimers.due(now) {
		r.requestDue(addr)
	}
	return r.out
}

// Deadline is when Tick has something to do next; zero = not before an input.
func (r *Router) Deadline() time.Time {
	return earlier(r.timers.next(), r.requestTimers.next())
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

// Len is how many sessions there are.
func (r *Router) Len() int { return len(r.sessions) }

// At lists the sessions that know their node by an address.
func (r *Router) At(previous netip.Addr) []SessionID { return slices.Clone(r.byAddr[previous]) }

// with steps one session and keeps the indexes true.
func (r *Router) with(s *Session, step func()) {
	addr := s.addr
	r.stepping = s.holding()
	s.begin(r.now)
	step()
	r.out = append(r.out, s.end()...)
	if s.dropped != 0 {
		r.drop(s.dropped)
		s.dropped = 0
	}
	if s.addr != addr {
		r.unindex(addr, s.id)
		r.index(s)
	}
	r.holdings.replace(r.stepping, s.holding())
	r.stepping = holding{}
	r.timers.set(s.id, s.next())
	if s.over {
		delete(r.sessions, s.id)
		r.unindex(s.addr, s.id)
	}
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
		s = newSession(&r.cfg, &r.pace, id, addr)
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
	if r.clashes(a.Claims) {
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

func (r *Router) setStandby(c Standby) {
	if _, ok := r.cfg.peer(c.To); !ok && c.To != "" {
		r.failed(c.Ticket, c.Session, StatusNotAuthorised, fmt.Sprintf("no peer %q is configured here", c.To))
		return
	}
	r.toSession(c.Session, c.Ticket, func(s *Session) { s.setStandby(c) })
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

// asked finds the session that a request is about. One that came without a control
// block has a name that its node was never told: such a one at the address is meant
// where none has the name that the request gives.
func (r *Router) asked(addr netip.Addr, requests []CDB, match func(*Session) bool) (*Session, Status) {
	id := namedSession(requests)
	s, st := r.find(addr, id, match)
	if st != StatusUnknownSession || id.IsZero() {
		return s, st
	}
	return r.find(addr, SessionID{}, func(s *Session) bool { return s.plain && s.ofItsKind(requests) && match(s) })
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

// clashes reports whether the session that steps, or a new one, would overlap
// another one here (law 5).
func (r *Router) clashes(claims Claims) bool {
	r.holdings.add(r.stepping, -1)
	defer r.holdings.add(r.stepping, 1)
	return r.holdings.overlaps(claims.Inner)
}

// full reports whether a peer has as many sessions here as it may.
func (r *Router) full(p *Peer) bool { return r.holdings.from[p.ID] >= p.MaxSessions }
