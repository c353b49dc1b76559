package cxtp

import "time"

// sendPhase sends a CTD with a control block. A stage carries the token's key
// where the nAR will have to verify the node's token itself: RFC 4067 section
// 2.5.6, predictive transfer and a request with a null token.
func (s *Session) sendPhase(phase Phase, blocks []CDB, expires time.Time) {
	m := s.src
	if m.plain && phase != PhaseStage {
		return // a plain target knows no other
	}
	control, err := Control{
		Phase: phase, TokenProved: m.tokenProved(phase), Mode: s.cfg.Mode,
		Session: s.id, Epoch: m.epoch, Incarnation: m.incarnation,
		Digest: m.digest, Target: m.to, Manifest: m.highest(),
		Standby: m.standby, Serial: m.serial(phase), Lease: s.cfg.Timers.Lease,
	}.Block()
	if err != nil {
		// The manifest was encoded in the stage already, or is too long there.
		s.fail(EventFailed, []ContextStatus{{FPTControl, StatusInternal}}, err.Error())
		return
	}
	ctd := &CTD{
		// Of the other phases an Outcome says more than a CTDR.
		Ack: phase == PhaseStage, Previous: s.addr, Elapsed: uint32(s.now.Sub(m.started).Milliseconds()),
		Blocks: append([]CDB{control}, blocks...),
	}
	if phase == PhaseStage && !m.vouched && !m.key.Key.IsZero() {
		ctd.Predictive, ctd.Algorithm, ctd.Key = true, s.node.algorithm(), m.key.Key
	}
	if m.plain {
		ctd.Blocks = blocks
	}
	if m.plain && ctd.Predictive {
		ctd.Algorithm = AlgorithmHMACSHA1 // see plainKey
	}
	s.act(Send{To: m.to, Message: ctd, Expires: expires})
}

// serial is the control block's: in a final the number of the token key that has
// verified, else of the last renewal.
func (m *outgoing) serial(phase Phase) uint32 {
	switch {
	case phase != PhaseFinal:
		return m.sent.last().serial
	case m.spent:
		return m.key.Number
	}
	return 0
}

// tokenProved is the control block's T.
func (m *outgoing) tokenProved(phase Phase) bool {
	switch phase {
	case PhaseStage:
		return m.vouched
	case PhaseFinal:
		return m.proved || m.spent
	}
	return m.proved
}

// sendStage sends the stage, as it was the first time: a repetition that said
// more would not say it to a target that has taken the first.
func (s *Session) sendStage() { s.sendPhase(PhaseStage, s.src.static, s.deadline) }

func (s *Session) sendFinal() { s.sendPhase(PhaseFinal, s.src.dynamic, time.Time{}) }

func (s *Session) sendClosed() { s.sendPhase(PhaseClosed, s.src.dynamic, time.Time{}) }

// closedLongAgo answers a target that never heard "closed" while we repeated it.
// Whatever ended our part since, a thaw did not; our last windows are gone.
func (s *Session) closedLongAgo(to RouterID, e Epoch) {
	s.src = &outgoing{epoch: e, to: to, started: s.now}
	s.sendClosed()
	s.src = nil
}

// ask puts the question that an Outcome answers.
func (s *Session) ask() {
	s.act(Send{To: s.src.to, Message: &Outcome{Question: true, Previous: s.addr, Session: s.id, Epoch: s.src.epoch, Incarnation: s.src.incarnation}})
}
