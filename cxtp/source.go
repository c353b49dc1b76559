package cxtp

import (
	"cmp"
	"slices"
	"time"
)

// outgoing is a move away from here: the source's half.
type outgoing struct {
	epoch  Epoch
	to     RouterID
	ticket Ticket

	// Who wants it (law 5). ordered: our operator, or our standing policy for
	// this peer. proved: the node, by a token that verified.
	ordered, proved bool
	force           bool // the order holds where the node would be left behind
	// Of the CTAR, where one came.
	sequence uint32
	token    Token
	key      NumberedKey // the token key of this move; zero Key = none
	spent    bool        // a token made with it has verified
	vouched  bool        // the T of the stage: proved before it was sent

	attempts  int       // left to an operator's order, this one included
	heard     bool      // the target has answered something
	cancelled bool      // the target has given up before it got anything
	goodUntil time.Time // a spent key serves the request that it was used for until then

	// A copy that is kept fresh: see standby.go.
	standby      bool
	sent         renewals
	acknowledged uint32    // the latest renewal that was
	leaseEnds    time.Time // then we stop, because the standby may take over; zero = no lease
	leaseRanOut  bool
	stopped      bool      // frozen because of that
	retracting   bool      // the copy is asked back
	next         *outgoing // what waits until the copy is gone
	fenced       bool      // the operator's word that the target is gone
	thawing      bool      // a restart found that it was to thaw
	unsaid       bool      // granted, and the final has not left: the target cannot be active

	started  time.Time // of the first CTD
	static   []CDB     // as staged
	digest   Digest
	manifest []ManifestEntry
	dynamic  []CDB // of the final, then of the close

	plain bool // the target has no control block
	whole bool // of a plain transfer: the session has nothing else

	types   []FPT           // what the request asks for; nil = everything
	missing []ContextStatus // and what of it does not reach the target
	asked   bool            // begun by a CT-Req

	incarnation Incarnation // of the target, from its "staged"
	targetReady bool        // the target would activate without a token
	untold      bool        // the node would have another gateway address there, and cannot be told
	targetKnows bool        // "steered" came
}

// startMove takes a fresh epoch for an attempt to stage at a target.
func (s *Session) startMove(m *outgoing) {
	if s.state == stateStaged { // at a standby: see free
		s.src.next = m
		s.retract()
		return
	}
	if peer, known := s.cfg.peer(m.to); known {
		m.plain = peer.Plain
	}
	s.redeemPledge(m)
	if !m.spent {
		m.key = s.currentKey()
	} else if m.goodUntil.IsZero() {
		m.goodUntil = s.now.Add(s.cfg.Timers.StageHold)
	}
	s.epoch++
	m.epoch = s.epoch
	s.src = m
	s.report(Report{Epoch: m.epoch, Ticket: m.ticket, Event: EventStaging, Peer: m.to})
	s.persist(stateAllocating, Record{Kind: RecordAllocated, Epoch: m.epoch, Peer: m.to, Standby: m.standby && !m.plain}) // no copy gets there
}

// handover is the operator's trigger.
func (s *Session) handover(h Handover) {
	refuse := func(st Status, why string) {
		s.report(Report{Ticket: h.Ticket, Event: EventFailed, Peer: h.To,
			Statuses: []ContextStatus{{FPTControl, st}}, Detail: why, Final: true})
	}
	switch s.state {
	case stateOwner:
		s.startMove(&outgoing{to: h.To, ticket: h.Ticket, ordered: !h.StageOnly, force: h.Force, attempts: s.cfg.Attempts})
	case stateStaged:
		if s.free(h.To) && !h.StageOnly {
			s.startMove(&outgoing{to: h.To, ticket: h.Ticket, ordered: true, force: h.Force, attempts: s.cfg.Attempts})
			return
		}
		if s.src.to != h.To {
			refuse(StatusBusy, "staged at "+string(s.src.to)+": cancel that first")
			return
		}
		s.supersede(&s.src.ticket, h.Ticket, s.src.epoch, h.To)
		s.src.ordered, s.src.force = s.src.ordered || !h.StageOnly, s.src.force || h.Force
		if h.StageOnly {
			s.report(Report{Epoch: s.src.epoch, Ticket: h.Ticket, Event: EventStaged, Peer: h.To, Final: !s.src.ordered})
		}
		s.grantIfWanted()
	case stateUnclosed, stateMerging, stateOwnerPersist:
		refuse(StatusBusy, "the gateway that it came from has not confirmed its close yet: try again")
	case stateNone, stateMoved:
		refuse(StatusUnknownSession, "the session is not here")
	default:
		refuse(StatusBusy, "another move of this session is under way")
	}
}

