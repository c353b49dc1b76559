package cxtp

import (
	"cmp"
	"net/netip"
	"slices"
	"time"
)

// What is under way between the machines, and the clock.

// event is something that will happen at a router (or, to is "", at a node).
type event struct {
	at    time.Time
	order int
	from  RouterID // "" = a node
	to    RouterID
	life  int       // of the router, for results; -1 for messages
	sent  time.Time // of a message
	wire  []byte
	node  *simSession
	input Input
	write bool // a Persist's result
}

type sentMessage struct {
	kind  string
	event event
	life  int  // of the router that it was sent to
	lost  bool // every copy
}

// network decides what becomes of a message. The default delivers after 1 ms.
type network interface {
	// deliver returns the delays after which copies arrive; none = lost.
	deliver(from, to RouterID, m Message) []time.Duration
	// result is how long an operation takes.
	result() time.Duration
}

// maxSteps is more than any schedule needs: machines that answer each other for
// ever do not.
const maxSteps = 50_000

func (w *world) nodeAt(at netip.AddrPort) *simSession {
	for _, ses := range w.sessions {
		if ses.endpoint == at {
			return ses
		}
	}
	return nil
}

func (w *world) schedule(e *event) {
	w.lastSeq++
	e.order = w.lastSeq
	w.events = append(w.events, e)
}

func (w *world) later(n *simRouter, d Done, at time.Time, write bool) {
	w.schedule(&event{at: at, to: n.id, life: n.life, input: d, write: write})
}

// send puts a message on the wire. node is the one end that is not a router.
func (w *world) send(from, to RouterID, node *simSession, m Message) {
	m = w.lied(from, to, m)
	wire, err := m.Append(nil)
	if err != nil {
		w.violation("progress: %s sends a %s that cannot be encoded: %v", from, kind(m), err)
		return
	}
	sent := sentMessage{kind: kind(m), event: event{from: from, to: to, life: -1, wire: wire, node: node}}
	if to != "" {
		sent.life = w.router(to).life
	}
	delays := w.net.deliver(from, to, m)
	if w.cut[from] || w.cut[to] {
		delays = nil
	}
	sent.lost = len(delays) == 0
	w.log = append(w.log, sent)
	for _, delay := range delays {
		w.transmitAgain(len(w.log)-1, delay)
	}
}

// transmitAgain delivers a message of the log, for the first time or once more.
func (w *world) transmitAgain(i int, delay time.Duration) {
	e := w.log[i].event
	e.at, e.sent, e.wire = w.now.Add(delay), w.now, slices.Clone(e.wire)
	w.schedule(&e)
}

// next takes the event that happens next and moves the clock to it, at most to
// until. A timer of a machine that is due goes first.
func (w *world) next(until time.Time) bool {
	if w.steps++; w.steps >= maxSteps {
		if w.steps == maxSteps {
			w.violation("progress: no end after %d events", maxSteps)
		}
		return false
	}
	at, n := w.timer()
	e := w.earliest()
	if e != nil && (at.IsZero() || e.at.Before(at)) {
		at, n = e.at, nil
	}
	if at.IsZero() || at.After(until) {
		return false
	}
	if at.After(w.now) {
		w.now = at
	}
	switch {
	case n != nil:
		w.tick(n)
	case e != nil && e.at.Equal(at):
		w.events = slices.DeleteFunc(w.events, func(x *event) bool { return x == e })
		w.happen(e)
	default:
		for _, id := range w.order {
			ses := w.sessions[id]
			w.perform(ses, ses.agent.Tick(w.now))
		}
	}
	if w.intrude != nil {
		w.intrude()
	}
	return true
}

func (w *world) earliest() *event {
	if len(w.events) == 0 {
		return nil
	}
	return slices.MinFunc(w.events, func(a, b *event) int {
		return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.order, b.order))
	})
}

// timer is the earliest timer of any router or, n is nil, of a node's agent.
func (w *world) timer() (at time.Time, n *simRouter) {
	for _, r := range w.routers {
		if d := r.machine.Deadline(); !d.IsZero() && (at.IsZero() || d.Before(at)) {
			at, n = d, r
		}
	}
	for _, id := range w.order {
		if d := w.sessions[id].agent.Deadline(); !d.IsZero() && (at.IsZero() || d.Before(at)) {
			at, n = d, nil
		}
	}
	return at, n
}

