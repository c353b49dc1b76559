package cxtp

import (
	"flag"
	"math/rand/v2"
	"testing"
	"time"
)

var (
	schedules = flag.Int("schedules", 3000, "how many random schedules to play")
	firstSeed = flag.Uint64("seed", 1, "seed of the first random schedule")
)

// TestRandomSchedules plays the machines against a bad network, slow results,
// impatient operators and crashes, and checks the laws after every event. Then
// the faults end, and every session must come to rest somewhere.
func TestRandomSchedules(t *testing.T) {
	var seeds []uint64
	for i := range *schedules {
		seeds = append(seeds, *firstSeed+uint64(i))
	}
	for _, seed := range seeds {
		c := newChaos(t, seed)
		c.play()
		if err := c.world.err(); err != nil {
			t.Fatalf("seed %d:\n%s\nlaws broken:\n%v", seed, c.world.transcript.String(), err)
		}
	}
}

// chaos is one random schedule.
type chaos struct {
	*rand.Rand
	kinds  *rand.Rand // of nodes and contexts; apart, so that older seeds mean what they did
	world  *world
	calm   bool // the faults are over
	lossy  int  // percent
	slow   bool
	ticket Ticket
	// What only some schedules have, because it makes others dull.
	crashes, reinstalls, fences, standbys bool
	late                                  *rand.Rand // as kinds, of what was thought of later; nil = none of it
	plain                                 *rand.Rand // likewise, of transfers without a control block
}

func newChaos(t *testing.T, seed uint64) *chaos {
	c := &chaos{Rand: rand.New(rand.NewPCG(seed, 0))}
	c.lossy = c.IntN(40)
	c.slow = c.chance(50)
	c.crashes = c.chance(30)
	c.reinstalls = c.crashes && c.chance(30)
	c.fences = c.crashes && c.chance(50)
	c.standbys = c.chance(30)
	lease := time.Duration(c.IntN(2)*(3+c.IntN(8))) * time.Second
	w := newWorld(t, c, []RouterID{"A", "B", "C", "D"}[:2+c.IntN(3)]...)
	c.world = w
	strict := c.chance(30)
	for _, n := range w.routers {
		if strict {
			n.cfg.Mode = ModeStrict
		}
		n.cfg.ReassignSPIs = true
		n.cfg.Headroom = uint64(200 + c.IntN(1000))
		if c.standbys {
			n.cfg.Timers.Lease = lease
			if c.chance(50) {
				n.cfg.Standby = n.cfg.Peers[c.IntN(len(n.cfg.Peers))].ID
			}
		}
		for i := range n.cfg.Peers {
			p := &n.cfg.Peers[i]
			p.Push, p.ActivateWithoutToken = c.chance(90), c.chance(70)
			p.Pull = PullPolicy(c.IntN(3))
		}
	}
	if plain := rand.New(rand.NewPCG(seed, 4)); plain.IntN(4) == 0 {
		c.plain = plain
		c.copying()
	}
	w.start()
	c.kinds = rand.New(rand.NewPCG(seed, 1))
	for i, name := range []string{"s1", "s2", "s3"}[:1+c.IntN(3)] {
		ses := w.newNode(name, 6, c.chance(50), c.kinds.IntN(2) == 0)
		ses.groups = c.kinds.IntN(3) == 0
		ses.listener = c.plain != nil && c.plain.IntN(3) > 0
		if i == 2 {
			ses.at = w.sessions[w.order[0]].at // two nodes behind one NAT
		}
		w.adopt(ses, c.router().id, 6, ses.agent.cfg.Node.Agent.IsValid())
	}
	c.conflict(rand.New(rand.NewPCG(seed, 2)))
	if late := rand.New(rand.NewPCG(seed, 3)); late.IntN(3) == 0 {
		c.late = late
	}
	return c
}

// conflict has others use the SPIs of some nodes with an agent at some routers,
// which give them others.
func (c *chaos) conflict(taken *rand.Rand) {
	if taken.IntN(3) > 0 {
		return
	}
	for _, n := range c.world.routers {
		for _, id := range c.world.order {
			ses := c.world.sessions[id]
			n.conflicts[ses.id] = taken.IntN(2) == 0 && ses.agent.cfg.Node.Agent.IsValid()
		}
	}
}

// router is any of them.
func (c *chaos) router() *simRouter { return c.world.routers[c.IntN(len(c.world.routers))] }

// types are the context types that a node asks for: mostly all.
func (c *chaos) types() []FPT {
	return [][]FPT{nil, nil, simTypes[:1], {FPTIPsecSA, FPTMulticastListener}, {FPTIPsecSA, 0x1234}}[c.kinds.IntN(5)]
}

// chance is true in so many of a hundred cases.
func (c *chaos) chance(percent int) bool { return c.IntN(100) < percent }

func (c *chaos) deliver(_, _ RouterID, _ Message) []time.Duration {
	if c.calm {
		return []time.Duration{time.Millisecond}
	}
	var at []time.Duration
	if !c.chance(c.lossy) {
		at = append(at, c.delay())
	}
	for c.chance(10) {
		at = append(at, c.delay())
	}
	return at
}

// delay is mostly short, so that moves succeed, and sometimes long enough for
// the message to meet a later move.
func (c *chaos) delay() time.Duration {
	switch c.IntN(10) {
	case 0:
		return time.Duration(c.IntN(90_000)) * time.Millisecond
	case 1, 2:
		return time.Duration(c.IntN(1000)) * time.Millisecond
	}
	return time.Duration(c.IntN(20)) * time.Millisecond
}

