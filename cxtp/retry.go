package cxtp

import "time"

// DefaultAttempts is how many attempts an operator's order gets when the target
// answers nothing at all.
const DefaultAttempts = 3

// unconfirmed ends an attempt that the target did not confirm within
// CT_MAX_TRANSFER_TIME. A target that was not heard at all may only have been
// out of reach for a moment: an operator's order is then tried again, with a
// fresh epoch. A node's request is not, because the node repeats it.
func (s *Session) unconfirmed() {
	m := s.src
	if m.heard || m.attempts <= 1 {
		s.giveUp(EventFailed, StatusExpired, "the target did not confirm in time; the session goes on here")
		return
	}
	s.withdraw()
	wipe(m.static)
	s.startMove(&outgoing{
		to: m.to, ticket: m.ticket, attempts: m.attempts - 1, ordered: m.ordered, force: m.force,
		proved: m.proved, spent: m.spent, key: m.key, sequence: m.sequence, token: m.token, goodUntil: m.goodUntil, types: m.types, asked: m.asked,
	})
}

// proveMove takes the node's token for a move to this target that is under way
// already. A target that asks while the stage is out has not got it, or has it
// damaged: it is sent again (section 2.5.6).
func (s *Session) proveMove(key NumberedKey, sequence uint32) {
	m := s.src
	if !m.spent {
		m.goodUntil = s.now.Add(s.cfg.Timers.StageHold)
	}
	m.proved, m.spent, m.key, m.sequence = true, true, key, sequence
	m.vouched = m.vouched || m.plain // it has no other word for it
	switch s.state {
	case stateStaging:
		s.sendStage()
	case stateStaged:
		s.grantIfWanted()
	}
}

// pledge keeps the token key of a node's request whose transfer failed. The nAR
// may ask again with the same sequence number (RFC 4067 sections 2.5.3 and
// 2.5.6), and a node that asked at the pAR beforehand is on its way to the nAR
// and knows nothing of the failure. The key is good for that request, from that
// router, and for nothing else; no other router ever gets it.
type pledge struct {
	to       RouterID
	sequence uint32
	key      uint32    // its number
	until    time.Time // as long as the contexts would have been held staged
}

// bars reports whether the key of this number may not serve a request, because
// it is kept for another one, or was.
func (p *pledge) bars(key uint32, to RouterID, sequence uint32, now time.Time) bool {
	return p != nil && key <= p.key && (p.to != to || p.sequence != sequence || !now.Before(p.until))
}

// keepPledge is the end of an attempt whose token key a node has used.
func (s *Session) keepPledge(m *outgoing) {
	if m.spent {
		s.pledge = &pledge{m.to, m.sequence, m.key.Number, m.goodUntil}
	}
}

// redeemPledge settles what becomes of a kept key when a move begins: it is that
// move's, or it goes.
func (s *Session) redeemPledge(m *outgoing) {
	switch p := s.pledge; {
	case p == nil || m.standby:
	case m.spent && m.key.Number == p.key:
		m.goodUntil, s.pledge = p.until, nil
	default:
		s.dropPledge()
	}
}

func (s *Session) dropPledge() {
	if s.pledge != nil {
		s.dropKeys(s.pledge.key)
		s.pledge = nil
	}
}

// unpledged are the token keys that wait for no request in particular.
func (s *Session) unpledged() []NumberedKey {
	i := 0
	for s.pledge != nil && i < len(s.node.Tokens) && s.node.Tokens[i].Number <= s.pledge.key {
		i++
	}
	return s.node.Tokens[i:]
}
