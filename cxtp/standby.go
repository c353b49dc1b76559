package cxtp

import (
	"cmp"
	"slices"
	"time"
)

// A standby holds a staged copy of a session that its owner keeps fresh: step 2
// of a move, again and again. With every renewal the owner gives its windows and
// a later ceiling, which it does not pass before the standby has acknowledged
// it. So a standby that takes over, and starts above the last ceiling that it
// was given, uses no sequence number a second time, whatever was lost.
//
// It takes over when the operator says that the owner is fenced, or, where a
// lease is configured, when the owner's lease has run out: the owner counts it
// from when it sent the renewal that was acknowledged, freezes itself at its
// end, and the standby counts a longer one from when it received the renewal.
// Silence alone is never enough.

// pacer spreads the renewals of all sessions over time.
type pacer struct {
	every time.Duration // between two renewals; 0 = no bound
	next  time.Time
}

// slot is the first free time not before at.
func (p *pacer) slot(at time.Time) time.Time {
	if p.next.Before(at) {
		p.next = at
	}
	free := p.next
	p.next = free.Add(p.every)
	return free
}

// maxStandbyWait is the longest wait between two attempts to stage at a standby.
const maxStandbyWait = time.Minute

// own is the state of an owner without a move; one that should have a standby
// stages there when its turn comes.
func (s *Session) own() {
	s.rest(stateOwner, 0)
	if s.pledge != nil {
		s.deadline = s.pledge.until
	}
	s.scheduleStandby()
}

// scheduleStandby waits longer after every attempt that failed.
func (s *Session) scheduleStandby() {
	if s.standby != "" {
		s.repeatAt = s.pace.slot(s.now.Add(max(s.standbyWait, s.cfg.Timers.StandbyEvery)))
	}
}

// near renews a staged copy whose ceiling is coming near: a session that is
// staged anywhere must not be stopped by it.
func (s *Session) near() {
	if s.state == stateStaged && s.waitOp == 0 {
		s.renew()
	}
}

// setStandby is the operator's order. A move that is under way goes first.
func (s *Session) setStandby(c Standby) {
	s.standby = c.To
	done := Report{Epoch: s.epoch, Ticket: c.Ticket, Event: EventStandby, Peer: c.To, Final: true}
	switch {
	case s.state == stateOwner && c.To != "":
		s.startStandby(c.Ticket)
		return
	case s.state == stateStaged && s.src.standby && s.src.to != c.To:
		s.retract()
	}
	s.report(done)
}

func (s *Session) startStandby(t Ticket) {
	s.standbyWait = min(max(2*s.standbyWait, s.cfg.Timers.StandbyEvery), maxStandbyWait)
	s.startMove(&outgoing{to: s.standby, standby: true, ticket: t})
}

// free reports whether a move to a target may begin: at once, or after the
// standby elsewhere has given up its copy.
func (s *Session) free(to RouterID) bool {
	return s.state == stateOwner || s.state == stateStaged && s.src.standby && s.src.to != to
}

// staged is the source's rest until a move begins: a copy that nobody renews is
// given up after a time, a standby's is renewed.
func (s *Session) staged() {
	if s.src.standby {
		s.standbyWait = 0
		s.rest(stateStaged, 0)
		s.renew()
		return
	}
	s.rest(stateStaged, s.cfg.Timers.StageHold)
}

// renew reads what the standby has to know anew.
func (s *Session) renew() {
	if s.src.standby {
		s.repeatAt = s.pace.slot(s.now.Add(s.cfg.Timers.StandbyEvery))
	}
	s.waitOp = s.op()
	s.act(Do{Op: s.waitOp, Verb: VerbSample, Session: s.id, Epoch: s.src.epoch, Mode: s.cfg.Mode})
}

// sampled sends a renewal. Its ceilings are not ours before the standby has
// acknowledged them; but from here it may have them.
func (s *Session) sampled(d Done) {
	m := s.src
	if len(d.Failed) > 0 {
		s.report(Report{Epoch: m.epoch, Event: EventFailed, Peer: m.to, Statuses: d.Failed, Detail: "the standby was not renewed: " + d.Detail})
		return
	}
	m.serial++
	m.sentAt = s.now
	m.offered = s.withHeadroom(d.Manifest)
	if m.leaseEnds.IsZero() {
		s.extendLease() // the first: from here the standby may take over
	}
	s.sendPhase(PhaseRenew, d.Blocks, s.now.Add(s.cfg.Timers.RequestWait))
}

// withHeadroom turns present sequence numbers into ceilings.
func (s *Session) withHeadroom(m []ManifestEntry) []ManifestEntry {
	for i := range m {
		if m[i].Direction == directionOut {
			m[i].Ceiling += s.cfg.Headroom
		}
	}
	return m
}

