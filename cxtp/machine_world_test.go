package cxtp

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// world is routers, nodes, the network between them, and time. Every message
// crosses it encoded; every result of an action comes back as an event of its
// own; nothing happens but by step.
type world struct {
	t       testing.TB
	now     time.Time
	routers []*simRouter
	events  []*event
	lastSeq int
	steps   int

	sessions map[SessionID]*simSession
	order    []SessionID

	// What the laws are checked against.
	activated            map[simRef]RouterID
	stagedFrom           map[simRef]RouterID
	proved               map[simRef]bool // what a final said of the node's token
	orders               map[simWay]int  // operators' triggers not used up
	tokens               map[simWay]int  // nodes' triggers not used up
	finals               map[Ticket]int  // final reports
	opened               map[Ticket]RouterID
	asked                map[simAsk]bool
	stagedAt             map[simRef]RouterID // whom a source has sent it to
	named                map[simWay]bool     // whom anybody with a right to named as a target
	fetched              map[simFetch]bool   // what routers have asked each other for
	violations           []string            // each with the law first
	sought               string              // the law that ends a schedule; "" = any
	crashed, reinstalled bool
	liars                map[RouterID]bool
	fenced               bool             // some gateway was, and what it had agreed with nodes is gone
	usurped              bool             // a gateway of the past has used a node's keys
	doing                map[simOp]string // what the operations under way are, for people

	log        []sentMessage // everything that was ever sent
	net        network
	random     *rand.ChaCha8
	transcript strings.Builder
	quiet      bool
	intrude    func() // after every event; may be nil
}

type simRef struct {
	session SessionID
	epoch   Epoch
}

// simAsk is a node's token and a router that it may make a target.
type simAsk struct {
	session SessionID
	token   Token
	target  RouterID
}

type simOp struct {
	router  RouterID
	session SessionID
	op      OpID
}

// simKey is one of a node's token keys.
type simKey struct {
	generation uint64
	number     uint32
}

// simFetch is a router's request to another for the session at an address.
type simFetch struct {
	to, from RouterID
	at       netip.Addr
}

// simWay is a move of a session from one router to another.
type simWay struct {
	session  SessionID
	from, to RouterID
}

type simRouter struct {
	id       RouterID
	cfg      Config
	machine  *Router
	life     int // restarts
	booted   time.Time
	sad      map[SessionID]*simSA
	fail     map[Verb]Status
	stalled  map[Verb]bool // not begun before the next crash
	frozenAt map[SessionID]time.Time
	steering int // Steers still to fail

	groupsFail map[Verb]Status     // of the feature that may
	exported   map[SessionID][]CDB // what the machine has to wipe

	journal []Record  // durable
	writing []Record  // not durable yet
	written time.Time // when the last of them will be
}

type simSession struct {
	id       SessionID
	name     string
	key      string
	at       netip.Addr
	endpoint netip.AddrPort
	claims   Claims
	agent    *Agent
	inbound  int
	accepted simWindow
	sent     map[uint64]RouterID
	gap      bool              // a gateway died with its windows
	asked    uint32            // sequence number of the last CTAR
	signed   map[uint32]simKey // what its CTARs were made with, by sequence number
	strong   bool              // its tokens are
	groups   bool              // it has multicast groups too
	types    []FPT             // what its next request asks for; nil = everything
}

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

var epochZero = time.Unix(1_000_000, 0)

func newWorld(t testing.TB, net network, ids ...RouterID) *world {
	w := &world{
		t: t, now: epochZero, net: net, random: rand.NewChaCha8([32]byte{}),
		sessions: map[SessionID]*simSession{}, activated: map[simRef]RouterID{}, stagedFrom: map[simRef]RouterID{}, proved: map[simRef]bool{},
		orders: map[simWay]int{}, tokens: map[simWay]int{}, doing: map[simOp]string{}, asked: map[simAsk]bool{}, stagedAt: map[simRef]RouterID{}, named: map[simWay]bool{}, liars: map[RouterID]bool{}, fetched: map[simFetch]bool{}, finals: map[Ticket]int{}, opened: map[Ticket]RouterID{},
	}
	for i, id := range ids {
		n := &simRouter{id: id, cfg: Config{
			Self: id, Incarnation: Incarnation(100 + i), Timers: DefaultTimers(), Mode: ModeLossless, Headroom: 1000, Inspect: simInspect,
			Gateway4: netip.AddrPortFrom(simAddr(i), 4500), Addrs: []netip.Addr{simAddr(i)}, Rand: w.random,
		}}
		for j, other := range ids {
			if other != id {
				n.cfg.Peers = append(n.cfg.Peers, Peer{ID: other, Addrs: []netip.Addr{simAddr(j)}, Push: true, ActivateWithoutToken: true})
			}
		}
		w.routers = append(w.routers, n)
	}
	return w
}

