package cxtp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// What scripts do with a node's keys, and what the laws say of them.

// keyCommand plays whoever has, or has had, messages and keys.
func (s *script) keyCommand(words []string) {
	w := s.world
	switch words[0] {
	case "copy": // copy ctar to C naming A: the last one that a node sent
		s.copyCTAR(RouterID(words[3]), RouterID(words[5]))
	case "steal": // steal s1 at A: what A knows of the node
		ses := s.session(words[1])
		s.stolen[ses.id] = cloneNode(w.router(RouterID(words[3])).machine.sessions[ses.id].node)
	case "update": // update s1 from A seq=N: a stolen update key
		w.usurped = true
		s.forgeUpdate(s.session(words[1]), RouterID(words[3]))
	case "keys": // keys s1: which generations the node and the routers have
		ses := s.session(words[1])
		w.printf("node %s has keys %s", ses.name, strings.Join(ses.generations(), " and "))
		for _, n := range w.routers {
			if machine := n.machine.sessions[ses.id]; machine != nil && !machine.node.UpdateKey.IsZero() {
				w.printf("%s has keys %s", n.id, generation(machine.node))
			}
		}
	}
}

func generation(n NodeState) string {
	return fmt.Sprintf("#%d (%d tokens)", n.Generation, len(n.Tokens))
}

func (ses *simSession) generations() []string {
	var list []string
	for _, g := range ses.agent.keys.generations() {
		list = append(list, generation(*g))
	}
	return list
}

// copyCTAR sends what was seen to another router, with another router named.
func (s *script) copyCTAR(to, naming RouterID) {
	w := s.world
	for _, sent := range slices.Backward(w.log) {
		if sent.kind != "ctar" {
			continue
		}
		m, err := Decode(slices.Clone(sent.event.wire))
		if err != nil {
			s.t.Fatal(err)
		}
		m.(*CTAR).Router = w.addrOf(naming)
		w.printf("%s somebody: -> %s %s", w.clock(), to, w.message(m))
		w.send("", to, sent.event.node, m)
		return
	}
	s.t.Fatal("no CTAR was sent yet")
}

// sign makes a CTAR's token with the first of the keys: weak, strong, strong but
// wrong in the last bit, or strong without its beginning in the token field.
func (s *script) sign(m *CTAR, ses *simSession, keys NodeState, at RouterID, role Role, as string) {
	if len(keys.Tokens) == 0 {
		s.t.Fatalf("no keys of %s to sign with", ses.name)
	}
	m.Requests = []CDB{SessionNameBlock(ses.id)}
	key := keys.Tokens[0]
	var err error
	if as == "weak" {
		m.Token, err = ComputeToken(key.Key, m.Previous, m.Sequence, m.Requests)
	} else {
		t := StrongToken{Role: role, Generation: keys.Generation, KeyNumber: key.Number, PAR: s.world.addrOf(at), NAR: m.Router}
		if role == RoleArriving {
			t.PAR, t.NAR = t.NAR, t.PAR
		}
		err = t.Sign(key.Key, Signed{ses.id, m.Previous, m.Sequence, m.Requests})
		m.Token = t.Token()
		switch as {
		case "wrong":
			t.Tag[TagSize-1] ^= 1
		case "cut":
			m.Token[0] ^= 1
		}
		block, _ := t.Block()
		m.Requests = append(m.Requests, block)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// forgeUpdate is a gateway of the past that wants the node's traffic back.
func (s *script) forgeUpdate(ses *simSession, from RouterID) {
	w := s.world
	u := &Update{Previous: ses.at, Session: ses.id, Number: 1000, Gateway: netip.AddrPortFrom(w.addrOf(from), 4500), Share: Share{9}}
	if err := u.Sign(s.stolen[ses.id].UpdateKey); err != nil {
		s.t.Fatal(err)
	}
	w.printf("%s %s: -> node %s (forged)", w.clock(), from, w.message(u))
	w.send(from, "", ses, u)
}

// strongText is what a strong token says of itself.
func strongText(requests []CDB) string {
	if t, ok := strongToken(requests); ok {
		return fmt.Sprintf(" strong %s #%d.%d", t.Role, t.Generation, t.KeyNumber)
	}
	return ""
}

// keysInCommon checks that no loss has left a node and its gateway without a
// generation of keys that both have; a fence may, because the keys that the
// fenced gateway had agreed are gone with it.
func (w *world) keysInCommon() {
	if w.fenced {
		return
	}
	for _, id := range w.order {
		ses := w.sessions[id]
		for _, n := range w.routers {
			machine := n.machine.sessions[id]
			if sa := n.sad[id]; sa == nil || sa.state != saActive || machine == nil || machine.node.UpdateKey.IsZero() {
				continue
			}
			same := func(g *NodeState) bool {
				return g.Generation == machine.node.Generation && g.UpdateKey.Equal(machine.node.UpdateKey)
			}
			if !slices.ContainsFunc(ses.agent.keys.generations(), same) {
				w.violation("progress: %s has keys %s of %s, the node has %v", n.id, generation(machine.node), ses.name, ses.generations())
			}
			w.wiped(n.id, ses, machine.node)
		}
	}
}

// wiped checks that no key in use is one that was wiped.
func (w *world) wiped(at RouterID, ses *simSession, node NodeState) {
	for _, t := range node.Tokens {
		if t.Key.Equal(secret.New(make([]byte, t.Key.Len()))) {
			w.violation("progress: %s: token key %d of %s is wiped, and in use", at, t.Number, ses.name)
		}
	}
}