// renewed takes the acknowledgement of the latest renewal: now its ceilings are
// ours, and the lease is longer.
func (s *Session) renewed() {
	m := s.src
	if m.offered != nil {
		m.manifest = m.offered
		s.limit(m.manifest)
	}
	s.extendLease()
}

// limit moves the outbound ceilings; nil takes them away. Nothing waits for it:
// the feature does a session's operations in order, and until then the lower
// ceiling holds.
func (s *Session) limit(ceilings []ManifestEntry) {
	s.act(Do{Op: s.op(), Verb: VerbLimit, Session: s.id, Epoch: s.epoch, Mode: s.cfg.Mode, Manifest: ceilings})
}

// extendLease counts from the sending of what was acknowledged.
func (s *Session) extendLease() {
	if s.src.standby && s.cfg.Timers.Lease > 0 {
		s.src.leaseEnds = s.src.sentAt.Add(s.cfg.Timers.Lease)
	}
}

// leaseOver stops whatever still sends when the lease has run out.
func (s *Session) leaseOver() {
	m := s.src
	m.leaseEnds = time.Time{}
	switch s.state {
	case stateStaged:
		s.yield()
	case stateRetracting:
		s.retractLate()
		s.yield()
	case stateGranting:
		// The freeze that follows the grant finds it done.
		s.act(Do{Op: s.op(), Verb: VerbFreeze, Session: s.id, Epoch: m.epoch, Mode: s.cfg.Mode})
	}
}

// yield stops an owner whose lease has run out: its standby may take over from
// now on. It goes on when the standby says that it has not.
func (s *Session) yield() {
	s.report(Report{Epoch: s.src.epoch, Ticket: s.src.ticket, Event: EventFrozen, Peer: s.src.to, Detail: "the standby does not answer and the lease has run out: it may take over"})
	s.do(stateYielding, Do{Verb: VerbFreeze, Epoch: s.src.epoch})
}

// yielded asks the standby, with a renewal, until it answers or the deadline
// comes.
func (s *Session) yielded(d Done) {
	if len(d.Failed) > 0 {
		s.finish("the lease ran out, and the outbound SAs could not be frozen: " + d.Detail)
		return
	}
	m := s.src
	m.dynamic, m.stopped = d.Blocks, true
	if m.retracting || m.incarnation == 0 { // 0: a restart forgot what is staged there
		s.retract()
		return
	}
	s.rest(stateYielded, s.cfg.Timers.FreezeDeadline)
	s.askStandby()
	s.repeatEvery(s.cfg.Timers.Repeat)
}

// askStandby sends a renewal that has no later ceiling. Each has a number of its
// own: the lease counts from the sending of the very one that is acknowledged.
func (s *Session) askStandby() {
	s.src.serial++
	s.src.sentAt = s.now
	s.sendPhase(PhaseRenew, s.src.dynamic, s.now.Add(s.cfg.Timers.RequestWait))
}

// retract takes a standby's copy back. Nothing else may be granted before the
// standby has said, durably, that it will never use it: an operator who fences
// this gateway later would otherwise have it take over what has moved on.
func (s *Session) retract() {
	s.src.retracting = true
	wait := s.cfg.Timers.RequestWait
	if s.src.stopped {
		wait = s.cfg.Timers.FreezeDeadline
	}
	s.rest(stateRetracting, wait)
	s.sendPhase(PhaseWithdraw, nil, time.Time{})
	s.repeatEvery(s.cfg.Timers.Repeat)
}

// retractLate answers the operator; the session waits on.
func (s *Session) retractLate() {
	if s.src.stopped {
		s.finish("the lease ran out, and the standby did not give its copy up before the deadline")
		return
	}
	if next := s.src.next; next != nil {
		s.src.next = nil
		s.report(Report{Ticket: next.ticket, Event: EventFailed, Peer: next.to, Statuses: []ContextStatus{{FPTControl, StatusExpired}}, Final: true,
			Detail: "the standby " + string(s.src.to) + " does not give up its copy: if it is powered off for good, resolve the session with it fenced"})
	}
}

// copyGone goes on after a standby's copy can no longer be used.
func (s *Session) copyGone(why string) {
	if s.src.stopped {
		s.src.standby = false
		s.do(stateThawing, Do{Verb: VerbThaw, Epoch: s.src.epoch})
		return
	}
	next := s.src.next
	s.fail(EventStandby, nil, why)
	if next != nil {
		s.startMove(next)
	}
}

