package cxtp

import (
	"net/netip"
	"slices"
	"time"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// AgentConfig is what the agent of a mobile node knows.
type AgentConfig struct {
	Previous  netip.Addr // the address that CXTP messages know this node by
	Session   SessionID  // which session updates must name
	Node      NodeState  // Tokens and UpdateKey; Agent is not used
	Number    uint64     // the highest update number accepted so far
	Retry     time.Duration
	RetryMax  time.Duration
	NextToken uint32 // the number of the first token key not used yet
}

// RFC 4067 section 4: the first wait before a CTAR is sent again, doubled each
// time, and when to stop.
const (
	DefaultRequestRetry = 2 * time.Second
	DefaultRetryMax     = 15 * time.Second
)

// Agent is the machine of the mobile node: it asks for a move, and follows its
// gateway. Like [Router] it is pure: its SendNode actions go to the routers.
type Agent struct {
	cfg     AgentConfig
	asking  *asking
	lastKey struct {
		sequence uint32
		key      secret.Key
		valid    bool
	}
	out []AgentAction
}

// asking is a CTAR that has not been answered.
type asking struct {
	to       netip.AddrPort
	message  *CTAR
	retryAt  time.Time
	wait     time.Duration
	giveUpAt time.Time
}

// AgentAction is one of the types below.
type AgentAction interface{ agentAction() }

// AgentSend sends a message to a router.
type AgentSend struct {
	To      netip.AddrPort
	Message Message
}

// AgentFollow points the node's outbound SAs at another gateway. It comes
// before the acknowledgement, which says that it was done.
type AgentFollow struct {
	Gateway netip.AddrPort
	Number  uint64
}

// AgentAnswered ends a request. No Failed means success; TimedOut means that
// nobody answered before CT_RETRY_MAX.
type AgentAnswered struct {
	Sequence uint32
	Failed   []ContextStatus
	TimedOut bool
}

func (AgentSend) agentAction()     {}
func (AgentFollow) agentAction()   {}
func (AgentAnswered) agentAction() {}

// NewAgent makes a node's machine.
func NewAgent(cfg AgentConfig) *Agent {
	if cfg.Retry == 0 {
		cfg.Retry = DefaultRequestRetry
	}
	if cfg.RetryMax == 0 {
		cfg.RetryMax = DefaultRetryMax
	}
	return &Agent{cfg: cfg}
}

// NextToken is the number of the first token key that has not been used: to be
// kept where the next run of the agent finds it.
func (a *Agent) NextToken() uint32 { return a.cfg.NextToken }

// Number is the highest update number accepted: to be kept likewise.
func (a *Agent) Number() uint64 { return a.cfg.Number }

// Request asks the router at an endpoint for a move: router is the other access
// router's address, sequence is random and was not used in the last 7 s (RFC
// 4067 section 3.2). A predictive request is made twice, at the pAR naming the
// nAR and at the nAR naming the pAR, with the same sequence number: the second
// is told by it and uses the same token key. ok is false when no key is left.
func (a *Agent) Request(now time.Time, to netip.AddrPort, router netip.Addr, sequence uint32) (actions []AgentAction, ok bool) {
	key, ok := a.key(sequence)
	if !ok {
		return nil, false
	}
	requests := []CDB{SessionNameBlock(a.cfg.Session)}
	token, err := ComputeToken(key, a.cfg.Previous, sequence, requests)
	if err != nil {
		return nil, false
	}
	a.out = nil
	a.asking = &asking{
		to: to, wait: a.cfg.Retry, retryAt: now.Add(a.cfg.Retry), giveUpAt: now.Add(a.cfg.RetryMax),
		message: &CTAR{Ack: true, Previous: a.cfg.Previous, Router: router, Sequence: sequence, Token: token, Requests: requests},
	}
	a.send(to, a.asking.message)
	return a.out, true
}

// key is the token key of a request: a fresh one, or for the second half of a
// predictive request the one of its first half.
func (a *Agent) key(sequence uint32) (k secret.Key, ok bool) {
	if a.lastKey.sequence == sequence && a.lastKey.valid {
		return a.lastKey.key, true
	}
	i := slices.IndexFunc(a.cfg.Node.Tokens, func(t NumberedKey) bool { return t.Number >= a.cfg.NextToken })
	if i < 0 {
		return k, false
	}
	t := a.cfg.Node.Tokens[i]
	a.cfg.NextToken = t.Number + 1
	a.lastKey.sequence, a.lastKey.key, a.lastKey.valid = sequence, t.Key, true
	return t.Key, true
}

// Receive takes a message from a router.
func (a *Agent) Receive(from netip.AddrPort, m Message) []AgentAction {
	a.out = nil
	switch m := m.(type) {
	case *CTAA:
		if a.asking != nil && m.Previous == a.cfg.Previous && from == a.asking.to {
			a.out = append(a.out, AgentAnswered{Sequence: a.asking.message.Sequence, Failed: slices.Clone(m.Failed)})
			a.asking = nil
		}
	case *Update:
		a.update(from, m)
	}
	return a.out
}

// update follows, once, an update that proves itself; a repeated one is
// acknowledged again, because our acknowledgement may have been lost.
func (a *Agent) update(from netip.AddrPort, u *Update) {
	if u.Session != a.cfg.Session || u.Number < a.cfg.Number || !u.Verify(a.cfg.Node.UpdateKey) {
		return
	}
	if u.Number > a.cfg.Number {
		a.cfg.Number = u.Number
		a.out = append(a.out, AgentFollow{Gateway: u.Gateway, Number: u.Number})
	}
	ack := &UpdateAck{Previous: a.cfg.Previous, Session: a.cfg.Session, Number: u.Number}
	if err := ack.Sign(a.cfg.Node.UpdateKey); err == nil {
		a.send(from, ack)
	}
}

// Tick repeats a request that nobody answered, doubling the wait, or ends it.
func (a *Agent) Tick(now time.Time) []AgentAction {
	a.out = nil
	q := a.asking
	switch {
	case q == nil:
	case !now.Before(q.giveUpAt):
		a.asking = nil
		a.out = append(a.out, AgentAnswered{Sequence: q.message.Sequence, TimedOut: true})
	case due(q.retryAt, now):
		q.wait *= 2
		q.retryAt = now.Add(q.wait)
		a.send(q.to, q.message)
	}
	return a.out
}

// Deadline is when Tick has something to do next; zero = not before a request.
func (a *Agent) Deadline() time.Time {
	if a.asking == nil {
		return time.Time{}
	}
	return earlier(a.asking.retryAt, a.asking.giveUpAt)
}

func (a *Agent) send(to netip.AddrPort, m Message) {
	a.out = append(a.out, AgentSend{To: to, Message: m})
}