// cancel gives up what has not been granted.
func (s *Session) cancel(t Ticket) {
	switch s.state {
	case stateStaging, stateStaged:
		if s.src.standby {
			s.setStandby(Standby{Session: s.id, Ticket: t})
			return
		}
		s.supersede(&s.src.ticket, t, s.src.epoch, s.src.to)
		s.giveUp(EventFailed, StatusCancelled, "cancelled by the operator; the session goes on here")
	case stateHeld:
		s.supersede(&s.tgt.ticket, t, s.tgt.epoch, s.tgt.from)
		s.cancelHeld(StatusCancelled, "cancelled by the operator")
	default:
		s.report(Report{Ticket: t, Event: EventFailed, Detail: "there is nothing that can be cancelled: the session is " + s.state.String(),
			Statuses: []ContextStatus{{FPTControl, StatusBusy}}, Final: true})
	}
}

// sourceDone goes on after an operation of the source's half.
func (s *Session) sourceDone(d Done) {
	m := s.src
	switch s.state {
	case stateAdopt:
		s.own()
		s.report(Report{Ticket: s.adopter, Event: EventAdopted, Final: true})
	case stateAllocating:
		s.do(stateExporting, Do{Verb: VerbExport, Epoch: m.epoch, Types: m.types, Peer: m.to})
	case stateExporting:
		s.exported(d)
	case stateLimiting:
		s.limited(d)
	case stateStaged:
		s.sampled(d)
	case stateYielding:
		s.yielded(d)
	case stateGranting:
		m.unsaid = m.leaseEnds.IsZero() && !m.leaseRanOut // at the end of a lease the target needs no final
		s.report(Report{Epoch: m.epoch, Ticket: m.ticket, Event: EventGranted, Peer: m.to})
		s.do(stateFreezing, Do{Verb: VerbFreeze, Epoch: m.epoch, Peer: m.to})
	case stateFreezing:
		s.frozen(d)
	case stateFencing:
		s.thawFenced()
	case stateThawing:
		s.thawed(d)
	case stateClosing:
		m.dynamic = d.Blocks
		s.do(stateReleasing, Do{Verb: VerbRelease, Epoch: m.epoch})
	case stateReleasing:
		s.persist(stateMovedPersist, Record{Kind: RecordMoved, Epoch: m.epoch, Peer: m.to})
	case stateMovedPersist:
		if m.plain {
			s.remove()
			s.complete("")
			return
		}
		s.rest(stateMoved, s.cfg.Timers.CloseGiveUp)
		s.remove()
		s.sendClosed()
		s.repeatEvery(s.cfg.Timers.Repeat)
	case stateEnding:
		s.forget()
	}
}

// exported builds the stage and sends it.
func (s *Session) exported(d Done) {
	m := s.src
	if len(d.Failed) > 0 {
		s.fail(EventFailed, d.Failed, "the features could not be read: "+d.Detail)
		return
	}
	if m.plain {
		s.exportedPlain(d)
		return
	}
	m.static, m.manifest, m.missing = append(d.Blocks, errorBlocks(d.Partial)...), s.withHeadroom(d.Manifest), d.Partial
	if s.node.Agent.IsValid() || len(s.node.Tokens) > 0 {
		block, err := s.nodeForTarget().Block()
		if err != nil {
			s.fail(EventFailed, []ContextStatus{{FPTNode, StatusInternal}}, err.Error())
			return
		}
		m.static = append(m.static, block)
	}
	digest, err := DigestOf(m.static)
	if err != nil {
		s.fail(EventFailed, []ContextStatus{{FPTControl, StatusInternal}}, err.Error())
		return
	}
	m.digest = digest
	s.do(stateLimiting, Do{Verb: VerbLimit, Epoch: m.epoch, Manifest: m.manifest})
}

// limited sends the stage, now that we do not pass the ceilings in it.
func (s *Session) limited(d Done) {
	m := s.src
	if len(d.Failed) > 0 {
		s.fail(EventFailed, d.Failed, "the outbound SAs could not be limited: "+d.Detail)
		return
	}
	if m.cancelled {
		s.failCancelled()
		return
	}
	m.started, m.vouched = s.now, m.proved
	s.rest(stateStaging, s.cfg.Timers.MaxTransfer)
	s.sendStage()
	s.repeatEvery(s.cfg.Timers.Repeat)
}

