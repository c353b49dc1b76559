package cxtp

import (
	"cmp"
	"net/netip"
)

// fromRouter finds what a router's message is about.
func (r *Router) fromRouter(peer *Peer, m Message) {
	switch m := m.(type) {
	case *CTD:
		r.data(peer, m)
	case *CTReq:
		r.requestFrom(peer, m)
	case *Outcome:
		r.outcome(peer, m)
	case *CTC:
		// Cancels a stage; for a granted epoch it decides nothing.
		s, st := r.find(m.Previous, SessionID{}, func(s *Session) bool { return s.src != nil && s.src.to == peer.ID })
		if st != StatusOK {
			r.drop(dropFor(st))
			return
		}
		r.with(s, func() { s.cancelledByTarget() })
	case *CTDR:
		// It informs the operator's trace, and decides nothing but about a plain
		// transfer: it names neither session nor epoch.
		s, st := r.find(m.Previous, SessionID{}, func(s *Session) bool {
			return s.state == stateStaging && s.src.plain && s.src.to == peer.ID
		})
		if st == StatusOK {
			r.with(s, func() { s.replied(m) })
		}
	default:
		r.drop(DropMisplaced)
	}
}

// dropFor is the reason why a message about a node was not acted on, when find
// gives the status st for it.
func dropFor(st Status) Drop {
	if st == StatusAmbiguous {
		return DropAmbiguous
	}
	return DropUnknownSession
}

// cancelledByTarget takes a CTC: it cancels a transfer that is not granted, and
// decides nothing about one that is (RFC 4067 section 2.5.5).
func (s *Session) cancelledByTarget() {
	switch {
	case s.state >= stateAllocating && s.state <= stateLimiting:
		s.src.cancelled = true // when what is under way here has ended
	case s.state == stateStaged && s.src.standby:
		s.retract() // it decides too little for a copy that could take over
	case s.state == stateStaging || s.state == stateStaged:
		s.failCancelled()
	default:
		s.drop(DropOutOfTurn)
	}
}

func (s *Session) failCancelled() {
	s.fail(EventRefused, []ContextStatus{{FPTControl, StatusCancelled}}, "cancelled by the target; the session goes on here")
}

// data takes a CTD or PCTD.
func (r *Router) data(peer *Peer, m *CTD) {
	if len(m.Blocks) > 0 && m.Blocks[0].FPT == FPTError {
		r.denied(peer, m)
		return
	}
	if len(m.Blocks) == 0 || m.Blocks[0].FPT != FPTControl {
		r.plainData(peer, m)
		return
	}
	c, err := ParseControl(m.Blocks[0])
	if err != nil {
		r.drop(DropMalformed)
		r.dataReply(peer, m, control(StatusMalformed))
		return
	}
	if c.Phase == PhaseStage {
		r.offer(&offer{peer: peer, data: m, control: c, clash: r.clashes})
		return
	}
	s := r.sessions[c.Session]
	if c.Phase == PhaseWithdraw && c.Standby && (s == nil || s.state == stateNone && c.Epoch > s.epoch) {
		r.forestall(peer, m, c)
		return
	}
	if s == nil {
		r.drop(DropUnknownSession)
		r.unseen(peer.ID, m.Previous, c.Session, c.Epoch)
		return
	}
	r.with(s, func() {
		switch c.Phase {
		case PhaseFinal:
			s.final(peer.ID, m, c)
		case PhaseClosed:
			s.closed(peer.ID, m, c)
		case PhaseWithdraw:
			s.withdrawn(peer.ID, c)
		case PhaseRenew:
			s.renewal(peer.ID, m, c)
		}
	})
}

// forestall takes the withdrawal of a standby's copy that has not come yet: it
// must never be taken then, and its sender must be told so. What would not have
// been taken is only called that.
func (r *Router) forestall(peer *Peer, m *CTD, c Control) {
	highest := Epoch(0)
	if s := r.sessions[c.Session]; s != nil {
		highest = s.epoch
	}
	st, _ := r.cfg.admits(peer, c, highest, false)
	if st == StatusOK && r.full(peer) {
		st = StatusNoResources
	}
	if st != StatusOK {
		r.drop(DropNotAllowed)
		r.out = append(r.out, notTaken(&r.cfg, peer.ID, m.Previous, c, []ContextStatus{{FPTControl, st}}))
		return
	}
	s := r.session(c.Session, m.Previous)
	r.with(s, func() { s.forestall(peer.ID, c.Epoch) })
}

