package cxtp

import (
	"bytes"
	"fmt"
	"maps"
	"net/netip"
	"slices"
)

// Sessions of the simulator that are nothing but multicast groups. Two routers that
// have such a session do no harm, so it may go without a control block, and then the
// target begins one of its own: a copy, with an id that nobody else knows.

// simListener is what one router has of such a session.
type simListener struct {
	state  saState
	epoch  Epoch
	from   RouterID // whom it was staged by; "" = it began here
	blocks []CDB
}

// held is what a daemon finds after a crash.
func (c *simListener) held() HeldState { return (&simSA{state: c.state}).held() }

// node is whose a session is: of a copy, the node at its address.
func (w *world) node(id SessionID) *simSession {
	if ses := w.sessions[id]; ses != nil {
		return ses
	}
	return w.plain.copies[id]
}

// own is the id under which a node's orders and tokens are counted.
func (w *world) own(id SessionID) SessionID {
	if ses := w.plain.copies[id]; ses != nil {
		return ses.id
	}
	return id
}

// listens reports whether a session has no SAs anywhere.
func (w *world) listens(id SessionID) bool {
	ses := w.sessions[id]
	return ses == nil || ses.listener
}

// name is what transcripts call a session: a copy after its node and its router.
func (w *world) name(id SessionID) string {
	if ses := w.sessions[id]; ses != nil {
		return ses.name
	}
	if name := w.plain.names[id]; name != "" {
		return name
	}
	return id.String()[:4]
}

// christen names the sessions that a router has begun by itself.
func (w *world) christen(n *simRouter) {
	if !w.plain.on {
		return
	}
	fresh := slices.DeleteFunc(slices.Collect(maps.Keys(n.machine.sessions)), func(id SessionID) bool { return w.node(id) != nil })
	for _, id := range fresh {
		addr := n.machine.sessions[id].addr
		i := slices.IndexFunc(w.order, func(id SessionID) bool { return w.sessions[id].at == addr })
		if i < 0 {
			w.violation("progress: %s has a session at %s, where no node is", n.id, addr)
			continue
		}
		ses := w.sessions[w.order[i]]
		name := fmt.Sprintf("%s@%s", ses.name, n.id)
		if w.plain.begun[name]++; w.plain.begun[name] > 1 {
			name = fmt.Sprintf("%s#%d", name, w.plain.begun[name])
		}
		w.plain.copies[id], w.plain.names[id] = ses, name
		w.plain.order = append(w.plain.order, id)
	}
}

// acts reports whether a router is active for a session.
func (n *simRouter) acts(id SessionID) bool {
	sa, c := n.sad[id], n.listeners[id]
	return sa != nil && sa.state == saActive || c != nil && c.state == saActive
}

// listen makes a router the first owner of a session that is groups alone.
func (w *world) listen(n *simRouter, ses *simSession) {
	n.listeners[ses.id] = &simListener{state: saActive, blocks: []CDB{simGroups}}
}

// carryOutListener does what a Do asks of a router's groups.
func (w *world) carryOutListener(n *simRouter, d Do) Done {
	result := Done{Session: d.Session, Op: d.Op}
	if left, ok := n.fail[d.Verb]; ok {
		delete(n.fail, d.Verb)
		result.Failed, result.Detail = []ContextStatus{{FPTMulticastListener, left}}, "told to fail"
		return result
	}
	c := n.listeners[d.Session]
	must := func(states ...saState) bool {
		have := saState(0)
		if c != nil {
			have = c.state
		}
		if slices.Contains(states, have) {
			return true
		}
		w.violation("progress: %s: %s of %s e%d while its groups are %s", n.id, d.Verb, w.name(d.Session), d.Epoch, saNames[have])
		return false
	}
	switch d.Verb {
	case VerbExport:
		if must(saActive) {
			chosen, unknown := chosen(c.blocks, d.Types)
			result.Blocks, result.Partial = cloneBlocks(chosen), unknown
		}
	case VerbStage:
		if must(0) {
			n.listeners[d.Session] = w.takenListener(n, d)
		}
	case VerbFreeze:
		if must(saActive, saFrozen, saDraining, saClosed) && c.state == saActive {
			w.mayFreeze(n, d)
			c.state, n.frozenAt[d.Session] = saFrozen, w.now
		}
	case VerbActivate:
		if must(saStaged) {
			w.activateListener(n, c, d)
		}
	case VerbTakeOver:
		if must(saStaged) {
			c.state = saActive
		}
	case VerbThaw:
		if must(saFrozen) {
			c.state = saActive
			delete(n.frozenAt, d.Session)
		}
	case VerbRedirect:
		if must(saFrozen, saDraining, saClosed) {
			c.state = max(c.state, saDraining)
		}
	case VerbClose:
		if must(saFrozen, saDraining, saClosed) {
			c.state = saClosed
		}
	case VerbRelease:
		w.mayDrop(n, d)
		delete(n.listeners, d.Session)
		delete(n.frozenAt, d.Session)
	case VerbDiscard:
		if c != nil && must(saStaged) {
			delete(n.listeners, d.Session)
		}
	}
	n.lack(d, &result)
	if d.Verb == VerbStage && len(result.Partial) > 0 {
		n.listeners[d.Session].blocks = nil
	}
	return result
}

