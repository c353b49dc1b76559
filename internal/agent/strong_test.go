package agent

import (
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/transport"
)

// site is two access routers' machines, whose features always succeed at once.
// They talk to each other in memory, and to the node over UDP.
type site struct {
	t       *testing.T
	mu      sync.Mutex // of everything: the UDP sockets have goroutines of their own
	routers map[cxtp.RouterID]*siteRouter
	queue   []func()
	tell    chan cxtp.Event // what the routers report
	lossy   bool            // acknowledgements of the node are lost
	ahead   time.Duration   // of the clock
}

type siteRouter struct {
	id      cxtp.RouterID
	machine *cxtp.Router
	wire    *transport.NodeConn
}

func strongKey(text string) secret.Key {
	return secret.New([]byte(text + " of thirty-two octets and more"))
}

func strongNode(agent netip.AddrPort) cxtp.NodeState {
	return cxtp.NodeState{
		Algorithm: cxtp.AlgorithmHMACSHA256, Agent: agent, UpdateKey: strongKey("update key"),
		Tokens: []cxtp.NumberedKey{{Number: 1, Key: strongKey("token key 1")}, {Number: 2, Key: strongKey("token key 2")}},
	}
}

func newSite(t *testing.T) *site {
	s := &site{t: t, routers: map[cxtp.RouterID]*siteRouter{}, tell: make(chan cxtp.Event, 1000)}
	timers := cxtp.DefaultTimers()
	timers.Grace, timers.MaxTransfer = 0, time.Minute
	for i, at := range []netip.Addr{pAR, nAR} {
		ids, other := []cxtp.RouterID{"pAR", "nAR"}, []netip.Addr{nAR, pAR}[i]
		r := &siteRouter{id: ids[i]}
		var err error
		if r.machine, _, err = cxtp.NewRouter(cxtp.Config{
			Self: r.id, Addrs: []netip.Addr{at}, Incarnation: 1, Timers: timers, Mode: cxtp.ModeLossless,
			Gateway4: netip.AddrPortFrom(at, 4500), Rand: zeros{},
			Inspect: func([]cxtp.CDB) (cxtp.Claims, error) { return cxtp.Claims{}, nil },
			Peers:   []cxtp.Peer{{ID: ids[1-i], Addrs: []netip.Addr{other}}},
		}, nil, nil); err != nil {
			t.Fatal(err)
		}
		if r.wire, err = transport.ListenNode("127.0.0.1:0", func(from netip.AddrPort, text []byte) { s.fromNode(r, from, text) }); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.wire.Close() })
		s.routers[r.id] = r
	}
	return s
}

// zeros is randomness that is the same in every run, and different in every key:
// the machine has no other use for it here.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	counter.Lock()
	defer counter.Unlock()
	counter.n++
	clear(b)
	b[0] = counter.n
	return len(b), nil
}

var counter struct {
	sync.Mutex
	n byte
}

func (s *site) fromNode(r *siteRouter, from netip.AddrPort, text []byte) {
	m, err := cxtp.Decode(append([]byte(nil), text...))
	if err != nil {
		s.t.Errorf("the agent sent what cannot be decoded: %v", err)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.Type() == cxtp.TypeUpdateAck && s.lossy {
		return
	}
	s.step(r, cxtp.FromNode{From: from, Message: m})
}

// order gives a router an input, and runs until nothing is left to do.
func (s *site) order(at cxtp.RouterID, in cxtp.Input) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.step(s.routers[at], in)
}

func (s *site) step(r *siteRouter, in cxtp.Input) {
	s.carryOut(r, r.machine.Step(s.now(), in))
	s.run()
}

func (s *site) run() {
	for len(s.queue) > 0 {
		next := s.queue[0]
		s.queue = s.queue[1:]
		next()
	}
}

// skip lets time pass for both routers, and ends the loss of acknowledgements.
func (s *site) skip(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead += d
	for _, r := range s.routers {
		s.carryOut(r, r.machine.Tick(s.now()))
		s.run()
	}
	s.lossy = false
}

func (s *site) now() time.Time { return time.Now().Add(s.ahead) }

