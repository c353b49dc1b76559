package cxtp

import (
	"cmp"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

var lawSought = flag.String("law", "", `the law to break, "law 1" to "law 6", "progress" or "any": play transcripts and random schedules until it is broken, and say where (cxtp/mutants)`)

// TestLaws plays every transcript for the laws alone, whatever the text says,
// and then on without faults until everything is at rest. With -law it looks for
// one law that is broken, in the random schedules too, and stops there.
func TestLaws(t *testing.T) {
	files, err := filepath.Glob("testdata/transcripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	for _, file := range files {
		script, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s := newScript(t, "A", "B", "C")
		s.world.quiet, s.world.sought = *lawSought != "", *lawSought
		s.run(string(script))
		s.rest()
		s.world.lawsHold(t, "transcript "+strings.TrimSuffix(filepath.Base(file), ".txt"))
	}
	for i := range *schedules {
		if *lawSought == "" {
			break // TestRandomSchedules plays them
		}
		seed := *firstSeed + uint64(i)
		c := newChaos(t, seed)
		c.world.quiet, c.world.sought = true, *lawSought
		c.play()
		c.world.lawsHold(t, fmt.Sprintf("seed %d", seed))
	}
}

// lawsHold ends the test where the law that is looked for has been broken, and
// notes the others.
func (w *world) lawsHold(t *testing.T, where string) {
	switch {
	case w.broken():
		t.Fatalf("caught by %s: %s\n%s", where, w.violations[w.brokenAt()], w.transcript.String())
	case len(w.violations) > 0:
		t.Errorf("noticed by %s: %s", where, w.violations[0])
	}
}

// broken reports whether the law that is looked for has been broken: any, unless
// one is named.
func (w *world) broken() bool { return w.brokenAt() >= 0 }

func (w *world) brokenAt() int {
	return slices.IndexFunc(w.violations, func(v string) bool {
		return w.sought == "" || w.sought == "any" || strings.Contains(v, " "+w.sought+": ")
	})
}

// rest ends a script's faults and plays on until nothing happens any more.
func (s *script) rest() {
	w := s.world
	clear(s.dropAll)
	clear(s.dropNext)
	clear(s.held)
	clear(s.twice)
	s.slow = 0
	for _, n := range w.routers {
		n.fail, n.groupsFail, n.steering = map[Verb]Status{}, map[Verb]Status{}, 0
	}
	w.advance(3 * time.Minute)
	w.atRest()
}

// atRest checks that nothing hangs once the faults are over: a session is
// active at one router, or its end is on record, or the router that had it lost
// its journal.
func (w *world) atRest() {
	w.freezes()
	for _, id := range w.order {
		w.ownedOrEnded(id)
	}
	w.listenersAtRest()
	for _, n := range w.routers {
		if w.cut[n.id] {
			continue
		}
		for _, v := range n.machine.Sessions() {
			copied := v.Standby && v.State != "retracting"
			if v.State != "gone" && v.State != "active" && !copied && !(w.reinstalled && v.State == "active-unclosed") {
				w.violation("progress: %s: %s is %s for ever", n.id, w.name(v.Session), v.State)
			}
		}
	}
	if !w.usurped {
		w.keysInCommon()
	}
	if w.crashed {
		return
	}
	for ticket, id := range w.opened {
		if w.finals[ticket] == 0 {
			w.violation("progress: %s: nobody ever told ticket %d how it ended", id, ticket)
		}
	}
}

func (w *world) ownedOrEnded(id SessionID) {
	owners, ended, owned := 0, false, false
	if w.listens(id) {
		return
	}
	for _, n := range w.routers {
		if sa := n.sad[id]; sa != nil {
			switch {
			case sa.state == saActive:
				owners++
				if s := n.machine.sessions[id]; s != nil && s.state == stateOwner {
					w.replayAll(n, id, sa, true)
					if sa.ceiling != 0 {
						w.violation("progress: %s may not send for %s above %d", n.id, w.name(id), sa.ceiling)
					}
				}
			case w.cut[n.id]:
			case sa.state != saStaged || !n.standsBy(id):
				w.violation("progress: %s still has %s %s", n.id, w.name(id), saNames[sa.state])
			}
		}
		for _, r := range n.journal {
			owned = owned || r.Session == id
			ended = ended || r.Session == id && (r.Kind == RecordEnded || r.Kind == RecordLost)
		}
	}
	if owners > 1 || owners == 0 && owned && !ended && !w.reinstalled {
		w.violation("law 2: %s has %d owners, and no record of an end", w.name(id), owners)
	}
}

// freezes checks law 2's second half.
func (w *world) freezes() {
	for _, n := range w.routers {
		for id, at := range n.frozenAt {
			if w.now.Sub(at) > n.cfg.Timers.FreezeDeadline+n.cfg.Timers.SteerDeadline+5*time.Second {
				w.violation("law 2: %s has kept %s frozen since %s", n.id, w.name(id), at.Sub(epochZero))
				delete(n.frozenAt, id)
			}
		}
		w.keptForEver(n)
	}
}

// keptForEver checks that a copy which nobody renews has an end: it is keys.
func (w *world) keptForEver(n *simRouter) {
	for _, id := range w.order {
		s := n.machine.sessions[id]
		if s != nil && s.state == stateHeld && s.tgt.standby && s.tgt.lease == 0 && w.now.Sub(s.tgt.heard) > n.cfg.Timers.StandbyHold {
			w.violation("progress: %s keeps a copy of %s that nobody renews", n.id, w.name(id))
		}
	}
}

// standsBy reports whether a router keeps a standby's copy of a session.
func (n *simRouter) standsBy(id SessionID) bool {
	for _, v := range n.machine.Sessions() {
		if v.Session == id {
			return v.State == "held" && v.Standby
		}
	}
	return false
}

// The laws that the SAD alone cannot see, told again without the machine.

// signs notes which key a node makes a request with. A key of another generation
// is a request of its own: the node does not know what became of the first.
func (w *world) signs(ses *simSession, m *CTAR, to RouterID) {
	key := simKey{ses.agent.last.generation, ses.agent.last.key.Number}
	if before, again := ses.signed[m.Sequence]; again && before != key {
		w.tokens[simWay{ses.id, w.routerAt(m.Router), to}]++
	}
	ses.signed[m.Sequence] = key
}

// sends notes what a router asks another for, and what it gives away.
func (w *world) sends(n *simRouter, a Send) {
	w.sendsPlain(n, a)
	switch m := a.Message.(type) {
	case *CTReq:
		w.fetched[simFetch{n.id, a.To, m.Previous}] = true
	case *CTD:
		if len(m.Blocks) == 0 {
			return
		}
		if c, err := ParseControl(m.Blocks[0]); err == nil && c.Phase == PhaseStage {
			w.stagedAt[simRef{c.Session, c.Epoch}] = a.To
			w.given(n.id, a.To, c.Session)
		}
	}
}

// recorded is what a record must not be written over: an epoch that a stage has
// been sent with (law 1), and windows that are not merged (law 4).
func (w *world) recorded(n *simRouter, r Record) {
	if r.Kind == RecordAllocated {
		w.attempt(n, r)
	}
	switch sa := n.sad[r.Session]; {
	case r.Kind == RecordAllocated && w.stagedAt[simRef{r.Session, r.Epoch}] != "":
		w.violation("law 1: %s takes e%d of %s a second time", n.id, r.Epoch, w.name(r.Session))
	case r.Kind == RecordClosed && sa != nil:
		w.replayAll(n, r.Session, sa, true)
	}
}

// given is law 5 at the source: no contexts for a router that nobody named. An
// operator's order, a standby's, a node's token, or a request that the policy
// for its sender answers does.
func (w *world) given(from, to RouterID, id SessionID) {
	n := w.router(from)
	p, _ := n.cfg.peer(to)
	way := simWay{w.own(id), from, to}
	switch {
	case w.named[way], n.cfg.Standby == to, p.Pull != PullOff && w.named[simWay{way.session, to, from}]:
	case w.named[simWay{session: way.session, to: to}]:
	default:
		w.violation("law 5: %s gives %s to %s without authority", from, w.name(id), to)
	}
}

// taken is law 5 at the target: what it stages is within its policy for the
// source, or, that policy's bounds apart, was asked for here.
func (w *world) taken(n *simRouter, d Do) {
	from := w.stagedFrom[simRef{d.Session, d.Epoch}]
	p, ok := n.cfg.peer(from)
	if !ok {
		w.violation("law 5: %s stages %s for %q, which is no peer", n.id, w.name(d.Session), from)
		return
	}
	ses := w.node(d.Session)
	if to := w.stagedAt[simRef{d.Session, d.Epoch}]; to != n.id {
		w.violation("law 5: %s stages %s, which was given to %s", n.id, ses.name, to)
	}
	if !p.Push && !w.fetched[simFetch{n.id, from, ses.at}] {
		w.violation("law 5: %s stages %s, which %s may not push", n.id, ses.name, from)
	}
	if len(p.Identities) > 0 && !slices.Contains(p.Identities, ses.claims.Identity) {
		w.violation("law 5: %s stages %s of %s, whose identity is not allowed", n.id, ses.name, from)
	}
	there := 0
	if w.listens(d.Session) {
		return // it claims nothing
	}
	for _, inner := range ses.claims.Inner {
		if len(p.Inner) > 0 && !slices.ContainsFunc(p.Inner, func(q netip.Prefix) bool { return q.Contains(inner.Addr()) && q.Bits() <= inner.Bits() }) {
			w.violation("law 5: %s stages %s of %s, whose inner addresses are not allowed", n.id, ses.name, from)
		}
		for id, sa := range n.sad {
			other := w.sessions[id]
			if id != d.Session && slices.ContainsFunc(other.claims.Inner, inner.Overlaps) {
				w.violation("law 5: %s stages %s over the inner addresses of %s", n.id, ses.name, other.name)
			}
			if id != d.Session && sa.from == from {
				there++
			}
		}
	}
	if there >= cmp.Or(p.MaxSessions, DefaultMaxSessions) {
		w.violation("law 5: %s stages %s, one more than %s may have there", n.id, ses.name, from)
	}
}

// mayFreeze is law 5 of a freeze that follows a grant: whoever may have the
// session activated there. A freeze after a crash is one that was begun before.
func (w *world) mayFreeze(n *simRouter, d Do) {
	s := n.machine.sessions[d.Session]
	if s.state != stateFreezing || s.src.standby || s.src.static == nil || w.liars[n.id] {
		return
	}
	if way := (simWay{w.own(d.Session), n.id, s.src.to}); !w.byOrder(way) && w.tokens[w.byToken(way)] == 0 && !w.standing(way, d.Session) {
		w.violation("law 5: %s freezes %s for %s without authority", n.id, w.name(d.Session), s.src.to)
	}
}

// byOrder reports whether an operator's order is left that the target's policy
// takes.
func (w *world) byOrder(way simWay) bool {
	policy, _ := w.router(way.to).cfg.peer(way.from)
	return policy != nil && policy.ActivateWithoutToken && w.orders[way] > 0
}

// byToken is the way that a node's token is for. RFC 4067's does not name the
// source.
func (w *world) byToken(way simWay) simWay {
	if !w.sessions[way.session].strong {
		way.from = ""
	}
	return way
}

// spent is law 6's token key: what has moved the session is gone.
func (w *world) spent(n *simRouter, d Do) {
	s, number := n.machine.sessions[d.Session], -1 // the key of a copy has the number 0
	source := w.router(w.stagedFrom[simRef{d.Session, d.Epoch}]).machine.sessions[d.Session]
	key, verified := w.node(d.Session).signed[s.used.sequence], s.used.valid
	switch {
	case source != nil && source.src != nil && (source.src.proved || source.src.spent):
		number = int(source.src.key.Number)
	case verified && w.sessions[d.Session] != nil && key.generation == s.node.Generation:
		number = int(key.number)
	}
	for _, t := range s.node.Tokens {
		if int(t.Number) <= number {
			w.violation("law 6: %s still has token key %d of %s, which has moved it", n.id, t.Number, w.name(d.Session))
		}
	}
}

// forgotten is law 6's end: a router that has nothing but the record of a
// session has none of its keys.
func (w *world) forgotten(n *simRouter) {
	for _, id := range slices.Concat(w.order, w.plain.order) {
		s := n.machine.sessions[id]
		if s == nil || s.state != stateNone {
			continue
		}
		if len(s.node.Tokens) > 0 || !s.node.UpdateKey.IsZero() {
			w.violation("law 6: %s still has keys of %s's node", n.id, w.name(id))
		}
		for _, b := range n.exported[id] {
			if slices.ContainsFunc(b.Data, func(octet byte) bool { return octet != 0 }) {
				w.violation("law 6: %s has not wiped what it exported of %s", n.id, w.name(id))
				break
			}
		}
		delete(n.exported, id)
	}
}

// What routers do that go their own way.

// lied is a message as it is from or to a liar: it says that the node's token was
// verified, and takes whoever has staged to be willing.
func (w *world) lied(from, to RouterID, m Message) Message {
	switch m := m.(type) {
	case *CTD:
		if isPlain(m) || !w.liars[from] {
			return m
		}
		c, err := ParseControl(m.Blocks[0])
		if err != nil {
			return m
		}
		c.TokenProved = true
		block, err := c.Block()
		if err != nil {
			w.t.Fatal(err)
		}
		lie := *m
		lie.Blocks = append([]CDB{block}, m.Blocks[1:]...)
		return &lie
	case *Outcome:
		lie := *m
		lie.Go = m.Go || w.liars[to] && m.State == OutcomeStaged
		return &lie
	}
	return m
}

// forge has a router send what only another may, or nobody now, about what is at
// the other end: as right as it can know it.
func (s *script) forge(k string, ses *simSession, by, to RouterID) {
	target := s.world.router(to)
	machine := target.machine.sessions[ses.id]
	control := Control{Mode: target.cfg.Mode, Session: ses.id, Epoch: machine.epoch, Incarnation: target.cfg.Incarnation, Target: to}
	switch k {
	case "ctc":
		s.world.send(by, to, nil, &CTC{Previous: ses.at})
	case "stage":
		control.Phase, control.Epoch = PhaseStage, control.Epoch+1
		s.forgeCTD(by, to, ses, control, cloneBlocks(target.sad[ses.id].contexts))
	case "final":
		control.Phase = PhaseFinal
		s.forgeCTD(by, to, ses, control, (&simSA{seq: 1}).dynamic())
	default:
		state := slices.Index(outcomeNames[:], k)
		s.world.send(by, to, nil, &Outcome{Previous: ses.at, Session: ses.id, Epoch: machine.epoch,
			Incarnation: machine.src.incarnation, State: OutcomeState(state), Steered: true})
	}
}

func (s *script) forgeCTD(by, to RouterID, ses *simSession, control Control, blocks []CDB) {
	var err error
	if control.Digest, err = DigestOf(blocks); err != nil {
		s.t.Fatal(err)
	}
	if t := s.world.router(to).machine.sessions[ses.id].tgt; t != nil {
		control.Digest = t.digest
	}
	block, err := control.Block()
	if err != nil {
		s.t.Fatal(err)
	}
	s.world.send(by, to, nil, &CTD{Previous: ses.at, Blocks: append([]CDB{block}, blocks...)})
}

// relay has a router pass on to another what it got: the last one of that kind.
func (s *script) relay(k string, by, to RouterID) {
	for _, sent := range slices.Backward(s.world.log) {
		if sent.kind != k || sent.event.to != by {
			continue
		}
		m, err := Decode(slices.Clone(sent.event.wire))
		if err != nil {
			s.t.Fatal(err)
		}
		s.world.printf("%s %s: -> %s %s (relayed)", s.world.clock(), by, to, s.world.message(m))
		s.world.send(by, to, nil, m)
		return
	}
	s.t.Fatalf("%s got no %s", by, k)
}