// takenListener stages groups, with or without a control block.
func (w *world) takenListener(n *simRouter, d Do) *simListener {
	s := n.machine.sessions[d.Session]
	if s.plain {
		w.takenPlain(n, s.tgt.from, d)
	} else {
		w.taken(n, d)
	}
	return &simListener{state: saStaged, epoch: d.Epoch, from: s.tgt.from, blocks: cloneBlocks(d.Blocks)}
}

// activateListener is what activate is for SAs: that there is one sender does not
// matter here, but whose wish it was does.
func (w *world) activateListener(n *simRouter, c *simListener, d Do) {
	ref := simRef{d.Session, d.Epoch}
	if at, again := w.activated[ref]; again || c.epoch != d.Epoch {
		w.violation("law 1: %s: %s e%d activated, staged is e%d, activated before at %q", n.id, w.name(d.Session), d.Epoch, c.epoch, at)
	}
	w.activated[ref] = n.id
	if n.machine.sessions[d.Session].plain {
		w.authorisedPlain(n, c, d)
	} else {
		w.authorised(n, d)
		w.spent(n, d)
	}
	c.state = saActive
}

// listenersAtRest is atRest for groups: what is left is active, and its machine
// knows.
func (w *world) listenersAtRest() {
	for _, n := range w.routers {
		for id, c := range n.listeners {
			s := n.machine.sessions[id]
			switch {
			case c.state == saStaged && n.standsBy(id), w.cut[n.id]:
			case c.state != saActive:
				w.violation("progress: %s still has %s %s", n.id, w.name(id), saNames[c.state])
			case s == nil || !s.live():
				w.violation("progress: %s has groups of %s, and no session", n.id, w.name(id))
			}
		}
		for id, s := range n.machine.sessions {
			if w.listens(id) && s.state == stateOwner && n.listeners[id] == nil {
				w.violation("progress: %s is active for %s, and has no groups of it", n.id, w.name(id))
			}
		}
		if open := len(n.machine.requests); open > 0 {
			w.violation("progress: %s has %d requests that never end", n.id, open)
		}
	}
}

// forgePlain has a router say what RFC 4067 has words for, about a node: contexts
// with a key that is not its node's, with keys of SAs among them or nothing at all,
// or a reply that is a yes, a no, or a no without a word.
func (w *world) forgePlain(k string, ses *simSession, by, to RouterID) bool {
	offer := &CTD{Ack: true, Previous: ses.at, Predictive: true, Algorithm: AlgorithmHMACSHA1, Key: simStrangeKey()}
	reply := &CTDR{Previous: ses.at}
	var m Message = offer
	switch k {
	case "pctd":
		offer.Blocks = []CDB{simGroups}
	case "pctd-with-keys":
		offer.Blocks = []CDB{{FPT: FPTIPsecSA, Data: bytes.Clone([]byte(ses.key))}, simGroups}
	case "pctd-of-keys":
		offer.Blocks = []CDB{{FPT: FPTIPsecSA, Data: bytes.Clone([]byte(ses.key))}}
	case "pctd-of-nothing":
	case "yes":
		reply.Success, m = true, reply
	case "no":
		reply.Statuses, m = []ContextStatus{{FPTMulticastListener, 2}}, reply
	case "no-word":
		m = reply
	default:
		return false
	}
	w.send(by, to, nil, m)
	return true
}

// ids are all sessions that a node has at a router, as its operator would name them.
func (n *simRouter) ids(at netip.Addr) []SessionID {
	ids := slices.Clone(n.machine.byAddr[at])
	slices.SortFunc(ids, SessionID.compare)
	return ids
}
