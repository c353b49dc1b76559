package cxtp

import (
	"maps"
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
	s.repeatAt = time.Time{}
	if s.standby != "" {
		s.repeatAt = s.turn(max(s.standbyWait, s.cfg.Timers.StandbyEvery))
	}
}

// turn is when this session's next renewal is due: after the wait, and not
// before its place in the row.
func (s *Session) turn(wait time.Duration) time.Time {
	at, place := s.now.Add(wait), s.pace.slot(s.now)
	if place.After(at) {
		return place
	}
	return at
}

// near renews a staged copy whose ceiling is coming near: a session that is
// staged anywhere must not be stopped by it.
func (s *Session) near() {
	if s.state == stateStaged && s.waitOp == 0 {
		s.renew()
	}
}

// setStandby is the operator's order. A move, or a stage, that is under way goes
// first; staged then sees that its copy is no longer wanted.
func (s *Session) setStandby(c Standby) {
	s.standby = c.To
	switch {
	case s.state == stateOwner && c.To != "":
		s.startStandby(c.Ticket)
		return
	case s.state == stateOwner:
		s.scheduleStandby()
	case s.state == stateStaged && s.src.standby && s.src.to != c.To:
		s.retract()
	}
	s.report(Report{Epoch: s.epoch, Ticket: c.Ticket, Event: EventStandby, Peer: c.To, Final: true})
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
	switch {
	case !s.src.standby:
		s.rest(stateStaged, s.cfg.Timers.StageHold)
	case s.src.to != s.standby:
		s.retract()
	default:
		s.standbyWait = 0
		s.rest(stateStaged, 0)
		s.renew()
	}
}

// renewal is one that was sent: its number, when, and the ceilings that the
// standby may have from then on.
type renewal struct {
	serial   uint32
	sent     time.Time
	ceilings []ManifestEntry
}

// renewals are the last that were sent. An acknowledgement may come when others
// have been sent since.
type renewals [4]renewal

func (r *renewals) last() *renewal {
	last := &r[0]
	for i := range r {
		if r[i].serial > last.serial {
			last = &r[i]
		}
	}
	return last
}

func (r *renewals) find(serial uint32) (renewal, bool) {
	found := r[serial%uint32(len(r))]
	return found, serial > 0 && found.serial == serial
}

// renew reads what the standby has to know anew.
func (s *Session) renew() {
	if s.src.standby {
		s.repeatAt = s.turn(s.cfg.Timers.StandbyEvery)
	}
	s.waitOp = s.op()
	s.act(Do{Op: s.waitOp, Verb: VerbSample, Session: s.id, Epoch: s.src.epoch, Mode: s.cfg.Mode})
}

// sampled sends a renewal. Its ceilings are not ours before the standby has
// acknowledged them; but from here it may have them.
func (s *Session) sampled(d Done) {
	m := s.src
	switch {
	case len(d.Failed) > 0:
		s.report(Report{Epoch: m.epoch, Event: EventFailed, Peer: m.to, Statuses: d.Failed, Detail: "the standby was not renewed: " + d.Detail})
	case !sameSAs(m.manifest, d.Manifest):
		s.retract() // SAs have come or gone since the stage: it is staged anew
	default:
		s.sendRenewal(d.Blocks, s.withHeadroom(d.Manifest))
	}
}

// sameSAs reports whether two manifests name the same SAs, in whatever order: that of
// a sample is the feature's.
func sameSAs(a, b []ManifestEntry) bool {
	return maps.Equal(sasOf(a), sasOf(b))
}

// sasOf counts the SAs that a manifest names.
func sasOf(m []ManifestEntry) map[ManifestEntry]int {
	count := make(map[ManifestEntry]int, len(m))
	for _, e := range m {
		e.Ceiling = 0
		count[e]++
	}
	return count
}