// directionOut is a manifest entry's Direction for an outbound SA.
const directionOut = 2

// misses says why a message of this router about this epoch is not about the
// move away from here; 0 means that it is.
func (m *outgoing) misses(from RouterID, e Epoch) Drop {
	if m == nil {
		return DropOutOfTurn
	}
	return misses(from, m.to, e, m.epoch)
}

// hear takes an Outcome. It counts only from the target of the move, for the
// epoch of the move.
func (s *Session) hear(from RouterID, o *Outcome) {
	m := s.src
	if s.state == stateNone && o.State == OutcomeActive && o.Epoch <= s.epoch {
		s.closedLongAgo(from, o.Epoch)
		return
	}
	if why := m.misses(from, o.Epoch); why != 0 || m.plain {
		s.drop(cmp.Or(why, DropOutOfTurn))
		return
	}
	if s.state >= stateGranting && o.Incarnation != m.incarnation {
		s.drop(DropOutOfTurn)
		return // it lost the journal that it promised in, and cannot know
	}
	m.heard = true
	switch s.state {
	case stateStaging, stateStaged:
		switch o.State {
		case OutcomeStaged:
			s.confirmed(o)
		case OutcomeActive, OutcomeClosed, OutcomeMovedOn, OutcomeLost:
			if m.standby {
				s.standbySays(o)
			}
		case OutcomeRefused:
			s.fail(EventRefused, o.Statuses, "the target refused; the session goes on here")
		case OutcomeUnseen:
			if s.state == stateStaging && len(o.Statuses) > 0 {
				s.giveUp(EventRefused, o.Statuses[0].Status, "the target did not take it; the session goes on here")
			}
		}
	case stateRetracting, stateYielded:
		s.standbySays(o)
	case stateFrozen:
		switch o.State {
		case OutcomeActive, OutcomeClosed:
			s.activeThere(o)
		case OutcomeRefused:
			s.do(stateThawing, Do{Verb: VerbThaw, Epoch: m.epoch})
			s.note(Record{Kind: RecordThawed, Epoch: m.epoch, Peer: m.to})
		}
	case stateDraining:
		if o.Steered && (o.State == OutcomeActive || o.State == OutcomeClosed) {
			s.steeredThere()
		}
	case stateMoved:
		if o.State == OutcomeClosed || o.State == OutcomeMovedOn {
			s.complete("")
		}
	}
}

// confirmed takes the target's "staged".
func (s *Session) confirmed(o *Outcome) {
	m := s.src
	if s.state == stateStaging {
		m.incarnation = o.Incarnation
		m.missing = unite(m.missing, o.Statuses)
		s.staged()
		s.report(Report{Epoch: m.epoch, Ticket: m.ticket, Event: EventStaged, Peer: m.to, Statuses: m.missing, Final: !m.ordered && !m.proved})
		s.acknowledge(m.missing)
	}
	if o.Incarnation != m.incarnation {
		s.giveUp(EventFailed, StatusNoBase, "the target lost its journal since it staged; the session goes on here")
		return
	}
	s.renewed(o.Serial)
	m.targetReady, m.untold = m.targetReady || o.Go, o.Untold
	s.grantIfWanted()
}

// grantIfWanted goes on once the target is ready and both sides may (law 5).
func (s *Session) grantIfWanted() {
	m := s.src
	switch {
	case !m.proved && m.ordered && m.targetReady && m.untold && !m.force:
		s.keepNode()
	case m.proved, m.ordered && m.targetReady:
		s.persist(stateGranting, Record{Kind: RecordGranted, Epoch: m.epoch, Peer: m.to,
			Ceilings: m.highest(), Digest: m.digest, Incarnation: m.incarnation, Standby: m.standby})
		m.standby = false // from here the grant decides, and a refusal ends the copy
	case m.ordered:
		s.report(Report{Epoch: m.epoch, Ticket: m.ticket, Event: EventWaiting, Peer: m.to,
			Detail: "staged; the target's policy wants the node's token before it activates"})
	}
}

