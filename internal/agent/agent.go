// Package agent runs the program on a mobile node that asks routers for a move
// and follows its gateway: the pure machine [cxtp.Agent] with a socket, a clock,
// and the two things that it leaves to its caller, pointing the node's
// outbound SAs at another gateway and keeping its state where the next run
// finds it.
//
// One goroutine, [Agent.Run], owns the machine. Everything else hands work to
// it over channels.
package agent

import (
	"cmp"
	"context"
	cryptorand "crypto/rand"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/transport"
)

// ErrClosed says that the agent was closed, or that its Run has ended.
var ErrClosed = errors.New("the node's agent is closed")

// ErrNoToken says that a request could not be authorised.
var ErrNoToken = errors.New("no token key is left for a request: give the node new ones, by a new session or from its operator")

// Config is what an agent runs with.
type Config struct {
	Listen  string                        // UDP address, "0.0.0.0:5092"; may be empty with ICMP
	ICMP    bool                          // routers are asked by ICMP, and may send updates by it
	Routers map[netip.Addr]netip.AddrPort // a router's address in CXTP messages, and its UDP endpoint for nodes
	Agent   cxtp.AgentConfig
	Types   []cxtp.FPT // the context types that a request asks for; nil = everything

	// Follow points the node's outbound SAs at another gateway, on the SPIs that
	// they have there, and raises inbound ones to their floors. It is called
	// before the acknowledgement is sent; an error suppresses that, so that the
	// router repeats the update. It must be idempotent, and nothing else happens
	// before it returns.
	Follow func(cxtp.AgentFollow) error

	// Save makes the machine's state durable: before a token is used, and before
	// an update is acknowledged, of which an error keeps the agent. The state has
	// keys, which are the agent's again when Save returns. May be nil, for a
	// session that does not outlive the process.
	Save func(cxtp.AgentState) error

	// Trace tells what is sent and received, and what was dropped and why; no
	// secrets. dir is "send", "receive" or "drop". May be nil.
	Trace func(dir, what string, peer netip.AddrPort)
}

// Agent is a running agent.
type Agent struct {
	cfg      Config
	conn     *transport.NodeConn
	in       chan transport.NodeMessage
	requests chan *request
	closed   chan struct{}
	once     sync.Once

	// The rest belongs to Run.
	machine   *cxtp.Agent
	saved     uint64   // the revision of the state that Save has kept
	waiting   *request // asked and not answered; another one waits for its turn
	sequences *cxtp.Sequences
}

type request struct {
	cxtp.Ask
	ctx    context.Context
	answer chan answer // has room for one: Run never waits
}

type answer struct {
	cxtp.AgentAnswered
	err error
}

// New opens the agent's socket. Nothing is answered before [Agent.Run].
func New(cfg Config) (*Agent, error) {
	switch {
	case cfg.Follow == nil:
		return nil, errors.New("failed to start the node's agent: no way to follow its gateway was given")
	case !cfg.Agent.Previous.IsValid():
		return nil, errors.New("failed to start the node's agent: the address that routers know the node by is missing")
	case cfg.Agent.Session.IsZero():
		return nil, errors.New("failed to start the node's agent: the session id is missing")
	}
	cfg.Agent.Previous = cfg.Agent.Previous.Unmap()
	cfg.Agent.Rand = cmp.Or[io.Reader](cfg.Agent.Rand, cryptorand.Reader)
	machine := cxtp.NewAgent(cfg.Agent)
	a := &Agent{
		cfg:       cfg,
		in:        make(chan transport.NodeMessage),
		requests:  make(chan *request),
		closed:    make(chan struct{}),
		machine:   machine,
		saved:     machine.Revision(),
		sequences: cxtp.NewSequences(rand.Uint32),
	}
	conn, err := transport.ListenNodes(transport.NodeConfig{Listen: cfg.Listen, ICMP: cfg.ICMP, Handler: func(m transport.NodeMessage) {
		select {
		case a.in <- m:
		case <-a.closed:
		}
	}})
	if err != nil {
		return nil, err
	}
	a.conn = conn
	return a, nil
}

