package cxtp

// How a session ends at the router that owned it: by a move that is complete, or
// for good, with a record that says why.

// vanished ends a session whose SAs are gone. Under way elsewhere, each step finds
// out by itself what it lacks; the word comes again when the session is at rest.
func (s *Session) vanished(why string) {
	switch {
	case s.state == stateOwner:
		s.src = &outgoing{epoch: s.epoch} // to nobody
	case s.state != stateStaged:
		return
	case !s.src.standby: // its copy may be all that is left
		s.withdraw()
	}
	s.finish(why)
}

// finish ends the session itself: silently towards the node, with a record.
func (s *Session) finish(why string) {
	m := s.src
	s.why = why
	s.report(Report{Epoch: m.epoch, Ticket: m.ticket, Event: EventEnded, Peer: m.to, Detail: why, Final: true})
	s.act(Do{Op: s.op(), Verb: VerbRelease, Session: s.id, Epoch: m.epoch, Mode: s.cfg.Mode})
	s.remove()
	s.persist(stateEnding, Record{Kind: RecordEnded, Epoch: m.epoch, Peer: m.to, Why: why})
}

// complete ends a move that reached its end.
func (s *Session) complete(detail string) {
	m := s.src
	s.report(Report{Epoch: m.epoch, Ticket: m.ticket, Event: EventClosed, Peer: m.to, Detail: detail, Final: true})
	s.why = movedTo(m.to)
	s.forget()
}

// movedTo is why a session that has moved away is gone.
func movedTo(to RouterID) string { return "moved to " + string(to) }

// forget leaves nothing of the move but the record.
func (s *Session) forget() {
	if s.src != nil {
		wipe(s.src.static)
		wipe(s.src.dynamic)
	}
	s.src = nil
	s.rest(stateNone, s.cfg.Timers.Remember)
}

// remove marks the epoch that brought the session here as moved on and forgets
// the node's keys.
func (s *Session) remove() {
	for i, a := range s.answer {
		if a.state == OutcomeClosed {
			s.answer[i].state = OutcomeMovedOn
		}
	}
	s.wipeNode()
	s.used = usedToken{}
	s.endSteering()
}
