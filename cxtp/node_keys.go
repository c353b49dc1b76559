package cxtp

import (
	"slices"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// nodeForTarget is what the target has to know of the node: everything, except
// a token key that is used up because this router verified the token.
func (s *Session) nodeForTarget() NodeState {
	n := s.node
	n.Tokens = nil
	for _, t := range s.unpledged() {
		if !s.src.proved || t.Number > s.src.key.Number {
			n.Tokens = append(n.Tokens, t)
		}
	}
	return n
}

// currentKey is the token key of the next move; its Key is zero when there is
// none left.
func (s *Session) currentKey() NumberedKey {
	keys := s.unpledged()
	if len(keys) == 0 {
		return NumberedKey{}
	}
	return keys[0]
}

// presented is a token as a CTAR or CT-Req brings it.
type presented struct {
	role     Role
	atNAR    bool  // this router is the nAR, else the pAR
	peer     *Peer // the other one
	sequence uint32
	token    Token
	requests []CDB
}

// authenticateNew is authenticate for a token that is to begin a move: its key
// must not be kept for another one.
func (s *Session) authenticateNew(p presented) (NumberedKey, Status) {
	key, st := s.authenticate(p)
	if st == StatusOK && s.pledge.bars(key.Number, p.peer.ID, p.sequence, s.now) {
		s.drop(DropBadToken)
		return NumberedKey{}, StatusNotAuthorised
	}
	return key, st
}

// authenticate finds the key that a token of the node's was made with. Without
// one the status says why; it is StatusNoResources when the token was not looked
// at.
func (s *Session) authenticate(p presented) (NumberedKey, Status) {
	key, st := NumberedKey{}, StatusNotAuthorised
	switch {
	case !s.ofItsKind(p.requests), s.plain && !p.atNAR: // see arrived
	case s.node.strong():
		key, st = s.matchStrong(p)
	case s.mayGuess():
		key, st = s.matchWeak(p)
	default:
		s.drop(DropRateLimited)
		return key, StatusNoResources
	}
	if st != StatusOK {
		s.drop(DropBadToken)
		s.countWrong()
	}
	return key, st
}

// ofItsKind reports whether a request has a strong token if and only if the node
// makes such. To take the other kind as well would be to let whoever is on the
// way choose.
func (s *Session) ofItsKind(requests []CDB) bool {
	return slices.ContainsFunc(requests, func(b CDB) bool { return b.FPT == FPTToken }) == s.node.strong()
}

// matchStrong verifies a strong token with the key that it names, and with no
// other. A key that is not here has a status of its own: a node whose answer to
// our Update was lost then goes back to the keys that it had before.
func (s *Session) matchStrong(p presented) (NumberedKey, Status) {
	t, ok := strongToken(p.requests)
	here, there := t.PAR, t.NAR
	if p.atNAR {
		here, there = there, here
	}
	if !ok || t.Role != p.role || t.Token() != p.token || !slices.Contains(s.cfg.Addrs, here) || !slices.Contains(p.peer.Addrs, there) {
		return NumberedKey{}, StatusNotAuthorised
	}
	i := slices.IndexFunc(s.node.Tokens, func(k NumberedKey) bool { return k.Number == t.KeyNumber })
	if t.Generation != s.node.Generation || i < 0 {
		return NumberedKey{}, StatusUnknownKey
	}
	if !t.Verify(s.node.Tokens[i].Key, Signed{s.id, s.addr, p.sequence, p.requests}) {
		return NumberedKey{}, StatusNotAuthorised
	}
	return s.node.Tokens[i], StatusOK
}

// maxKeyAhead is how many unused token keys are tried against a token of 32 bits,
// which names none: a node whose request was lost goes on with its next key.
const maxKeyAhead = 4

// matchWeak finds the key that RFC 4067's token was made with.
func (s *Session) matchWeak(p presented) (NumberedKey, Status) {
	for _, k := range s.node.Tokens[:min(len(s.node.Tokens), maxKeyAhead)] {
		if VerifyToken(k.Key, s.addr, p.sequence, p.requests, p.token) {
			return k, StatusOK
		}
	}
	return NumberedKey{}, StatusNotAuthorised
}

// startExchange draws this gateway's half of the node's next keys, unless the node
// has them, or makes no strong tokens.
func (s *Session) startExchange() (err error) {
	t := s.steer
	if t.exchange == nil && s.node.strong() && s.node.Generation != uint64(t.epoch) {
		t.exchange, err = newExchange(s.cfg.Rand)
	}
	return err
}

// mayRenewKeys reports whether the present keys may go. While another router may
// have been given them, they stay: the node keeps them too, until an Update with
// the next ones comes. So do they while one of them waits for its request to come
// again.
func (s *Session) mayRenewKeys() bool {
	return s.src == nil && (s.pledge == nil || !s.now.Before(s.pledge.until))
}

// renewKeys ends the exchange: from here the keys that came with the session are
// of no use to whoever else knows them. It reports whether the share is good.
func (s *Session) renewKeys(share Share) bool {
	x := s.steer.exchange
	number := uint64(s.steer.epoch)
	next, err := s.node.renew(x, share, agreement{s.id, number, x.share, share})
	if err != nil {
		return false
	}
	s.node.wipeKeys()
	s.node, s.pledge = next, nil
	x.wipe()
	s.steer.exchange = nil
	return true
}

// dropKeys wipes the keys up to and including number: each is used once, and a
// node never goes back.
func (s *Session) dropKeys(number uint32) {
	kept := s.node.Tokens[:0:0]
	for _, t := range s.node.Tokens {
		if t.Number > number {
			kept = append(kept, t)
		} else {
			t.Key.Wipe()
		}
	}
	s.node.Tokens = kept
}

// cloneNode copies what aliases a received message.
func cloneNode(n NodeState) NodeState {
	n.UpdateKey = secret.Clone(n.UpdateKey.Bytes())
	tokens := make([]NumberedKey, len(n.Tokens))
	for i, t := range n.Tokens {
		tokens[i] = NumberedKey{t.Number, secret.Clone(t.Key.Bytes())}
	}
	n.Tokens, n.SPIs = tokens, slices.Clone(n.SPIs)
	return n
}