func (w *world) tick(n *simRouter) {
	was := n.machine.Deadline()
	actions := n.machine.Tick(w.now)
	if len(actions) > 0 {
		w.printf("%s %s: tick", w.clock(), n.id)
	}
	w.carry(n, actions)
	w.plainly(n)
	if d := n.machine.Deadline(); !d.IsZero() && !d.After(w.now) {
		w.violation("progress: %s does not get past its timer of %s", n.id, was.Sub(epochZero))
		w.steps = maxSteps
	}
	w.traffic()
}

// happen lets an event happen.
func (w *world) happen(e *event) {
	if e.life >= 0 {
		n := w.router(e.to)
		if n.life != e.life {
			return // the result of an operation that a crash cut off
		}
		if e.write {
			n.journal, n.writing = append(n.journal, n.writing[0]), n.writing[1:]
		}
		w.step(n, e.input)
		return
	}
	m, err := Decode(e.wire)
	if err != nil {
		w.violation("progress: %s cannot decode: %v", e.to, err)
		return
	}
	switch {
	case e.to == "":
		if e.node != nil {
			w.printf("%s node %s: <- %s %s", w.clock(), e.node.name, e.from, w.message(m))
			w.perform(e.node, e.node.agent.Receive(netip.AddrPortFrom(w.addrOf(e.from), 0), m))
			e.node.agent.Forget()
		}
	case e.from == "":
		w.step(w.router(e.to), FromNode{From: e.node.endpoint, At: w.addrOf(e.to), Message: m})
	case w.router(e.to).cutOff(e, m):
	default:
		w.witness(e.from, m)
		w.witnessPlain(e.from, w.router(e.to), m)
		w.step(w.router(e.to), FromRouter{From: e.from, Message: m})
	}
	for i := range e.wire {
		e.wire[i] = 0xAA // a receive buffer is used again
	}
}

// cutOff reports whether a message is lost with the connection that a restart of
// its receiver has ended. Everything else may come late all the same: only a
// request with a null token depends on what its receiver remembers, and it
// remembers it as long as it runs.
func (n *simRouter) cutOff(e *event, m Message) bool {
	q, ok := m.(*CTReq)
	return ok && q.Token.IsZero() && e.sent.Before(n.booted)
}

// witness notes who stages what, for law 5.
func (w *world) witness(from RouterID, m Message) {
	if ctd, ok := m.(*CTD); ok && len(ctd.Blocks) > 0 {
		c, err := ParseControl(ctd.Blocks[0])
		switch {
		case err != nil:
		case c.Phase == PhaseStage:
			w.stagedFrom[simRef{c.Session, c.Epoch}] = from
		case c.Phase == PhaseFinal:
			w.proved[simRef{c.Session, c.Epoch}] = c.TokenProved
		}
	}
}

// perform carries out an agent's actions.
func (w *world) perform(ses *simSession, actions []AgentAction) {
	for _, a := range actions {
		switch a := a.(type) {
		case AgentSend:
			to := w.routerAt(a.To.Addr())
			if m, ok := a.Message.(*CTAR); ok {
				w.trigger(ses, to, m)
			}
			w.printf("%s node %s: -> %s %s", w.clock(), ses.name, to, w.message(a.Message))
			if m, ok := a.Message.(*CTAR); ok {
				w.signs(ses, m, to)
			}
			w.send("", to, ses, a.Message)
		case AgentFollow:
			w.printf("  follow %s", w.routerAt(a.Gateway.Addr()))
			w.follows(ses, a)
		case AgentAnswered:
			w.printf("  answered seq %d", a.Sequence)
			if a.TimedOut {
				w.printf("  nobody answered")
			}
		}
	}
}

// settle runs until nothing is under way any more; timers are left alone
// unless they are due before an event.
func (w *world) settle() {
	for e := w.earliest(); e != nil; e = w.earliest() {
		if !w.next(e.at) {
			return
		}
	}
}

// advance runs for a time.
func (w *world) advance(d time.Duration) {
	until := w.now.Add(d)
	for w.next(until) {
	}
	w.now = until
}