// frozen sends the final.
func (s *Session) frozen(d Done) {
	m := s.src
	switch {
	case m.unsaid && busy(d.Failed):
		s.note(Record{Kind: RecordThawed, Epoch: m.epoch, Peer: m.to})
		m.goodUntil = s.now // a token that came as far as a grant is used up
		s.giveUp(EventThawed, StatusBusy, "the session goes on here: it is in the middle of something: "+d.Detail)
		return
	case len(d.Failed) > 0:
		s.finish("the outbound SAs could not be frozen: " + d.Detail)
		return
	}
	m.dynamic, m.missing = d.Blocks, unite(m.missing, d.Partial)
	s.rest(stateFrozen, s.cfg.Timers.FreezeDeadline)
	s.sendFinal()
	// The node waits, and so do its packets, in a queue that is soon full. What is
	// lost is said again before its answer could have come.
	s.repeatEvery(max(s.cfg.Timers.Repeat/2, 1))
	s.report(Report{Epoch: m.epoch, Ticket: m.ticket, Event: EventFrozen, Peer: m.to})
}

// busy says that a freeze found no moment to begin in, and stopped nothing.
func busy(failed []ContextStatus) bool {
	return len(failed) > 0 && !slices.ContainsFunc(failed, func(c ContextStatus) bool { return c.Status != StatusBusy })
}

// activeThere drains: the queue of the freeze goes to the target, inbound stays
// until traffic has moved, and is no longer steered to here.
func (s *Session) activeThere(o *Outcome) {
	m := s.src
	s.endSteering()
	s.rest(stateDraining, s.cfg.Timers.SteerDeadline)
	s.repeatEvery(s.cfg.Timers.Repeat)
	s.act(Do{Op: s.op(), Verb: VerbRedirect, Session: s.id, Epoch: m.epoch, Mode: s.cfg.Mode, Peer: m.to})
	m.missing = unite(m.missing, o.Statuses)
	s.report(Report{Epoch: m.epoch, Ticket: m.ticket, Event: EventActive, Peer: m.to, Statuses: m.missing})
	if o.Steered {
		s.steeredThere()
	}
}

// steeredThere gives what is still under way to the old address its grace.
func (s *Session) steeredThere() {
	m := s.src
	if m.targetKnows {
		return
	}
	m.targetKnows = true
	s.report(Report{Epoch: m.epoch, Ticket: m.ticket, Event: EventSteered, Peer: m.to})
	if s.cfg.Mode == ModeStrict || s.cfg.Timers.Grace == 0 {
		s.close()
		return
	}
	s.rest(stateDraining, s.cfg.Timers.Grace)
}

// close ends inbound; from here the source can no longer thaw.
func (s *Session) close() {
	if !s.src.targetKnows {
		s.report(Report{Epoch: s.src.epoch, Ticket: s.src.ticket, Event: EventSteering, Peer: s.src.to,
			Detail: "the target did not report that traffic reaches it; closed all the same"})
	}
	s.do(stateClosing, Do{Verb: VerbClose, Epoch: s.src.epoch})
}

// thawed goes on as the owner, or ends a session that could not be thawed.
func (s *Session) thawed(d Done) {
	if len(d.Failed) > 0 {
		s.finish("the target refused, and the SAs could not be thawed: " + d.Detail)
		return
	}
	s.src.goodUntil = s.now // a token that came as far as a grant is used up
	switch m := s.src; {
	case m.fenced:
		s.tellFloors(m)
		s.fail(EventThawed, nil, "the target is fenced; the session goes on here, above its ceilings: rekey it")
	case m.standby:
		m.stopped = false
		if m.leaseRanOut { // again, while this went on
			s.yield()
			return
		}
		s.staged()
	default:
		s.fail(EventThawed, nil, "the target refused after the grant; the session goes on here")
	}
}

// giveUp withdraws an attempt that was not granted.
func (s *Session) giveUp(e Event, st Status, why string) {
	s.withdraw()
	s.fail(e, []ContextStatus{{FPTControl, st}}, why)
}

func (s *Session) withdraw() {
	s.sendPhase(PhaseWithdraw, nil, s.now.Add(s.cfg.Timers.RequestWait))
}

// fail ends an attempt: the session stays with this owner.
func (s *Session) fail(e Event, statuses []ContextStatus, why string) {
	m := s.src
	s.acknowledge(failures(statuses))
	if m.asked && m.started.IsZero() && !m.cancelled {
		s.act(deny(m.to, s.addr, reason(statuses))) // it waits for contexts
	}
	s.report(Report{Epoch: m.epoch, Ticket: m.ticket, Event: e, Peer: m.to, Statuses: statuses, Detail: why, Final: true})
	s.src = nil
	wipe(m.static)
	wipe(m.dynamic)
	s.limit(nil)
	s.keepPledge(m)
	s.own()
}
