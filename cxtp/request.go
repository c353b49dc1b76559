package cxtp

import (
	"net/netip"
	"slices"
)

// requested takes a CT-Req for a session that is here (RFC 4067 section 2.5.6).
func (s *Session) requested(peer *Peer, q *CTReq) {
	if q.Token == (Token{}) {
		s.requestedByPeer(peer, q)
		return
	}
	shown := presented{role: RoleArriving, peer: peer, sequence: q.Sequence, token: q.Token, requests: q.Requests}
	switch {
	case s.free(peer.ID):
		key, st := s.authenticateNew(shown)
		if st != StatusOK {
			s.denyRequest(peer.ID, st)
			return
		}
		s.used = usedToken{sequence: q.Sequence, token: q.Token, valid: true}
		s.startMove(&outgoing{to: peer.ID, proved: true, spent: true, key: key, sequence: q.Sequence, token: q.Token,
			types: requestedTypes(q.Requests), asked: true})
	case s.state >= stateAllocating && s.state <= stateStaged && s.src.to == peer.ID:
		key, st := s.authenticate(shown)
		if st != StatusOK {
			s.denyRequest(peer.ID, st)
			return
		}
		s.proveMove(key, q.Sequence)
	case s.state == stateFrozen && s.src.to == peer.ID:
		s.sendFinal()
	default:
		s.drop(DropBusy) // ignored: section 6.3
	}
}

// requestedByPeer takes a request with a null token: the peer's own wish.
func (s *Session) requestedByPeer(peer *Peer, q *CTReq) {
	switch {
	case peer.Pull == PullOff:
		s.drop(DropNotAllowed)
		s.denyRequest(peer.ID, StatusNotAuthorised)
	case s.free(peer.ID) && !s.pulledBefore(peer.ID, q.Sequence):
		s.startMove(&outgoing{to: peer.ID, ordered: peer.Pull == PullMove, attempts: s.cfg.Attempts, sequence: q.Sequence,
			types: requestedTypes(q.Requests), asked: true})
	case (s.state == stateStaging || s.state == stateStaged) && s.src.to == peer.ID:
		s.sendStage()
	default:
		s.drop(DropBusy)
	}
}

// denyNode answers a CTAR whose token is not taken. One that was not looked at
// gets no answer: the node sends it again.
func (s *Session) denyNode(at asker, st Status) {
	if st != StatusNoResources {
		s.reply(at, []ContextStatus{{FPTControl, st}})
	}
}

// denyRequest answers a CT-Req with an error indication in place of contexts.
func (s *Session) denyRequest(to RouterID, st Status) {
	s.act(deny(to, s.addr, ContextStatus{FPTControl, st}))
}

func deny(to RouterID, previous netip.Addr, st ContextStatus) Action {
	return Send{To: to, Message: &CTD{Previous: previous, Blocks: []CDB{ErrorBlock(st)}}}
}

// activateAway takes a CTAR from a node that is here and names the nAR (section
// 2.1.1): it stages there, and the node's CTAR at the nAR does the rest.
func (s *Session) activateAway(at asker, m *CTAR, to *Peer) {
	if s.used.is(m.Sequence, m.Token) {
		s.drop(DropRepeated)
		s.answerAway(at, m.Sequence)
		return
	}
	atStandby := s.state == stateStaged && s.src.standby && s.src.to == to.ID
	if !s.free(to.ID) && !atStandby {
		s.drop(DropBusy)
		return // ignored: section 6.3
	}
	key, st := s.authenticateNew(presented{role: RoleLeaving, peer: to, sequence: m.Sequence, token: m.Token, requests: m.Requests})
	if st != StatusOK {
		s.denyNode(at, st)
		return
	}
	s.used, s.asker = usedToken{sequence: m.Sequence, token: m.Token, valid: true, away: true}, at
	s.dropKeysBefore(key.Number)
	if atStandby { // which has everything already, and the keys
		s.src.key, s.src.spent, s.src.sequence, s.src.token = key, true, m.Sequence, m.Token
		s.acknowledge(s.src.missing)
		return
	}
	s.startMove(&outgoing{to: to.ID, key: key, spent: true, sequence: m.Sequence, token: m.Token, types: requestedTypes(m.Requests)})
}

