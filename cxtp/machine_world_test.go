package cxtp

import (
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
	fenced               bool              // some gateway was, and what it had agreed with nodes is gone
	cut                  map[RouterID]bool // for good
	usurped              bool              // a gateway of the past has used a node's keys
	doing                map[simOp]string  // what the operations under way are, for people
	plain                simPlain

	lastSPI    uint32        // given by a router
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
	id        RouterID
	cfg       Config
	machine   *Router
	life      int // restarts
	booted    time.Time
	sad       map[SessionID]*simSA
	listeners map[SessionID]*simListener
	fail      map[Verb]Status
	stalled   map[Verb]bool // not begun before the next crash
	frozenAt  map[SessionID]time.Time
	steering  int // Steers still to fail

	conflicts  map[SessionID]bool  // whose SPIs others have here
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
	spi      uint32            // what it sends on
	gap      bool              // a gateway died with its windows
	asked    uint32            // sequence number of the last CTAR
	signed   map[uint32]simKey // what its CTARs were made with, by sequence number
	strong   bool              // its tokens are
	groups   bool              // it has multicast groups too
	listener bool              // it has nothing else
	types    []FPT             // what its next request asks for; nil = everything
}

var epochZero = time.Unix(1_000_000, 0)

func newWorld(t testing.TB, net network, ids ...RouterID) *world {
	w := &world{
		t: t, now: epochZero, net: net, random: rand.NewChaCha8([32]byte{}),
		sessions: map[SessionID]*simSession{}, activated: map[simRef]RouterID{}, stagedFrom: map[simRef]RouterID{}, proved: map[simRef]bool{},
		lastSPI: simSPI, orders: map[simWay]int{}, tokens: map[simWay]int{}, doing: map[simOp]string{}, asked: map[simAsk]bool{}, stagedAt: map[simRef]RouterID{}, named: map[simWay]bool{}, liars: map[RouterID]bool{}, cut: map[RouterID]bool{}, fetched: map[simFetch]bool{}, finals: map[Ticket]int{}, opened: map[Ticket]RouterID{}, plain: newSimPlain(),
	}
	for i, id := range ids {
		n := &simRouter{id: id, conflicts: map[SessionID]bool{}, cfg: Config{
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
		w.plain.on = w.plain.on || len(n.cfg.Copyable) > 0
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
	for _, id := range slices.Concat(w.order, w.plain.order) {
		if c := n.listeners[id]; c != nil {
			held = append(held, Held{Session: id, State: c.held()})
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
	n.listeners = map[SessionID]*simListener{}
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
		id: SessionID{byte(i)}, name: name, key: "key of " + name, spi: simSPI, sent: map[uint64]RouterID{}, signed: map[uint32]simKey{}, strong: strong,
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
	if ses.listener {
		w.listen(n, ses)
		w.step(n, Adopt{Session: ses.id, Previous: ses.at, Node: w.nodeState(ses, tokens, agent)})
		return
	}
	n.sad[ses.id] = &simSA{state: saActive, spi: simSPI, key: ses.key, contexts: []CDB{
		{FPT: FPTIPsecSession, Data: simText(ses.claims, n.cfg.Gateway4)},
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
		w.named[simWay{w.own(in.Session), id, in.To}] = true
		if !in.StageOnly {
			w.orders[simWay{w.own(in.Session), id, in.To}]++
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
		w.named[simWay{w.own(in.Session), id, in.To}] = true
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
	w.plainly(n)
	w.waitsOn(n, in)
	w.traffic()
}

func (w *world) carry(n *simRouter, actions []Action) {
	w.christen(n)
	for _, a := range actions {
		w.printf("  %s", w.action(a))
		switch a := a.(type) {
		case Send:
			w.sends(n, a)
			w.send(n.id, a.To, nil, a.Message)
		case SendNode:
			node := w.nodeAt(a.To)
			if _, answer := a.Message.(*CTAA); answer && node != nil && a.From != w.addrOf(n.id) {
				w.violation("%s is answered from %s, which it has not asked", node.name, a.From)
			}
			w.send(n.id, "", node, a.Message)
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
			w.copied(n, a)
			if a.Final && a.Ticket != 0 {
				w.finals[a.Ticket]++
				if w.finals[a.Ticket] > 1 {
					w.violation("progress: ticket %d has two final reports", a.Ticket)
				}
			}
		}
	}
}

func (w *world) err() error {
	if len(w.violations) == 0 {
		return nil
	}
	return errors.New(strings.Join(w.violations, "\n"))
}