// sendRenewal numbers a renewal and sends it. With the first the lease begins:
// the standby may take over from then on, whether or not we ever hear of it.
func (s *Session) sendRenewal(blocks []CDB, ceilings []ManifestEntry) {
	m := s.src
	serial := m.sent.last().serial + 1
	m.sent[serial%uint32(len(m.sent))] = renewal{serial, s.now, ceilings}
	if serial == 1 {
		s.extendLease(s.now)
	}
	s.sendPhase(PhaseRenew, blocks, s.now.Add(s.cfg.Timers.RequestWait))
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

// renewed takes the acknowledgement of a renewal: now its ceilings are ours, and
// the lease is longer.
func (s *Session) renewed(serial uint32) {
	m := s.src
	r, known := m.sent.find(serial)
	if !known || serial <= m.acknowledged {
		return
	}
	m.acknowledged = serial
	if r.ceilings != nil {
		m.manifest = r.ceilings
		s.limit(m.manifest)
	}
	s.extendLease(r.sent)
}

// limit moves the outbound ceilings; nil takes them away. Nothing waits for it:
// the feature does a session's operations in order, and until then the lower
// ceiling holds.
func (s *Session) limit(ceilings []ManifestEntry) {
	s.act(Do{Op: s.op(), Verb: VerbLimit, Session: s.id, Epoch: s.epoch, Mode: s.cfg.Mode, Manifest: ceilings})
}

// extendLease counts from the sending of what was acknowledged.
func (s *Session) extendLease(sent time.Time) {
	if s.src.standby && s.cfg.Timers.Lease > 0 {
		s.src.leaseEnds, s.src.leaseRanOut = sent.Add(s.cfg.Timers.Lease), false
	}
}

// leaseOver stops whatever still sends when the lease has run out.
func (s *Session) leaseOver() {
	m := s.src
	m.leaseEnds, m.leaseRanOut = time.Time{}, true
	switch s.state {
	case stateStaged:
		s.yield()
	case stateRetracting:
		s.dropNext()
		s.yield()
	case stateGranting, stateThawing:
		// The freeze that follows finds it done.
		s.act(Do{Op: s.op(), Verb: VerbFreeze, Session: s.id, Previous: s.addr, Epoch: m.epoch, Mode: s.cfg.Mode})
	}
}

// yield stops an owner whose standby may take over from now on. It goes on when
// the standby says that it has not.
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
func (s *Session) askStandby() { s.sendRenewal(s.src.dynamic, s.src.highest()) }

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

// retractLate answers who waits for a move; the session waits on.
func (s *Session) retractLate() {
	if s.src.stopped {
		s.finish("the lease ran out, and the standby did not give its copy up before the deadline")
		return
	}
	s.dropNext()
}

// dropNext gives up the move that waits for the standby's copy.
func (s *Session) dropNext() {
	next := s.src.next
	if next == nil {
		return
	}
	s.src.next = nil
	failed := []ContextStatus{{FPTControl, StatusExpired}}
	s.acknowledge(failed)
	if next.spent {
		s.dropKeys(next.key.Number)
	}
	s.report(Report{Ticket: next.ticket, Event: EventFailed, Peer: next.to, Statuses: failed, Final: true,
		Detail: "the standby " + string(s.src.to) + " does not give up its copy: if it is powered off for good, resolve the session with it fenced"})
}

// copyGone goes on after a standby's copy can no longer be used.
func (s *Session) copyGone(why string) {
	m := s.src
	if m.stopped {
		m.standby, m.leaseEnds = false, time.Time{}
		s.do(stateThawing, Do{Verb: VerbThaw, Epoch: m.epoch})
		return
	}
	if m.next == nil {
		s.fail(EventStandby, nil, why)
		return
	}
	waiting := s.asker
	s.asker = asker{} // the next move owes the answer
	s.fail(EventStandby, nil, why)
	s.asker = waiting
	s.startMove(m.next)
}

// standbySays takes the word of a standby that may have taken over, or that has
// given its copy up. "Lost" is as good as "refused": it would have made "active"
// durable before it took over.
func (s *Session) standbySays(o *Outcome) {
	m := s.src
	switch o.State {
	case OutcomeActive, OutcomeClosed, OutcomeMovedOn:
		s.finish("taken over by the standby " + string(m.to))
	case OutcomeUnseen:
		// Not taken. A copy that may have been renewed was taken once; only after a
		// restart we do not know whether ours was.
		if m.incarnation == 0 && len(o.Statuses) > 0 {
			s.copyGone("the standby " + string(m.to) + " never took a copy")
		}
	case OutcomeLost, OutcomeRefused:
		s.copyGone("the standby " + string(m.to) + " gave its copy up")
	case OutcomeStaged:
		if r, known := m.sent.find(o.Serial); s.state == stateYielded && known && r.sent.Add(s.cfg.Timers.Lease).After(s.now) {
			s.renewed(o.Serial)
			s.do(stateThawing, Do{Verb: VerbThaw, Epoch: m.epoch})
		}
	}
}