// answerAway answers a repeated CTAR at the pAR as the first would be now: not
// before its stage is confirmed, with success since, and that it failed when
// nothing of it is under way any more.
func (s *Session) answerAway(at asker, sequence uint32) {
	m := s.src
	if s.state == stateRetracting {
		m = m.next
	}
	switch {
	case m == nil || !m.spent || m.sequence != sequence:
		s.reply(at, []ContextStatus{{FPTControl, StatusExpired}})
	case s.state <= stateStaging || s.state == stateRetracting:
		s.owe(at)
	default:
		s.reply(at, m.missing)
	}
}

// activateHere takes a CTAR from a node whose contexts are here already: staged
// ones become active once the source has seen the token too.
func (s *Session) activateHere(at asker, m *CTAR) {
	repeated := s.used.is(m.Sequence, m.Token)
	switch s.state {
	case stateHeld:
		if !repeated {
			if st := s.prove(m); st != StatusOK {
				s.denyNode(at, st)
				return
			}
		}
		s.owe(at)
		if s.plain {
			s.takenPlain()
			return
		}
		s.act(Send{To: s.tgt.from, Message: &CTReq{Previous: m.Previous, Sequence: m.Sequence, Token: m.Token, Requests: m.Requests}})
	case stateUnclosed, stateMerging, stateOwnerPersist, stateOwner:
		if !repeated {
			s.drop(DropBusy)
			return
		}
		s.drop(DropRepeated)
		s.reply(at, s.used.missing)
	default:
		s.drop(DropBusy)
	}
}

// brought reports whether a CTAR is the repetition of the one that brought the
// session here, from this peer.
func (s *Session) brought(m *CTAR, peer *Peer) bool {
	return s.src == nil && s.from == peer.ID && !s.used.away && s.used.is(m.Sequence, m.Token)
}

// answersAgain reports whether a CTAR is the repetition of one that has proved
// itself and costs no more than its answer.
func (s *Session) answersAgain(m *CTAR) bool {
	return s.used.is(m.Sequence, m.Token) && s.state != stateHeld
}

// prove verifies a token at the target and drops its key right after (section
// 6.3).
func (s *Session) prove(m *CTAR) Status {
	peer, known := s.cfg.peer(s.tgt.from)
	if !known {
		return StatusNotAuthorised
	}
	key, st := s.authenticate(presented{role: RoleArriving, atNAR: true, peer: peer, sequence: m.Sequence, token: m.Token, requests: m.Requests})
	if st != StatusOK {
		return st
	}
	s.dropKeys(key.Number)
	s.tgt.proved = true
	s.used = usedToken{sequence: m.Sequence, token: m.Token, valid: true}
	return StatusOK
}

// dropKeysBefore drops the keys that the node has skipped.
func (s *Session) dropKeysBefore(number uint32) {
	if number > 0 {
		s.dropKeys(number - 1)
	}
}

// pulls remembers the latest requests with a null token. Such a request has no
// key that is used up with it, so a late copy of one could move the session
// again, long after whoever asked got what they asked for.
type pulls struct {
	last [16]pullRequest
	next int
}

type pullRequest struct {
	from     RouterID
	sequence uint32
}

// seen remembers a request and reports whether it was remembered already.
func (p *pulls) seen(from RouterID, sequence uint32) bool {
	q := pullRequest{from, sequence}
	if slices.Contains(p.last[:], q) {
		return true
	}
	p.last[p.next] = q
	p.next = (p.next + 1) % len(p.last)
	return false
}

// pulledBefore remembers a request and reports whether it was remembered already.
func (s *Session) pulledBefore(from RouterID, sequence uint32) bool {
	if s.pulled == nil {
		s.pulled = new(pulls)
	}
	return s.pulled.seen(from, sequence)
}