func simAddr(i int) netip.Addr { return netip.AddrFrom4([4]byte{192, 0, 2, byte(1 + i)}) }

func (w *world) router(id RouterID) *simRouter {
	for _, n := range w.routers {
		if n.id == id {
			return n
		}
	}
	w.t.Fatalf("no router %q", id)
	return nil
}

func (w *world) routerAt(a netip.Addr) RouterID {
	for i, n := range w.routers {
		if simAddr(i) == a {
			return n.id
		}
	}
	return "nobody"
}

func (w *world) addrOf(id RouterID) netip.Addr {
	return simAddr(slices.IndexFunc(w.routers, func(n *simRouter) bool { return n.id == id }))
}

// start makes the machines that the configurations describe.
func (w *world) start() {
	for _, n := range w.routers {
		n.blank()
		w.boot(n)
	}
}

// boot starts a router's machine from its journal and what its SAD holds.
func (w *world) boot(n *simRouter) {
	var held []Held
	for _, id := range w.order {
		if sa := n.sad[id]; sa != nil {
			held = append(held, Held{id, sa.held(), w.sessions[id].claims})
		}
	}
	machine, added, err := NewRouter(n.cfg, n.journal, held)
	if err != nil {
		w.t.Fatalf("failed to start %s: %v", n.id, err)
	}
	for _, r := range added {
		w.printf("  persist %s", w.record(r))
	}
	n.journal = append(n.journal, added...)
	n.machine, n.writing, n.life, n.booted = machine, nil, n.life+1, w.now
	n.fail, n.groupsFail, n.stalled = map[Verb]Status{}, map[Verb]Status{}, map[Verb]bool{}
}

// blank is a SAD without SAs.
func (n *simRouter) blank() {
	n.sad, n.frozenAt, n.exported = map[SessionID]*simSA{}, map[SessionID]time.Time{}, map[SessionID][]CDB{}
}

// crash kills a router's daemon and starts it again; its SAs live on.
func (w *world) crash(n *simRouter, kept int) {
	w.printf("%s %s: crash", w.clock(), n.id)
	w.crashed = true
	clear(n.exported)
	for id := range n.frozenAt {
		n.frozenAt[id] = w.now // the deadline begins anew
	}
	n.journal = append(n.journal, n.writing[:min(kept, len(n.writing))]...)
	w.boot(n)
}

// fence powers a router off, tells every other one that has a session with it,
// and powers it on again.
func (w *world) fence(n *simRouter, ticket func() Ticket) {
	w.fenced = true
	for _, id := range w.order {
		w.sessions[id].gap = true // windows that it had are gone
	}
	w.restart(n, 0)
	for _, other := range w.routers {
		for _, id := range w.order {
			if other != n {
				w.command(other.id, Resolve{Session: id, Fenced: n.id, Ticket: ticket()})
			}
		}
	}
}

// restart crashes a router and starts it again; kept says how many of the
// records that were being written made it.
func (w *world) restart(n *simRouter, kept int) {
	w.printf("%s %s: restart", w.clock(), n.id)
	w.crashed = true
	n.journal = append(n.journal, n.writing[:min(kept, len(n.writing))]...)
	n.blank()
	w.boot(n)
}

// reinstall is a restart without the journal.
func (w *world) reinstall(n *simRouter) {
	w.printf("%s %s: reinstall", w.clock(), n.id)
	w.crashed, w.reinstalled = true, true
	n.journal = nil
	n.blank()
	n.cfg.Incarnation += 100
	w.boot(n)
}