func (s *site) carryOut(r *siteRouter, actions []cxtp.Action) {
	done := func(session cxtp.SessionID, op cxtp.OpID) {
		s.queue = append(s.queue, func() {
			s.carryOut(r, r.machine.Step(s.now(), cxtp.Done{Session: session, Op: op}))
		})
	}
	for _, a := range actions {
		switch a := a.(type) {
		case cxtp.Send:
			m := s.copied(a.Message)
			s.queue = append(s.queue, func() {
				to := s.routers[a.To]
				s.carryOut(to, to.machine.Step(s.now(), cxtp.FromRouter{From: r.id, Message: m}))
			})
		case cxtp.SendNode:
			text, err := a.Message.Append(nil)
			if err == nil {
				err = r.wire.Send(a.To, text)
			}
			if err != nil {
				s.t.Error(err)
			}
		case cxtp.Do:
			done(a.Session, a.Op)
		case cxtp.Steer:
			done(a.Session, a.Op)
		case cxtp.Persist:
			done(a.Record.Session, a.Op)
		case cxtp.Report:
			s.tell <- a.Event
		}
	}
}

// copied is a message as another router gets it.
func (s *site) copied(m cxtp.Message) cxtp.Message {
	text, err := m.Append(nil)
	if err != nil {
		s.t.Fatal(err)
	}
	again, err := cxtp.Decode(text)
	if err != nil {
		s.t.Fatal(err)
	}
	return again
}

// await waits until a router has reported something.
func (s *site) await(want cxtp.Event) {
	s.t.Helper()
	for got := range s.tell {
		if got == want {
			return
		}
	}
}

// life is a run of the node's agent, which keeps its state from run to run.
type life struct {
	mu       sync.Mutex
	kept     cxtp.AgentState
	followed []netip.AddrPort
}

func (l *life) start(t *testing.T, s *site, listen string) *Agent {
	a, err := New(Config{
		Listen:  listen,
		Routers: map[netip.Addr]netip.AddrPort{pAR: s.routers["pAR"].wire.LocalAddr(), nAR: s.routers["nAR"].wire.LocalAddr()},
		Agent: cxtp.AgentConfig{Previous: node, Session: session, Node: strongNode(netip.AddrPort{}), State: l.kept,
			Retry: time.Minute, RetryMax: time.Hour},
		Follow: func(f cxtp.AgentFollow) error {
			to := f.Gateway
			l.followed = append(l.followed, to)
			return nil
		},
		Save: func(kept cxtp.AgentState) error {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.kept = kept
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func success(t *testing.T, got outcome) {
	t.Helper()
	if got.err != nil || got.TimedOut || len(got.Failed) > 0 {
		t.Fatalf("got %+v", got)
	}
}

// TestStrongNode moves a node with strong tokens there and back, over UDP: with
// the keys that it was given, with those that it has agreed on since, and again
// after a restart of the agent.
func TestStrongNode(t *testing.T) {
	s := newSite(t)
	var l life
	a := l.start(t, s, "127.0.0.1:0")
	at := a.LocalAddr()
	s.order("pAR", cxtp.Adopt{Session: session, Previous: node, Node: strongNode(at)})
	s.await(cxtp.EventAdopted)
	for i, way := range [][2]netip.Addr{{pAR, nAR}, {nAR, pAR}, {pAR, nAR}} {
		done := make(chan error)
		go func() { done <- a.Run(t.Context()) }()
		success(t, <-ask(t.Context(), a, way[1], way[0], 0))
		s.await(cxtp.EventClosed) // at both, in either order
		s.await(cxtp.EventClosed)
		// What the agent sends, it has saved; both have agreed by now, or the next
		// request is refused.
		a.Close()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if l.kept.Number != uint64(i+1) || l.kept.Next == nil && l.kept.Current == nil {
			t.Errorf("after move %d the agent has kept %+v", i+1, l.kept)
		}
		if len(l.followed) != i+1 || l.followed[i].Addr() != way[1] {
			t.Errorf("after move %d the node has followed %v", i+1, l.followed)
		}
		a = l.start(t, s, at.String())
	}
	a.Close()
}

// TestStrongNodeFallsBack loses every acknowledgement of the first move: the
// gateway has the provisioned keys still, and the node finds out.
func TestStrongNodeFallsBack(t *testing.T) {
	s := newSite(t)
	s.lossy = true
	var l life
	a := l.start(t, s, "127.0.0.1:0")
	runAgent(t, a)
	s.order("pAR", cxtp.Adopt{Session: session, Previous: node, Node: strongNode(a.LocalAddr())})
	success(t, <-ask(t.Context(), a, nAR, pAR, 0))
	s.skip(time.Minute) // nobody waits for the acknowledgement any more
	s.await(cxtp.EventClosed)
	s.await(cxtp.EventClosed)
	success(t, <-ask(t.Context(), a, pAR, nAR, 0))
	s.await(cxtp.EventSteered)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.kept.NextToken != 3 {
		t.Errorf("the next provisioned token key is %d: the second request was not made with key 2", l.kept.NextToken)
	}
}