// offer gives a stage to its session, with the request of ours that it answers.
func (r *Router) offer(o *offer) {
	peer, m, c := o.peer, o.data, o.control
	q := r.requests[m.Previous]
	if q != nil && (q.to != peer.ID || !o.plain && !q.means(c.Session) || c.Standby) {
		q = nil
	}
	known, highest := r.sessions[c.Session], Epoch(0)
	if known != nil {
		highest = known.epoch
	}
	if known == nil || c.Epoch > highest {
		st, why := r.cfg.admits(peer, c, highest, q != nil)
		if st == StatusOK && r.drained {
			st, why = StatusDrained, drainedHere
		}
		if st != StatusOK {
			r.drop(DropNotAllowed)
			r.turnAway(o, st, why)
			return
		}
		if (known == nil || !known.live() || known.from != peer.ID) && r.full(peer) {
			r.drop(DropNoResources)
			r.turnAway(o, StatusNoResources, "as many sessions of this peer are here as it may have")
			return
		}
	}
	s := r.session(c.Session, m.Previous)
	if q != nil && s.welcomes(c.Epoch) {
		o.request = q
		r.answered(m.Previous)
	}
	r.with(s, func() { s.offered(o) })
}

// drainedHere is for the operator of a router that is to be emptied.
const drainedHere = "this gateway is drained: cxtp undrain opens it again"

// maxEpochJump is how far above the highest that was seen here a stage's epoch
// may be. Epochs count attempts, so none is honestly that far; without the
// bound one stage could use up all epochs that a session will ever have.
const maxEpochJump = 1 << 32

// admits decides what needs no look into the contexts (law 5).
func (cfg *Config) admits(peer *Peer, c Control, highest Epoch, requested bool) (Status, string) {
	switch {
	case c.Epoch-highest > maxEpochJump:
		return StatusMalformed, "its epoch is too far above the highest that was seen here"
	case c.Target != cfg.Self:
		return StatusNotAuthorised, "meant for the router " + string(c.Target)
	case c.Mode != cfg.Mode:
		return StatusUnsupported, "the two gateways are set to different move modes"
	case c.Standby && !peer.ActivateWithoutToken:
		return StatusNotAuthorised, "a standby takes over without a token, and the policy for this peer wants one"
	case !peer.Push && !requested:
		return StatusNotAuthorised, "the policy for this peer takes only sessions that were asked for"
	}
	return StatusOK, ""
}

// turnAway does not take a stage that its sender has no right to send, or that
// there is no room for. Nothing is recorded and no epoch used up, or such a peer
// could use up a session's epochs.
func (r *Router) turnAway(o *offer, st Status, why string) {
	peer, c, statuses := o.peer, o.control, control(st)
	if !o.plain {
		r.out = append(r.out, notTaken(&r.cfg, peer.ID, o.data.Previous, c, statuses))
		r.dataReply(peer, o.data, statuses)
	} else {
		r.dataReply(peer, o.data, typed(o.data.Blocks[1:], statuses))
	}
	r.out = append(r.out, Report{Session: c.Session, Epoch: c.Epoch, Event: EventRefused, Peer: peer.ID, Statuses: statuses, Detail: why, Final: true})
}

// notTaken is the answer to a stage that is not taken, and not refused either:
// "refused" promises that the epoch will never be activated here, and is durable
// before it is said. A copy of this stage could still be taken when the state or
// the policy is another one, and a source that thawed on this answer would then
// not be the only sender. "Unseen" lets a source give up before its grant, and
// decides nothing after it.
func notTaken(cfg *Config, to RouterID, previous netip.Addr, c Control, statuses []ContextStatus) Action {
	return Send{To: to, Message: &Outcome{Previous: previous, Session: c.Session, Epoch: c.Epoch,
		Incarnation: cfg.Incarnation, State: OutcomeUnseen, Statuses: statuses}}
}

// denied takes an error indication in place of contexts.
func (r *Router) denied(peer *Peer, m *CTD) {
	q := r.requests[m.Previous]
	if q == nil || q.to != peer.ID {
		r.drop(DropOutOfTurn)
		return
	}
	status, err := ParseErrorBlock(m.Blocks[0])
	if err != nil {
		status.Status = StatusMalformed
	}
	r.answered(m.Previous)
	r.requestFailed(m.Previous, q, []ContextStatus{status}, "refused by "+string(peer.ID))
}

