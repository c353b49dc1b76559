package cxtp

import (
	"io"
	"net/netip"
	"slices"
	"time"
)

// AgentConfig is what the agent of a mobile node knows.
type AgentConfig struct {
	Previous netip.Addr // the address that CXTP messages know this node by
	Session  SessionID  // which session updates must name
	Node     NodeState  // as it was provisioned; Agent is not used. The agent copies the keys
	State    AgentState // where an earlier run ended; zero = nowhere
	Retry    time.Duration
	RetryMax time.Duration
	Rand     io.Reader // of a node that makes strong tokens: for its next keys
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
	cfg       AgentConfig
	keys      agentKeys
	before    *agentKeys // what the input under way has replaced; see Unfollow
	nextToken uint32
	last      usedKey
	revision  uint64
	asking    *asking
	out       []AgentAction
}

// asking is a CTAR that has not been answered.
type asking struct {
	Ask
	message  *CTAR
	fellBack bool            // it was made a second time, with a key of another generation
	failed   []ContextStatus // what a router without resources has answered
	retryAt  time.Time
	wait     time.Duration
	giveUpAt time.Time
}

// Ask is a request for a move (RFC 4067 section 2.5.1). A predictive one is made
// twice, at the pAR and then at the nAR, with the same sequence number.
type Ask struct {
	To       netip.AddrPort // where the router that is asked takes messages from nodes
	At       netip.Addr     // its address in CXTP messages
	Naming   netip.Addr     // the other router's
	Role     Role           // RoleLeaving at the pAR, RoleArriving at the nAR
	Sequence uint32         // random, and not used in the last 7 s (section 3.2)
	Types    []FPT          // the context types wanted; nil = everything
}

// AgentAction is one of the types below.
type AgentAction interface{ agentAction() }

// AgentSend sends a message to a router.
type AgentSend struct {
	To      netip.AddrPort
	Message Message
}

// AgentFollow points the node's outbound SAs at another gateway, gives them the
// SPIs that they have there, and lets its inbound SAs go on above the floors. It
// comes before the acknowledgement, which says that it was done. The lists are
// those of the message received, and what it takes back.
type AgentFollow struct {
	Gateway netip.AddrPort
	Number  uint64
	SPIs    []SPIChange     // each for the SA that has the old SPI, if there is one
	Floors  []SequenceFloor // each for an SA that is behind it
}

// AgentAnswered ends a request. Failed are the contexts that were not
// transferred: none of them where [FPTControl] is among these, and otherwise all
// but these. TimedOut means that nobody answered before CT_RETRY_MAX. A router
// that answers that it has no resources is asked again until then.
type AgentAnswered struct {
	Sequence uint32
	Failed   []ContextStatus
	TimedOut bool
}

// Moved reports whether the answer is a success, in part at least.
func (a AgentAnswered) Moved() bool { return !a.TimedOut && !slices.ContainsFunc(a.Failed, ofAll) }

// ofAll reports whether a status is of the transfer as a whole.
func ofAll(st ContextStatus) bool { return st.FPT == FPTControl }

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
	a := &Agent{cfg: cfg}
	a.restore(cfg.State)
	return a
}

// Request asks a router for a move. The second half of a predictive request is
// told by its sequence number, and uses the same token key. ok is false when no
// key is left.
func (a *Agent) Request(now time.Time, ask Ask) (actions []AgentAction, ok bool) {
	a.begin()
	if !a.takeKey(ask.Sequence) {
		return nil, false
	}
	m, err := a.ctar(ask)
	if err != nil {
		return nil, false
	}
	a.asking = &asking{Ask: ask, message: m, wait: a.cfg.Retry, retryAt: now.Add(a.cfg.Retry), giveUpAt: now.Add(a.cfg.RetryMax)}
	a.send(ask.To, m)
	return a.out, true
}

// ctar makes the message of a request, with the key that was taken for it.
func (a *Agent) ctar(ask Ask) (*CTAR, error) {
	m := &CTAR{Ack: true, Previous: a.cfg.Previous, Router: ask.Naming, Sequence: ask.Sequence,
		Requests: []CDB{SessionNameBlock(a.cfg.Session)}}
	for _, t := range ask.Types {
		m.Requests = append(m.Requests, CDB{FPT: t})
	}
	var err error
	if !a.cfg.Node.strong() {
		m.Token, err = ComputeToken(a.last.key.Key, m.Previous, m.Sequence, m.Requests)
		return m, err
	}
	t := StrongToken{Role: ask.Role, Generation: a.last.generation, KeyNumber: a.last.key.Number, PAR: ask.At, NAR: ask.Naming}
	if ask.Role == RoleArriving {
		t.PAR, t.NAR = t.NAR, t.PAR
	}
	if err = t.Sign(a.last.key.Key, Signed{a.cfg.Session, m.Previous, m.Sequence, m.Requests}); err != nil {
		return nil, err
	}
	block, err := t.Block()
	m.Token, m.Requests = t.Token(), append(m.Requests, block)
	return m, err
}

// Receive takes a message from a router.
func (a *Agent) Receive(from netip.AddrPort, m Message) []AgentAction {
	a.begin()
	switch m := m.(type) {
	case *CTAA:
		if q := a.asking; q != nil && m.Previous == a.cfg.Previous && from == q.To {
			a.answered(q, m.Failed)
		}
	case *Update:
		a.update(from, m)
	}
	return a.out
}

// answered ends a request, unless the answer is one after which to ask again.
func (a *Agent) answered(q *asking, failed []ContextStatus) {
	switch {
	case has(failed, StatusUnknownKey) && a.fallBack(q):
	case has(failed, StatusNoResources):
		q.failed = slices.Clone(failed) // it may have some when the request is repeated
	default:
		a.out = append(a.out, AgentAnswered{Sequence: q.Sequence, Failed: slices.Clone(failed)})
		a.asking = nil
	}
}

// has reports whether a transfer as a whole has a status.
func has(statuses []ContextStatus, st Status) bool {
	return slices.ContainsFunc(statuses, func(s ContextStatus) bool { return ofAll(s) && s.Status == st })
}

// fallBack makes a request once more, with a key of the other generation, when
// the router has not got the first: our last acknowledgement was lost, and the
// gateway has gone on with the older keys.
func (a *Agent) fallBack(q *asking) bool {
	if q.fellBack || !a.takeOtherKey(q.Sequence) {
		return false
	}
	m, err := a.ctar(q.Ask)
	if err != nil {
		return false
	}
	q.message, q.fellBack = m, true
	a.send(q.To, m)
	return true
}

// Tick repeats a request that nobody answered, doubling the wait, or ends it.
func (a *Agent) Tick(now time.Time) []AgentAction {
	a.begin()
	q := a.asking
	switch {
	case q == nil:
	case !now.Before(q.giveUpAt):
		a.asking = nil
		a.out = append(a.out, AgentAnswered{Sequence: q.Sequence, Failed: q.failed, TimedOut: q.failed == nil})
	case due(q.retryAt, now):
		q.wait *= 2
		q.retryAt = now.Add(q.wait)
		a.send(q.To, q.message)
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

// Abandon ends a request whose answer nobody waits for any more: it is not
// repeated. Its token key stays used, because it may have been sent.
func (a *Agent) Abandon() { a.asking = nil }

// begin begins an input: what the one before has replaced cannot come back.
func (a *Agent) begin() {
	a.out = nil
	a.Forget()
}

func (a *Agent) send(to netip.AddrPort, m Message) {
	a.out = append(a.out, AgentSend{To: to, Message: m})
}
