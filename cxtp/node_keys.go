package cxtp

import (
	"net/netip"

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

// maxKeyAhead is how many unused token keys are tried against a token: a node
// whose request was lost goes on with its next key.
const maxKeyAhead = 4

// matchKey finds the key that a token was made with.
func matchKey(keys []NumberedKey, t Token, previous netip.Addr, sequence uint32, requests []CDB) (NumberedKey, bool) {
	for _, k := range keys[:min(len(keys), maxKeyAhead)] {
		if VerifyToken(k.Key, previous, sequence, requests, t) {
			return k, true
		}
	}
	return NumberedKey{}, false
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
	n.Tokens = tokens
	return n
}
