package cxtp

import (
	"net/netip"
	"slices"
)

// AgentState is what an agent has to find again in its next run. To go back to an
// older one would use a token key twice, follow an old update, or lose the keys
// that the gateway has. It holds keys, and aliases those of the agent.
type AgentState struct {
	Number    uint64     // the highest update number accepted
	NextToken uint32     // provisioned token keys below are used up
	Current   *NodeState // the keys in use; nil = the provisioned ones
	Next      *NodeState // what the last update agreed on, until it is known that the gateway has them; nil = none
	Gateway   Share      // the shares of that agreement, to acknowledge the update again
	Own       Share
	Told      []SPIChange // what the last update said of SPIs, should a later one take it back
}

// agentKeys is what an update changes.
type agentKeys struct {
	number       uint64
	current      NodeState
	next         *NodeState
	gateway, own Share
	told         []SPIChange
}

// usedKey is the key of the last request: it serves both halves of a predictive
// one.
type usedKey struct {
	sequence   uint32
	generation uint64
	key        NumberedKey
	valid      bool
}

// restore begins where an earlier run ended.
func (a *Agent) restore(s AgentState) {
	a.nextToken = s.NextToken
	a.keys = agentKeys{number: s.Number, gateway: s.Gateway, own: s.Own, told: slices.Clone(s.Told)}
	if s.Current != nil {
		a.keys.current = cloneNode(*s.Current)
	} else {
		used := func(t NumberedKey) bool { return t.Number < s.NextToken }
		a.keys.current = cloneNode(a.cfg.Node)
		a.keys.current.Tokens = slices.DeleteFunc(a.keys.current.Tokens, used)
	}
	if s.Next != nil {
		next := cloneNode(*s.Next)
		a.keys.next = &next
	}
}

// State is to be kept where the next run of the agent finds it, before anything
// that follows from it is sent.
func (a *Agent) State() AgentState {
	s := AgentState{Number: a.keys.number, NextToken: a.nextToken, Next: a.keys.next, Gateway: a.keys.gateway, Own: a.keys.own, Told: a.keys.told}
	if current := a.keys.current; current.Generation != 0 {
		s.Current = &current
	}
	return s
}

// Revision changes whenever State does.
func (a *Agent) Revision() uint64 { return a.revision }

// generations are the keys that the gateway may have, the latest first.
func (k *agentKeys) generations() []*NodeState {
	if k.next != nil {
		return []*NodeState{k.next, &k.current}
	}
	return []*NodeState{&k.current}
}

func (k *agentKeys) has(generation uint64) bool {
	return k.current.Generation == generation || k.next != nil && k.next.Generation == generation
}

// takeKey takes the token key of a request: a fresh one of the latest generation
// that has one, or for the second half of a predictive request the one of its
// first half.
func (a *Agent) takeKey(sequence uint32) bool {
	if a.last.valid && a.last.sequence == sequence {
		return true
	}
	for _, g := range a.keys.generations() {
		if a.takeFrom(g, sequence) {
			return true
		}
	}
	return false
}

// takeOtherKey takes a key of a generation that was not tried yet.
func (a *Agent) takeOtherKey(sequence uint32) bool {
	tried := a.last.generation
	for _, g := range a.keys.generations() {
		if g.Generation != tried && a.takeFrom(g, sequence) {
			return true
		}
	}
	return false
}

func (a *Agent) takeFrom(g *NodeState, sequence uint32) bool {
	if len(g.Tokens) == 0 {
		return false
	}
	a.last.key.Key.Wipe()
	a.last = usedKey{sequence, g.Generation, g.Tokens[0], true}
	g.Tokens = g.Tokens[1:]
	if g.Generation == 0 {
		a.nextToken = a.last.key.Number + 1
	}
	a.revision++
	return true
}

// update follows, once, an update that proves itself; a repeated one is
// acknowledged again, because our acknowledgement may have been lost. The key
// that it was authenticated with says which of our two generations the gateway
// has: of the other one nothing is needed any more.
func (a *Agent) update(from netip.AddrPort, u *Update) {
	if u.Session != a.cfg.Session || u.Number < a.keys.number {
		return
	}
	keys := a.keys
	latest := keys.next != nil && u.Verify(keys.next.UpdateKey)
	switch {
	case latest:
		keys.current, keys.next = *keys.next, nil
	case !u.Verify(keys.current.UpdateKey):
		return
	}
	switch {
	case u.Number > keys.number:
		if !a.agree(&keys, u) {
			return
		}
		a.out = append(a.out, AgentFollow{Gateway: u.Gateway, Number: u.Number, SPIs: keys.changes(u.SPIs), Floors: u.Floors})
		keys.told = slices.Clone(u.SPIs)
	case u.Share != keys.expected():
		return
	}
	ack := &UpdateAck{Previous: a.cfg.Previous, Session: a.cfg.Session, Number: u.Number}
	if !u.Share.IsZero() {
		ack.Share = keys.own
	}
	if err := ack.Sign(keys.current.UpdateKey); err != nil {
		return
	}
	if latest || u.Number > a.keys.number {
		before := a.keys
		a.before, a.keys = &before, keys
		a.revision++
	}
	a.send(from, ack)
}

// agree takes a new update, and for a node that makes strong tokens agrees with
// the gateway on the next keys. It reports whether the update may be followed.
func (a *Agent) agree(keys *agentKeys, u *Update) bool {
	keys.number, keys.next, keys.gateway, keys.own = u.Number, nil, u.Share, Share{}
	if !a.cfg.Node.strong() {
		return u.Share.IsZero()
	}
	x, err := newExchange(a.cfg.Rand)
	if err != nil {
		return false
	}
	defer x.wipe()
	next, err := keys.current.renew(x, u.Share, agreement{u.Session, u.Number, u.Share, x.share})
	if err != nil {
		return false
	}
	keys.next, keys.own = &next, x.share
	return true
}

// changes are the SPI changes of an update as the node has to make them. One that
// changes nothing takes back what the last update, of a gateway that is out of the
// game now, had made of that SPI.
func (k *agentKeys) changes(update []SPIChange) []SPIChange {
	var made []SPIChange
	for _, c := range update {
		if c.Old != c.New {
			made = append(made, c)
			continue
		}
		for _, t := range k.told {
			if t.Protocol == c.Protocol && t.Old == c.Old && t.New != c.Old {
				made = append(made, SPIChange{c.Protocol, t.New, c.New})
			}
		}
	}
	return made
}

// expected is the share of an update that repeats the last accepted number: that
// of the first one, and none when the gateway has the keys that it agreed on.
func (k *agentKeys) expected() Share {
	if k.current.Generation == k.number {
		return Share{}
	}
	return k.gateway
}

// Unfollow takes back what the message that was received last has changed,
// because it could not be followed or recorded. The router repeats the update,
// since nothing acknowledges it, and it is then followed anew.
func (a *Agent) Unfollow() {
	if a.before == nil {
		return
	}
	undone := a.keys
	a.keys, a.before = *a.before, &undone
	a.Forget()
	a.revision++
}

// Forget wipes the keys that the last update has replaced, because what it led to
// is done. The next input does the same.
func (a *Agent) Forget() {
	if a.before == nil {
		return
	}
	for _, g := range a.before.generations() {
		if !a.keys.has(g.Generation) {
			g.wipeKeys()
		}
	}
	a.before = nil
}
