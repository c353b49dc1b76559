package cxtp

import "time"

// resolve takes the operator's word that a router is fenced: powered off, and
// what it held is gone. It is the way out of what no message can decide any
// more, and what it risks is said in the report: if the word is wrong, two
// gateways send for one session.
func (s *Session) resolve(r Resolve) {
	switch {
	case s.src != nil && s.src.to == r.Fenced && s.resolveAway(r):
	case s.tgt != nil && s.tgt.from == r.Fenced && s.resolveHere(r):
	default:
		s.report(Report{Ticket: r.Ticket, Event: EventFailed, Peer: r.Fenced, Final: true, Statuses: []ContextStatus{{FPTControl, StatusBusy}},
			Detail: "the session is " + s.state.String() + " here, and does not wait for " + string(r.Fenced)})
	}
}

// resolveAway is for a source whose target is fenced.
func (s *Session) resolveAway(r Resolve) bool {
	m := s.src
	switch s.state {
	case stateYielded, stateFrozen, stateRetracting, stateStaged:
		s.supersede(&m.ticket, r.Ticket, m.epoch, m.to)
		s.targetFenced()
	case stateDraining:
		s.supersede(&m.ticket, r.Ticket, m.epoch, m.to)
		s.finish("the target became active, and is fenced now")
	case stateMoved:
		s.supersede(&m.ticket, r.Ticket, m.epoch, m.to)
		s.complete("the target is fenced: the session ended with it")
	default:
		return false
	}
	return true
}

// targetFenced goes on without a target. One that was only staged there goes on
// as it was. One that is frozen may have been activated: the target has then
// sent, up to the ceilings that it was given, and whoever goes on starts above
// them. But a standby that took over when our lease ran out had no ceiling.
func (s *Session) targetFenced() {
	m := s.src
	switch {
	case m.leaseRanOut:
		s.finish(string(m.to) + " is fenced, and may have taken over before: nobody knows which sequence numbers it used")
	case s.state != stateFrozen:
		s.copyGone("the copy at " + string(m.to) + " is gone: its gateway is fenced")
	default:
		m.fenced, m.leaseEnds = true, time.Time{} // nobody is left who could take over at its end
		s.persist(stateFencing, Record{Kind: RecordThawed, Epoch: m.epoch, Peer: m.to, Ceilings: m.highest(), Why: "the target is fenced"})
	}
}

// thawFenced goes on above what the fenced target may have used. The operator's
// word is durable by now: after a restart a late "active" of that target must not
// end what has been going on since.
func (s *Session) thawFenced() {
	s.limit(nil)
	s.do(stateThawing, Do{Verb: VerbThaw, Epoch: s.src.epoch, Manifest: s.src.highest()})
}

// resolveHere is for a target whose source is fenced.
func (s *Session) resolveHere(r Resolve) bool {
	t := s.tgt
	switch {
	case s.state == stateHeld && t.mayTakeOver():
		s.takeOver(r.Ticket, string(t.from)+" is fenced")
	case s.state == stateHeld:
		s.supersede(&t.ticket, r.Ticket, t.epoch, t.from)
		s.refuse(StatusCancelled, "the source is fenced, and no final came")
	case s.state == stateUnclosed:
		s.supersede(&t.ticket, r.Ticket, t.epoch, t.from)
		s.doWithout("the source is fenced")
		s.persist(stateOwnerPersist, Record{Kind: RecordClosed, Epoch: t.epoch, Peer: t.from, Why: "the source is fenced"})
	default:
		return false
	}
	return true
}

// highest is the highest ceilings that the target may have been given.
func (m *outgoing) highest() []ManifestEntry {
	if last := m.sent.last(); last.ceilings != nil {
		return last.ceilings
	}
	return m.manifest
}