// dataReply answers a CTD that no session takes, if its sender wants it.
func (r *Router) dataReply(peer *Peer, m *CTD, failed []ContextStatus) {
	if m.Ack {
		r.out = append(r.out, Send{To: peer.ID, Message: &CTDR{Previous: m.Previous, Statuses: failed}})
	}
}

// requestFrom takes a CT-Req from a nAR.
func (r *Router) requestFrom(peer *Peer, q *CTReq) {
	s, st := r.asked(q.Previous, q.Requests, (*Session).sourcing)
	if st != StatusOK {
		r.drop(dropFor(st))
		r.out = append(r.out, deny(peer.ID, q.Previous, ContextStatus{FPTControl, st}))
		return
	}
	r.with(s, func() { s.requested(peer, q) })
}

// sourcing reports whether this router is the session's owner, or was until a
// moment ago.
func (s *Session) sourcing() bool { return s.state >= stateOwner && s.state <= stateYielded }

// outcome takes a question, or an answer.
func (r *Router) outcome(peer *Peer, o *Outcome) {
	s := r.sessions[o.Session]
	switch {
	case s == nil && o.Question:
		r.drop(DropUnknownSession)
		r.unseen(peer.ID, o.Previous, o.Session, o.Epoch)
	case s == nil:
		r.drop(DropUnknownSession)
	case o.Question:
		r.with(s, func() { s.tell(peer.ID, o.Epoch) })
	default:
		r.with(s, func() {
			before := s.state
			if s.hear(peer.ID, o); len(s.out) == 0 && s.state == before {
				s.drop(cmp.Or(s.dropped, DropOutOfTurn))
			}
		})
	}
}

func (r *Router) unseen(to RouterID, previous netip.Addr, id SessionID, e Epoch) {
	r.out = append(r.out, Send{To: to, Message: &Outcome{
		Previous: previous, Session: id, Epoch: e, Incarnation: r.cfg.Incarnation, State: OutcomeUnseen}})
}

// fromNode takes a message from the MN's side.
func (r *Router) fromNode(in FromNode) {
	switch m := in.Message.(type) {
	case *CTAR:
		r.activateRequest(asker{in.From, in.At, m.Ack}, m)
	case *UpdateAck:
		s := r.sessions[m.Session]
		if s == nil {
			r.drop(DropUnknownSession)
			return
		}
		r.with(s, func() { s.updateAcked(m) })
	default:
		r.drop(DropMisplaced)
	}
}

// activateRequest takes a CTAR: for a session that is here and should go (at
// the pAR), for one that is here and should act (at the nAR, contexts present),
// or for one that has to be fetched (at the nAR, contexts absent).
func (r *Router) activateRequest(at asker, m *CTAR) {
	s, st := r.asked(m.Previous, m.Requests, (*Session).live)
	if !(st == StatusOK && s.answersAgain(m)) && !r.limiter.passes(r.now, at.at.Addr(), st == StatusOK) {
		r.drop(DropRateLimited)
		return
	}
	if m.Token.IsZero() {
		// Ours to the source would be the wish of this router, and not the node's.
		r.drop(DropBadToken)
		r.refuseNode(at, m, StatusNotAuthorised)
		return
	}
	peer, known := r.cfg.peerByAddr(m.Router)
	if !known {
		r.drop(DropUnknownPeer)
		r.refuseNode(at, m, StatusUnknownSession)
		return
	}
	switch {
	case st == StatusOK && (s.tgt != nil || s.brought(m, peer)):
		r.with(s, func() { s.activateHere(at, m) })
	case st == StatusOK && s.expects(peer):
		r.with(s, func() { s.arrived(at, m, peer) })
	case st == StatusOK:
		r.with(s, func() { s.activateAway(at, m, peer) })
	case st == StatusAmbiguous:
		r.drop(DropAmbiguous)
		r.refuseNode(at, m, st)
	case r.drained:
		r.drop(DropNotAllowed)
		r.refuseNode(at, m, StatusDrained)
	default:
		r.fetch(m.Previous, &request{to: peer.ID, session: namedSession(m.Requests), sequence: m.Sequence, token: m.Token, requests: cloned(m.Requests), asker: at})
	}
}

func (r *Router) refuseNode(at asker, m *CTAR, st Status) {
	if at.wants {
		r.out = append(r.out, at.answer(m.Previous, []ContextStatus{{FPTControl, st}}))
	}
}