// standbySays takes the word of a standby that may have taken over, or that has
// given its copy up.
func (s *Session) standbySays(o *Outcome) {
	m := s.src
	switch {
	case o.State == OutcomeActive, o.State == OutcomeClosed, o.State == OutcomeMovedOn:
		s.finish("taken over by the standby " + string(m.to))
	case s.state == stateYielded && o.State == OutcomeStaged && o.Serial == m.serial:
		s.do(stateThawing, Do{Verb: VerbThaw, Epoch: m.epoch})
	case m.stopped && o.State == OutcomeLost:
		s.finish("the lease ran out, and the standby " + string(m.to) + " may have taken over and lost the session")
	case o.State == OutcomeLost, o.State == OutcomeRefused:
		s.copyGone("the standby " + string(m.to) + " gave its copy up")
	}
}

// The standby's half.

// renewal takes a later state of what is staged here.
func (s *Session) renewal(from RouterID, data *CTD, c Control) {
	t := s.tgt
	switch {
	case !s.holds(from, c) || s.state != stateHeld:
		s.drop(cmp.Or(t.misses(from, c.Epoch), DropOutOfTurn))
		s.tell(from, c.Epoch)
		return
	case c.Serial <= t.serial:
		s.drop(DropRepeated)
		s.extend(c)
		s.tell(from, c.Epoch)
		return
	}
	t.nextSerial, t.heard = c.Serial, s.now
	t.nextCeilings = c.Manifest
	s.do(stateRenewing, Do{Verb: VerbRenew, Epoch: t.epoch, Blocks: data.Blocks[1:], Manifest: c.Manifest})
}

// holds reports whether a message is about what is staged here.
func (s *Session) holds(from RouterID, c Control) bool {
	t := s.tgt
	return t != nil && t.from == from && t.epoch == c.Epoch && t.digest == c.Digest && c.Incarnation == s.cfg.Incarnation
}

// extend lets a repeated renewal prolong the owner's lease.
func (s *Session) extend(c Control) {
	if s.tgt.serial == c.Serial {
		s.tgt.heard = s.now
		s.rest(stateHeld, s.holdFor())
	}
}

// renewedHere makes the ceilings durable, if they are others, before they are
// acknowledged.
func (s *Session) renewedHere(d Done) {
	t := s.tgt
	if len(d.Failed) > 0 {
		s.refuseWith(d.Failed, d.Detail)
		return
	}
	if slices.Equal(t.nextCeilings, t.ceilings) {
		s.heldAgain()
		return
	}
	t.ceilings = t.nextCeilings
	s.persist(stateRenewed, s.promise())
}

func (s *Session) heldAgain() {
	t := s.tgt
	t.serial = t.nextSerial
	s.rest(stateHeld, s.holdFor())
	if t.withdrawn {
		s.refuse(StatusCancelled, "withdrawn by the source")
		return
	}
	s.tell(t.from, t.epoch)
}

// holdFor is how long contexts may stay staged here from now.
func (s *Session) holdFor() time.Duration {
	t := s.tgt
	switch {
	case !t.mayTakeOver():
		return s.cfg.Timers.StageHold
	case t.lease == 0:
		return s.cfg.Timers.StandbyHold
	}
	// As long as the owner may send, and an eighth for clocks that do not run
	// alike.
	return max(t.heard.Add(t.lease+t.lease/8).Sub(s.now), 1)
}

// mayTakeOver reports whether this copy needs no grant. One that has never been
// renewed does: its owner may have given it up unheard.
func (t *incoming) mayTakeOver() bool { return t.standby && t.serial > 0 }

// takeOver makes a standby the owner. It is durable before the first packet, and
// nobody has to be asked: whoever had the session will not send any more.
func (s *Session) takeOver(ticket Ticket, why string) {
	t := s.tgt
	s.supersede(&t.ticket, ticket, t.epoch, t.from)
	t.why = why
	s.persist(stateTakingOver, Record{Kind: RecordActive, Epoch: t.epoch, Peer: t.from, Why: why})
}

// tookOver goes on as the owner, with no close to wait for.
func (s *Session) tookOver(d Done) {
	t := s.tgt
	if len(d.Failed) > 0 {
		s.refuseWith(d.Failed, d.Detail)
		return
	}
	s.steer = &steering{epoch: t.epoch, from: t.from, uplink: !s.node.Agent.IsValid()}
	s.startSteering()
	s.report(Report{Epoch: t.epoch, Ticket: t.ticket, Event: EventActive, Peer: t.from, Detail: "taken over: " + t.why +
		". Rekey the SAs: what the old gateway accepted since the last renewal could be replayed here"})
	s.persist(stateOwnerPersist, Record{Kind: RecordClosed, Epoch: t.epoch, Peer: t.from, Why: t.why})
}
