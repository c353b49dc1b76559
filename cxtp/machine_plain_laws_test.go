package cxtp

import (
	"net/netip"
	"slices"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// The laws of transfers without a control block (plain.go), told without the
// machine. Who owns such a context does not matter. What does:
//
//   - law 5, at the source: a router that is configured as plain gets what may be
//     copied and nothing else of ours, no Outcome about what it has not named, and no
//     CTD but where its node's token was verified: anything else is a PCTD;
//   - law 5, at the target: what is staged may be copied, and was pushed by a peer
//     that may or was asked for; it becomes active where the policy wants no token,
//     or the node has shown one, and for each sequence number one copy at a time: a
//     source that has not heard what became of the first serves the request again;
//   - law 2: a source forgets its session when it has nothing else, somebody wanted
//     it moved, and the target has said that it took something. It never freezes;
//     a target takes one copy for an address, and nobody's place but its sender's;
//   - law 6: what must not be copied is wiped before anything is sent, and the key of
//     a token goes with the transfer that it has caused;
//   - progress: S = 1 says that all came, nothing is sent empty, and whatever may
//     become active does. What has ended is not remembered, as nobody can ask for it.

// simLeg is the way from one router to another, of what is about one address.
type simLeg struct {
	from, to RouterID
	at       netip.Addr
}

// simUse is a token that has brought a copy to work at a router.
type simUse struct {
	router RouterID
	at     netip.Addr
	token  Token
	number uint32
}

// simPlain is what these laws are checked against.
type simPlain struct {
	on     bool                      // some router copies
	copies map[SessionID]*simSession // whose each is
	names  map[SessionID]string
	begun  map[string]int // copies of each name
	order  []SessionID

	spoken    map[simAnswer]bool  // the sessions that a router has named to another
	given     map[simAnswer][]FPT // by the last CTD without a control block of this attempt
	came      map[simLeg][]int    // how many contexts each such CTD had that has come
	mixed     map[simLeg]bool     // CTDs with a control block have come too
	unwanted  map[simAnswer]bool  // a CTC has come since the attempt began
	took      map[simAnswer]bool  // a CTDR since that CTD says so
	verified  map[simLeg]bool     // a CT-Req of a target has brought a token of the node's
	used      map[simUse]SessionID
	beganFrom map[SessionID]RouterID
	away      map[SessionID]bool // it has been on its way elsewhere
}

// simAnswer is what a router may be told of.
type simAnswer struct {
	at, to  RouterID
	session SessionID
}

func newSimPlain() simPlain {
	return simPlain{
		copies: map[SessionID]*simSession{}, names: map[SessionID]string{}, begun: map[string]int{},
		spoken: map[simAnswer]bool{}, given: map[simAnswer][]FPT{}, came: map[simLeg][]int{}, mixed: map[simLeg]bool{}, unwanted: map[simAnswer]bool{},
		took: map[simAnswer]bool{}, verified: map[simLeg]bool{}, used: map[simUse]SessionID{},
		beganFrom: map[SessionID]RouterID{}, away: map[SessionID]bool{},
	}
}

// simStrangeKey is a key of no node.
func simStrangeKey() secret.Key { return secret.Clone([]byte("a key of nobody here")) }

// isPlain reports whether a CTD has no control block.
func isPlain(m *CTD) bool { return len(m.Blocks) == 0 || m.Blocks[0].FPT != FPTControl }

// isDenial reports whether a CTD is an error indication in place of contexts.
func isDenial(m *CTD) bool { return len(m.Blocks) == 1 && m.Blocks[0].FPT == FPTError }

// asks reports whether a token is one that a node at an address has made for a router.
func (w *world) asks(at netip.Addr, token Token, target RouterID) bool {
	return slices.ContainsFunc(w.order, func(id SessionID) bool {
		return w.sessions[id].at == at && w.asked[simAsk{id, token, target}]
	})
}

// witnessPlain notes what has come.
func (w *world) witnessPlain(from RouterID, n *simRouter, m Message) {
	p := &w.plain
	switch m := m.(type) {
	case *CTD:
		if !isPlain(m) {
			p.mixed[simLeg{from, n.id, m.Previous}] = true
			if c, err := ParseControl(m.Blocks[0]); err == nil {
				p.spoken[simAnswer{n.id, from, c.Session}] = true
			}
		} else if !isDenial(m) {
			leg := simLeg{from, n.id, m.Previous}
			p.came[leg] = append(p.came[leg], len(m.Blocks))
		}
	case *Outcome:
		p.spoken[simAnswer{n.id, from, m.Session}] = true
	case *CTDR:
		for _, id := range n.ids(m.Previous) {
			of := simAnswer{n.id, from, id}
			p.took[of] = p.took[of] || takes(m, p.given[of])
		}
	case *CTReq:
		if w.asks(m.Previous, m.Token, from) {
			p.verified[simLeg{n.id, from, m.Previous}] = true
		}
	case *CTC:
		meant := slices.DeleteFunc(n.ids(m.Previous), func(id SessionID) bool {
			src := n.machine.sessions[id].src
			return src == nil || src.to != from
		})
		if len(meant) == 1 {
			p.unwanted[simAnswer{n.id, from, meant[0]}] = true
		}
	}
}

// takes reports whether a CTDR says that of these types at least one was taken.
func takes(m *CTDR, given []FPT) bool {
	failed := failures(m.Statuses)
	if len(m.Statuses) == 0 {
		return m.Success && len(given) > 0
	}
	return slices.ContainsFunc(given, func(t FPT) bool {
		return !slices.ContainsFunc(failed, func(st ContextStatus) bool { return st.FPT == t && st.Status != StatusOK })
	})
}

// sendsPlain is what a router may tell another.
func (w *world) sendsPlain(n *simRouter, a Send) {
	peer, _ := n.cfg.peer(a.To)
	switch m := a.Message.(type) {
	case *Outcome:
		if m.Question && peer.Plain || !m.Question && !w.plain.spoken[simAnswer{n.id, a.To, m.Session}] {
			w.violation("law 5: %s speaks to %s of %s, which that has not named", n.id, a.To, w.name(m.Session))
		}
	case *CTDR:
		came := w.plain.came[simLeg{a.To, n.id, m.Previous}]
		if len(came) == 0 || w.plain.mixed[simLeg{a.To, n.id, m.Previous}] {
			return // to a CTD with a control block, or who knows to which
		}
		if slices.ContainsFunc(m.Statuses, ofAll) {
			w.violation("progress: %s gives %s a status that RFC 4067 has no context for", n.id, a.To)
		}
		if !m.Success && w.takes(n, a.To, m, came) {
			w.violation("progress: %s refuses %s what it is about to take", n.id, a.To)
		}
		if q := n.machine.requests[m.Previous]; q != nil && q.to == a.To && slices.ContainsFunc(m.Statuses, func(st ContextStatus) bool { return st.Status == StatusNotAuthorised }) {
			w.violation("progress: %s does not let %s give what it has asked it for", n.id, a.To)
		}
		if m.Success && !w.hasAll(n, a.To, m.Previous, came) {
			w.violation("progress: %s tells %s that all contexts came, and has not got them", n.id, a.To)
		}
	case *CTD:
		switch {
		case isDenial(m):
		case isPlain(m):
			w.givenPlain(n, a.To, m)
		case peer.Plain:
			w.violation("law 5: %s sends %s, which is plain, a control block", n.id, a.To)
		}
	}
}

// hasAll reports whether a router has all contexts of one of the CTDs that came from
// another.
func (w *world) hasAll(n *simRouter, from RouterID, at netip.Addr, came []int) bool {
	for _, id := range n.ids(at) {
		if c := n.listeners[id]; c != nil && c.from == from && slices.Contains(came, len(c.blocks)) {
			return true
		}
	}
	return false
}

// takes reports whether a router refuses what it has just been sent, while it takes
// the same contexts of the same router.
func (w *world) takes(n *simRouter, from RouterID, m *CTDR, came []int) bool {
	last := came[len(came)-1]
	for _, id := range n.ids(m.Previous) {
		s, c := n.machine.sessions[id], n.listeners[id]
		if s.plain && s.from == from && c != nil && len(c.blocks) == last && (s.state == stateChecking || s.state == statePromising) {
			return slices.ContainsFunc(m.Statuses, func(st ContextStatus) bool { return st.Status == StatusBusy })
		}
	}
	return false
}

// givenPlain is what a CTD without a control block may have.
func (w *world) givenPlain(n *simRouter, to RouterID, m *CTD) {
	leg := simLeg{n.id, to, m.Previous}
	var types []FPT
	for _, b := range m.Blocks {
		types = append(types, b.FPT)
		if !slices.Contains(n.cfg.Copyable, b.FPT) {
			w.violation("law 5: %s gives %s %s, which must not be copied", n.id, to, b.FPT)
		}
	}
	switch {
	case len(m.Blocks) == 0:
		w.violation("progress: %s sends %s nothing", n.id, to)
	case !m.Predictive && !w.plain.verified[leg]:
		w.violation("law 5: %s tells %s that a token was verified", n.id, to)
	case m.Predictive && m.Algorithm != AlgorithmHMACSHA1:
		w.violation("law 5: %s gives %s a key for %s", n.id, to, m.Algorithm)
	}
	for _, id := range n.ids(m.Previous) {
		if s := n.machine.sessions[id]; s.state == stateStaging && s.src.to == to {
			w.given(n.id, to, id)
			of := simAnswer{n.id, to, id}
			w.plain.given[of], w.plain.took[of] = types, false
			w.mayGive(n, s, m)
		}
	}
}

// mayGive is what a source has to have done before, and whom it must refuse.
func (w *world) mayGive(n *simRouter, s *Session, m *CTD) {
	if m.Predictive && s.node.strong() && slices.ContainsFunc(s.node.Tokens, func(k NumberedKey) bool { return k.Key.Equal(m.Key) }) {
		w.violation("law 6: %s gives %s a key of strong tokens of %s", n.id, s.src.to, w.name(s.id))
	}
	for _, b := range n.exported[s.id] {
		if !slices.Contains(n.cfg.Copyable, b.FPT) && slices.ContainsFunc(b.Data, func(octet byte) bool { return octet != 0 }) {
			w.violation("law 6: %s still has what %s must not get of %s", n.id, s.src.to, w.name(s.id))
			break
		}
	}
	switch {
	case s.src.standby:
		w.violation("law 2: %s has a standby of %s that knows no control block", n.id, w.name(s.id))
	case w.plain.unwanted[simAnswer{n.id, s.src.to, s.id}]:
		w.violation("progress: %s gives %s what that has cancelled of %s", n.id, s.src.to, w.name(s.id))
	case s.src.ordered && n.sad[s.id] != nil:
		w.violation("law 5: an order for all of %s, and %s gives a part", w.name(s.id), n.id)
	}
}

// takenPlain is law 5 at the target, and law 2's one copy.
func (w *world) takenPlain(n *simRouter, from RouterID, d Do) {
	p, _ := n.cfg.peer(from)
	if len(w.plain.came[simLeg{from, n.id, d.Previous}]) == 0 {
		w.violation("law 5: %s stages %s for %s, which gave nothing", n.id, w.name(d.Session), from)
	}
	if !p.Push && !w.fetched[simFetch{n.id, from, d.Previous}] {
		w.violation("law 5: %s stages %s, which %s may not push", n.id, w.name(d.Session), from)
	}
	if len(d.Blocks) == 0 || slices.ContainsFunc(d.Blocks, func(b CDB) bool { return !slices.Contains(n.cfg.Copyable, b.FPT) }) {
		w.violation("law 5: %s stages of %s what must not be copied, or nothing", n.id, w.name(d.Session))
	}
	if before := w.plain.beganFrom[d.Session]; before != "" && before != from {
		w.violation("law 2: %s puts contexts of %s in the place of those of %s", n.id, from, before)
	}
	w.plain.beganFrom[d.Session] = from
	for _, id := range n.ids(d.Previous) {
		if other := n.machine.sessions[id]; d.Epoch == 1 && id != d.Session && (n.sad[id] != nil || n.listeners[id] != nil) && other.live() {
			w.violation("law 2: %s takes a copy at the address of %s, which it has", n.id, w.name(id))
		}
	}
}

// authorisedPlain is law 5 of what becomes active.
func (w *world) authorisedPlain(n *simRouter, c *simListener, d Do) {
	s := n.machine.sessions[d.Session]
	if len(c.blocks) == 0 {
		w.violation("progress: %s: nothing of %s is left to be activated", n.id, w.name(d.Session))
	}
	if s.tgt.proved && len(s.node.Tokens) > 0 {
		w.violation("law 6: %s still has the key that a token of %s was verified with", n.id, w.name(d.Session))
	}
	if p, _ := n.cfg.peer(c.from); p.ActivateWithoutToken {
		return
	}
	use := simUse{n.id, d.Previous, s.used.token, s.used.sequence}
	switch {
	case !s.used.valid || !w.asks(d.Previous, s.used.token, n.id):
		w.violation("law 5: %s activates %s, and its node has shown no token", n.id, w.name(d.Session))
	case n.acts(w.plain.used[use]):
		w.violation("law 5: %s activates %s by the token of %s", n.id, w.name(d.Session), w.name(w.plain.used[use]))
	}
	w.plain.used[use] = d.Session
}

// mayDrop is law 2 of a source that forgets its session after a plain transfer.
func (w *world) mayDrop(n *simRouter, d Do) {
	s := n.machine.sessions[d.Session]
	if s == nil || s.state != stateReleasing || !s.src.plain {
		return
	}
	to := s.src.to
	way := simWay{w.own(d.Session), n.id, to}
	if n.sad[d.Session] != nil {
		w.violation("law 2: %s forgets the SAs of %s, of which %s has none", n.id, w.name(d.Session), to)
	}
	if !w.plain.took[simAnswer{n.id, to, s.id}] {
		w.violation("law 2: %s forgets %s, which %s has not taken", n.id, w.name(d.Session), to)
	}
	switch {
	case w.orders[way] > 0:
		w.orders[way]--
	case w.tokens[w.byToken(way)] > 0:
		w.tokens[w.byToken(way)]--
	case w.standing(way, d.Session):
	default:
		w.violation("law 5: %s forgets %s, which nobody wanted moved", n.id, w.name(d.Session))
	}
}

// standing reports whether a router may have whatever copy another has of a node
// that it has asked for: a request outlives the session that it was made for.
func (w *world) standing(way simWay, id SessionID) bool {
	p, _ := w.router(way.from).cfg.peer(way.to)
	ses := w.plain.copies[id]
	return ses != nil && p.Pull == PullMove && w.fetched[simFetch{way.to, way.from, ses.at}]
}

// plainly checks what the state of a machine has to say of its plain transfers.
func (w *world) plainly(n *simRouter) {
	if !w.plain.on {
		return
	}
	for id, s := range n.machine.sessions {
		if s.src != nil {
			w.plain.away[id] = true
		}
		switch {
		case s.src != nil && s.src.plain && !slices.Contains([]state{stateAllocating, stateExporting, stateStaging, stateReleasing, stateMovedPersist}, s.state):
			w.violation("law 2: %s: %s is %s, and its target is plain", n.id, w.name(id), s.state)
		case s.plain && s.tgt != nil && (s.state == stateUnclosed || s.state == stateMerging):
			w.violation("progress: %s: %s waits for a close that nobody sends", n.id, w.name(id))
		case s.plain && s.state == stateHeld && (s.tgt.mayActivate() || s.used.valid):
			w.violation("progress: %s: %s may become active, and does not", n.id, w.name(id))
		case w.plain.copies[id] != nil && s.state == stateNone && !w.plain.away[id] && n.life == 1:
			w.violation("progress: %s remembers %s, of which nobody knows", n.id, w.name(id))
		}
	}
}

// waitsOn checks that a node which shows a token made with the key of a PCTD gets
// what waits for it, and that the key is used up where it was not waited for.
func (w *world) waitsOn(n *simRouter, in Input) {
	node, _ := in.(FromNode)
	m, ok := node.Message.(*CTAR)
	if !ok || !w.plain.on {
		return
	}
	for _, id := range n.ids(m.Previous) {
		s := n.machine.sessions[id]
		if !s.plain || w.routerAt(m.Router) != s.from || len(s.node.Tokens) == 0 ||
			!VerifyToken(s.node.Tokens[0].Key, m.Previous, m.Sequence, m.Requests, m.Token) {
			continue
		}
		switch s.state {
		case stateHeld:
			w.violation("progress: a node shows %s its token, and %s waits on", n.id, w.name(id))
		case stateOwner:
			w.violation("law 6: a node shows %s its token, and the key is still there", n.id)
		}
	}
}

// attempt begins what is noted of an attempt to give something away.
func (w *world) attempt(n *simRouter, r Record) {
	of := simAnswer{n.id, r.Peer, r.Session}
	delete(w.plain.unwanted, of)
	delete(w.plain.given, of)
	delete(w.plain.took, of)
}

// copied is law 2 and law 6 of a source whose session stays: the target has said that
// it has a copy, and the key of a token that was used up is gone.
func (w *world) copied(n *simRouter, r Report) {
	s := n.machine.sessions[r.Session]
	if !w.plain.on || s == nil || s.src != nil || s.tgt != nil || r.Event != EventStaged || !r.Final || w.node(r.Session) == nil {
		return
	}
	if !w.plain.took[simAnswer{n.id, r.Peer, r.Session}] {
		w.violation("law 2: %s says that %s has a copy of %s, which that has not said", n.id, r.Peer, w.name(r.Session))
	}
	if !s.used.valid {
		return
	}
	key := w.node(r.Session).signed[s.used.sequence]
	for _, t := range s.node.Tokens {
		if s.node.Generation == key.generation && t.Number <= key.number {
			w.violation("law 6: %s still has token key %d of %s, which has copied it", n.id, t.Number, w.name(r.Session))
		}
	}
}