func (w *world) name(id SessionID) string {
	if s := w.sessions[id]; s != nil {
		return s.name
	}
	return id.String()[:4]
}

func (w *world) clock() string { return fmt.Sprintf("%dms", w.now.Sub(epochZero).Milliseconds()) }

func (w *world) printf(format string, args ...any) {
	if !w.quiet {
		fmt.Fprintf(&w.transcript, format+"\n", args...)
	}
}

// violation notes that a law is broken, which is what the text begins with, or
// that there is no progress.
func (w *world) violation(format string, args ...any) {
	v := fmt.Sprintf(format, args...)
	w.violations = append(w.violations, w.clock()+" "+v)
	w.printf("!!! %s", v)
}

// newSession is a node with its SAs, not yet adopted by anyone.
func (w *world) newSession(name string, tokens int, agent bool) *simSession {
	return w.newNode(name, tokens, agent, false)
}

func (w *world) newNode(name string, tokens int, agent, strong bool) *simSession {
	i := len(w.order) + 1
	ses := &simSession{
		id: SessionID{byte(i)}, name: name, key: "key of " + name, sent: map[uint64]RouterID{}, signed: map[uint32]simKey{}, strong: strong,
		at:       netip.AddrFrom4([4]byte{198, 51, 100, byte(i)}),
		endpoint: netip.AddrPortFrom(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}), 4500),
		claims:   Claims{Identity: name, Inner: []netip.Prefix{netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), 32)}},
	}
	w.sessions[ses.id] = ses
	w.order = append(w.order, ses.id)
	node := w.nodeState(ses, tokens, agent)
	ses.agent = NewAgent(AgentConfig{Previous: ses.at, Session: ses.id, Node: node, Rand: w.random})
	return ses
}

// nodeState makes the node's keys: each caller gets a copy to wipe.
func (w *world) nodeState(ses *simSession, tokens int, agent bool) NodeState {
	var n NodeState
	if ses.strong {
		n.Algorithm = AlgorithmHMACSHA256
	}
	if agent {
		n.Agent, n.UpdateKey = ses.endpoint, secret.Clone([]byte("update key of "+ses.name))
	}
	for i := range tokens {
		n.Tokens = append(n.Tokens, NumberedKey{uint32(i + 1), secret.Clone(fmt.Appendf(nil, "token key %d of %s", i+1, ses.name))})
	}
	return n
}

// adopt makes a router the first owner.
func (w *world) adopt(ses *simSession, id RouterID, tokens int, agent bool) {
	n := w.router(id)
	n.sad[ses.id] = &simSA{state: saActive, key: ses.key, contexts: []CDB{
		{FPT: FPTIPsecSession, Data: simText(ses.claims.Identity, ses.claims.Inner[0])},
		{FPT: FPTIPsecSA, Data: []byte(ses.key)},
	}}
	if ses.groups {
		n.sad[ses.id].contexts = append(n.sad[ses.id].contexts, simGroups)
	}
	w.step(n, Adopt{Session: ses.id, Previous: ses.at, Node: w.nodeState(ses, tokens, agent), Claims: ses.claims})
}

// command gives a router an operator's order, and remembers the ticket.
func (w *world) command(id RouterID, in Input) {
	n := w.router(id)
	switch in := in.(type) {
	case Handover:
		w.opened[in.Ticket] = id
		w.named[simWay{in.Session, id, in.To}] = true
		if !in.StageOnly {
			w.orders[simWay{in.Session, id, in.To}]++
		}
	case Pull:
		w.opened[in.Ticket] = id
		source := w.router(in.From)
		for _, ses := range w.sessions {
			if ses.at != in.Previous {
				continue
			}
			w.named[simWay{ses.id, id, in.From}] = true
			if p, ok := source.cfg.peer(id); ok && p.Pull == PullMove {
				w.orders[simWay{ses.id, in.From, id}]++
			}
		}
	case Cancel:
		w.opened[in.Ticket] = id
	case Resolve:
		w.opened[in.Ticket] = id
	case Standby:
		w.opened[in.Ticket] = id
		w.named[simWay{in.Session, id, in.To}] = true
	}
	w.step(n, in)
}