// LocalAddr is where routers reach the agent by UDP; not valid where they do not.
func (a *Agent) LocalAddr() netip.AddrPort { return a.conn.LocalAddr() }

// Close ends Run and every Request, and frees the socket.
func (a *Agent) Close() error {
	var err error
	a.once.Do(func() {
		close(a.closed)
		err = a.conn.Close()
	})
	return err
}

// Run does the agent's work until ctx ends or the agent is closed, and closes
// it. It is called once.
func (a *Agent) Run(ctx context.Context) error {
	defer a.Close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		requests, abandoned, tick := a.requests, (<-chan struct{})(nil), (<-chan time.Time)(nil)
		if a.waiting != nil {
			requests, abandoned = nil, a.waiting.ctx.Done()
		}
		if deadline := a.machine.Deadline(); !deadline.IsZero() {
			timer.Reset(time.Until(deadline))
			tick = timer.C
		}
		select {
		case <-ctx.Done():
			return nil
		case <-a.closed:
			return nil
		case m := <-a.in:
			a.receive(m.From, m.Octets)
		case q := <-requests:
			a.begin(q)
		case <-abandoned:
			a.machine.Abandon()
			a.waiting = nil
		case <-tick:
			a.carryOut(a.machine.Tick(time.Now()))
		}
	}
}

func (a *Agent) receive(from netip.AddrPort, text []byte) {
	m, err := cxtp.Decode(text)
	if err != nil {
		a.trace("drop", err.Error(), from)
		return
	}
	a.trace("receive", m.Type().String(), from)
	if err := a.carryOut(a.machine.Receive(from, m)); err != nil {
		a.machine.Unfollow()
		a.trace("drop", err.Error(), from)
	}
	a.machine.Forget()
}

// carryOut does what the machine says, in its order, up to the first failure:
// what comes after a failure relies on it.
func (a *Agent) carryOut(actions []cxtp.AgentAction) error {
	for _, action := range actions {
		switch action := action.(type) {
		case cxtp.AgentFollow:
			if err := a.cfg.Follow(action); err != nil {
				return fmt.Errorf("failed to follow the gateway to %s: %w", action.Gateway, err)
			}
		case cxtp.AgentSend:
			if err := a.send(action); err != nil {
				return err
			}
		case cxtp.AgentAnswered:
			a.finish(answer{AgentAnswered: action})
		}
	}
	return nil
}

// send sends a message once the state that it discloses is durable. A network
// that fails to take it is no failure: the message is repeated. A message that is
// no single packet would fail each time (RFC 4067 section 3.2).
func (a *Agent) send(action cxtp.AgentSend) error {
	text, err := action.Message.Append(nil)
	if err != nil {
		return fmt.Errorf("failed to encode a %s: %w", action.Message.Type(), err)
	}
	if len(text) > transport.MaxNodeMessage {
		return fmt.Errorf("%w: a %s of %d octets does not fit into one packet, which has %d: ask for fewer context types",
			transport.ErrMessageSize, action.Message.Type(), len(text), transport.MaxNodeMessage)
	}
	if err := a.save(); err != nil {
		return err
	}
	a.trace("send", action.Message.Type().String(), action.To)
	if err := a.conn.Send(action.To, text); err != nil {
		a.trace("drop", err.Error(), action.To)
	}
	return nil
}

func (a *Agent) save() error {
	now := a.machine.Revision()
	if now == a.saved {
		return nil
	}
	if a.cfg.Save != nil {
		if err := a.cfg.Save(a.machine.State()); err != nil {
			return fmt.Errorf("failed to keep the state of the node's agent: %w", err)
		}
	}
	a.saved = now
	return nil
}

func (a *Agent) finish(with answer) {
	if a.waiting != nil {
		a.waiting.answer <- with
		a.waiting = nil
	}
}

func (a *Agent) trace(dir, what string, peer netip.AddrPort) {
	if a.cfg.Trace != nil {
		a.cfg.Trace(dir, what, peer)
	}
}