func (c *chaos) result() time.Duration {
	if !c.slow || c.calm {
		return 0
	}
	return time.Duration(c.IntN(30)) * time.Millisecond
}

func (c *chaos) play() {
	w := c.world
	for range 5 + c.IntN(40) {
		c.trigger()
		for range c.IntN(30) {
			w.next(w.now.Add(time.Hour))
		}
		if c.chance(10) {
			w.advance(time.Duration(c.IntN(70_000)) * time.Millisecond)
		}
		w.freezes()
		if w.broken() {
			return
		}
	}
	c.calm = true
	w.advance(3 * time.Minute)
	w.atRest()
}

// trigger is something that a person, a node or misfortune does.
func (c *chaos) trigger() {
	w := c.world
	ses := w.sessions[w.order[c.IntN(len(w.order))]]
	from, to := c.router(), c.router()
	for to == from {
		to = c.router()
	}
	for _, n := range w.routers { // mostly one that has the session
		if n.acts(ses.id) && n != to && c.chance(80) {
			from = n
		}
	}
	c.stray(from, to, ses)
	c.ticket++
	c.vanish(from, ses)
	switch c.IntN(13) {
	case 0, 1, 2, 3:
		w.command(from.id, Handover{Session: ses.id, To: to.id, StageOnly: c.chance(20), Force: c.late != nil, Ticket: c.ticket})
	case 4, 5:
		p := Pull{Previous: ses.at, From: from.id, StageOnly: c.chance(20), Sequence: c.Uint32(), Ticket: c.ticket}
		if c.chance(50) {
			p.Session = ses.id
		}
		w.command(to.id, p)
	case 6, 7:
		ses.types = c.types()
		w.ask(ses, to.id, from.id, c.Uint32())
	case 8:
		ses.types = c.types()
		w.askAs(ses, from.id, to.id, RoleLeaving, c.Uint32())
		w.ask(ses, to.id, from.id, ses.asked)
	case 9:
		w.command(from.id, Cancel{Session: ses.id, Ticket: c.ticket})
	case 10:
		from.groupsFail[Verb(1+c.kinds.IntN(int(VerbTakeOver)))] = StatusNoResources
		switch {
		case c.chance(50):
			v := Verb(1 + c.IntN(int(VerbMerge)))
			from.fail[v] = StatusNoResources
			if v == VerbFreeze && c.kinds.IntN(2) == 0 {
				from.fail[v] = StatusBusy
			}
		default:
			to.steering = c.IntN(3)
		}
	case 11:
		w.send("", to.id, ses, &CTAR{Ack: true, Previous: ses.at, Router: w.addrOf(from.id), Sequence: c.Uint32(), Token: Token{byte(c.Uint32()), 1, 2, 3}})
		if n := c.router(); c.reinstalls && c.chance(20) {
			w.reinstall(n)
		} else if c.crashes && c.chance(50) {
			if c.chance(50) {
				w.restart(n, c.IntN(3))
			} else {
				w.crash(n, c.IntN(3))
			}
		}
	case 12:
		switch {
		case c.fences && c.chance(30):
			w.fence(from, func() Ticket { c.ticket++; return c.ticket })
		case c.standbys:
			o := Standby{Session: ses.id, Ticket: c.ticket}
			if c.chance(80) {
				o.To = to.id
			}
			w.command(from.id, o)
		}
	}
}

// vanish has a router told that a session's SAs are gone: of one at rest they are,
// of another they may be frozen since.
func (c *chaos) vanish(n *simRouter, ses *simSession) {
	s := n.machine.sessions[ses.id]
	if c.late == nil || s == nil || c.late.IntN(15) > 0 {
		return
	}
	if s.state == stateOwner || s.state == stateStaged {
		delete(n.sad, ses.id)
		delete(n.listeners, ses.id)
	}
	c.world.step(n, Vanished{Session: ses.id, Why: "deleted"})
}

// copying makes some routers plain to others: not always to each other.
func (c *chaos) copying() {
	for _, n := range c.world.routers {
		if c.plain.IntN(8) > 0 {
			n.cfg.Copyable = []FPT{FPTMulticastListener}
		}
		for i := range n.cfg.Peers {
			n.cfg.Peers[i].Plain = c.plain.IntN(10) < 7
		}
	}
}

// stray is what happens beside where some routers are plain: orders about the copies
// of a node's session, and messages of RFC 4067 that nobody waits for.
func (c *chaos) stray(from, to *simRouter, ses *simSession) {
	if c.plain == nil || c.plain.IntN(2) > 0 {
		return
	}
	w, pick := c.world, c.plain.IntN
	switch ids := from.ids(ses.at); pick(4) {
	case 0:
		if len(ids) > 0 {
			c.ticket++
			w.command(from.id, Handover{Session: ids[pick(len(ids))], To: to.id, StageOnly: pick(4) == 0, Ticket: c.ticket})
		}
	case 1:
		if len(ids) > 0 && pick(3) == 0 {
			c.ticket++
			w.command(from.id, Cancel{Session: ids[pick(len(ids))], Ticket: c.ticket})
		}
	case 2:
		w.send(from.id, to.id, nil, &CTC{Previous: ses.at})
	default:
		kinds := []string{"pctd", "pctd", "pctd-with-keys", "pctd-of-keys", "pctd-of-nothing", "yes", "no", "no-word"}
		w.forgePlain(kinds[pick(len(kinds))], ses, from.id, to.id)
	}
}