// ask makes a node's agent send a CTAR, on its way to the router that it asks.
func (w *world) ask(ses *simSession, to, other RouterID, sequence uint32) {
	w.askAs(ses, to, other, RoleArriving, sequence)
}

func (w *world) askAs(ses *simSession, to, other RouterID, role Role, sequence uint32) {
	actions, ok := ses.agent.Request(w.now, Ask{To: netip.AddrPortFrom(w.addrOf(to), 0), At: w.addrOf(to), Naming: w.addrOf(other), Role: role, Sequence: sequence, Types: ses.types})
	if !ok {
		w.printf("  %s has no token key left", ses.name)
		return
	}
	ses.asked = sequence
	w.named[simWay{session: ses.id, to: to}], w.named[simWay{session: ses.id, to: other}] = true, true
	w.perform(ses, actions)
}

// trigger counts a node's CTAR as its wish, once for each token: a repetition
// gives no second right, and one that is signed anew, with another key, does. It
// may be meant for a pAR or for a nAR; RFC 4067's token does not cover the
// address of the other router. A strong token does, and says which is which.
func (w *world) trigger(ses *simSession, to RouterID, m *CTAR) {
	other := w.routerAt(m.Router)
	ways := []simWay{{session: ses.id, to: to}, {session: ses.id, to: other}}
	if ses.strong {
		ways = nil
		if t, ok := strongToken(m.Requests); ok && t.Role == RoleArriving {
			ways = []simWay{{session: ses.id, from: other, to: to}}
		}
	}
	for _, way := range ways {
		if a := (simAsk{ses.id, m.Token, way.to}); !w.asked[a] {
			w.asked[a] = true
			w.tokens[way]++
		}
	}
}

// step gives a machine an input and carries out what it answers.
func (w *world) step(n *simRouter, in Input) {
	w.printf("%s %s: %s", w.clock(), n.id, w.input(n, in))
	w.carry(n, n.machine.Step(w.now, in))
	w.forgotten(n)
	w.traffic()
}

func (w *world) carry(n *simRouter, actions []Action) {
	for _, a := range actions {
		w.printf("  %s", w.action(a))
		switch a := a.(type) {
		case Send:
			w.sends(n, a)
			w.send(n.id, a.To, nil, a.Message)
		case SendNode:
			w.send(n.id, "", w.nodeAt(a.To), a.Message)
		case Do:
			w.doing[simOp{n.id, a.Session, a.Op}] = a.Verb.String()
			if n.stalled[a.Verb] {
				delete(n.stalled, a.Verb)
				continue
			}
			w.later(n, w.carryOut(n, a), w.now.Add(w.net.result()), false)
		case Steer:
			w.doing[simOp{n.id, a.Session, a.Op}] = "steer"
			for _, other := range w.routers {
				if sa := other.sad[a.Session]; other != n && sa != nil && sa.state == saActive {
					w.violation("law 2: %s steers %s away from %s, which is active", n.id, w.name(a.Session), other.id)
				}
			}
			d := Done{Session: a.Session, Op: a.Op}
			if n.steering > 0 {
				n.steering--
				d.Failed, d.Detail = []ContextStatus{{FPTControl, StatusInternal}}, "the hook failed"
			}
			w.later(n, d, w.now.Add(w.net.result()), false)
		case Persist:
			w.recorded(n, a.Record)
			w.doing[simOp{n.id, a.Record.Session, a.Op}] = "persist " + a.Record.Kind.String()
			at := w.now.Add(w.net.result())
			if at.Before(n.written) {
				at = n.written
			}
			n.written, n.writing = at, append(n.writing, a.Record)
			w.later(n, Done{Session: a.Record.Session, Op: a.Op}, at, true)
		case Report:
			if a.Final && a.Ticket != 0 {
				w.finals[a.Ticket]++
				if w.finals[a.Ticket] > 1 {
					w.violation("progress: ticket %d has two final reports", a.Ticket)
				}
			}
		}
	}
}

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
		w.step(w.router(e.to), FromNode{From: e.node.endpoint, Message: m})
	case w.router(e.to).cutOff(e, m):
	default:
		w.witness(e.from, m)
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

func (w *world) err() error {
	if len(w.violations) == 0 {
		return nil
	}
	return errors.New(strings.Join(w.violations, "\n"))
}
