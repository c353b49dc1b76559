package cxtp

import (
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// groupsOnly is a session without SAs.
var (
	groupsOnly = CDB{FPT: FPTMulticastListener, Data: make([]byte, 24)}
	withKeys   = CDB{FPT: FPTIPsecSA, Data: []byte("keys")}
	plainNode  = netip.MustParseAddr("2001:db8:1::7")
	plainKey   = []byte("01234567890123456789")
	nodeAt     = netip.MustParseAddrPort("[2001:db8:1::7]:5092")
)

// plainRouter is B's machine, and A is everybody else: whatever B asks of its journal
// and its features succeeds, unless it is told otherwise.
type plainRouter struct {
	t        *testing.T
	machine  *Router
	now      time.Time
	exports  []CDB
	partial  []ContextStatus // of the next Stage
	verbs    []string        // that the features were asked for
	sent     []Message
	toNode   []Message
	reports  []Report
	manifest []ManifestEntry
}

func newPlain(t *testing.T, policy func(*Config, *Peer)) *plainRouter {
	t.Helper()
	p := &plainRouter{t: t, now: time.Unix(1000, 0), exports: []CDB{groupsOnly}}
	cfg := Config{Self: "B", Incarnation: 1, Mode: ModeLossless, Timers: DefaultTimers(), Headroom: 1,
		Addrs: []netip.Addr{netip.MustParseAddr("2001:db8::b")}, Copyable: []FPT{FPTMulticastListener},
		Inspect: func([]CDB) (Claims, error) { return Claims{}, nil },
		Peers:   []Peer{{ID: "A", Addrs: []netip.Addr{netip.MustParseAddr("2001:db8::a")}, Push: true, Plain: true, MaxSessions: 10}}}
	if policy != nil {
		policy(&cfg, &cfg.Peers[0])
	}
	var err error
	if p.machine, _, err = NewRouter(cfg, nil, nil); err != nil {
		t.Fatal(err)
	}
	return p
}

// step gives the machine an input, and carries out what follows.
func (p *plainRouter) step(in Input) {
	p.t.Helper()
	p.carryOut(p.machine.Step(p.now, in))
}

func (p *plainRouter) tick(d time.Duration) {
	p.now = p.now.Add(d)
	p.carryOut(p.machine.Tick(p.now))
}

func (p *plainRouter) carryOut(actions []Action) {
	p.t.Helper()
	for _, a := range actions {
		switch a := a.(type) {
		case Send:
			octets, err := a.Message.Append(nil)
			if err != nil {
				p.t.Fatal(err)
			}
			m, err := Decode(octets)
			if err != nil {
				p.t.Fatal(err)
			}
			p.sent = append(p.sent, m)
		case SendNode:
			p.toNode = append(p.toNode, a.Message)
		case Report:
			p.reports = append(p.reports, a)
		case Persist:
			p.step(Done{Session: a.Record.Session, Op: a.Op})
		case Steer:
			p.step(Done{Session: a.Session, Op: a.Op})
		case Do:
			p.verbs = append(p.verbs, a.Verb.String())
			done := Done{Session: a.Session, Op: a.Op}
			switch a.Verb {
			case VerbExport:
				done.Blocks, done.Manifest = cloned(p.exports), p.manifest
			case VerbStage:
				done.Partial, p.partial = p.partial, nil
			}
			p.step(done)
		}
	}
}

// said lists what was sent to A since the last time, without blocks of our own.
func (p *plainRouter) said() string {
	p.t.Helper()
	var all []string
	for _, m := range p.sent {
		line := m.Type().String()
		switch m := m.(type) {
		case *CTD:
			for _, b := range m.Blocks {
				line += fmt.Sprintf(" %#x", uint16(b.FPT))
			}
			if m.Predictive {
				line += fmt.Sprintf(" key %d", m.Key.Len())
			}
		case *CTDR:
			line += fmt.Sprintf(" S=%t%s", m.Success, statusList(m.Statuses))
		}
		all = append(all, line)
	}
	p.sent = nil
	return strings.Join(all, ", ")
}

// state is that of the only session.
func (p *plainRouter) state() string {
	switch all := p.machine.Sessions(); len(all) {
	case 0:
		return "none"
	case 1:
		return all[0].State
	default:
		return fmt.Sprintf("%d sessions", len(all))
	}
}

// gives is A giving contexts, with a key if it is predictive.
func (p *plainRouter) gives(predictive bool, blocks ...CDB) {
	p.t.Helper()
	m := &CTD{Ack: true, Predictive: predictive, Previous: plainNode, Blocks: blocks}
	if predictive {
		m.Algorithm, m.Key = AlgorithmHMACSHA1, secret.New(slices.Clone(plainKey))
	}
	p.step(FromRouter{From: "A", Message: m})
}

// asks is the node asking for its contexts at B, or at B for them to go to A.
func (p *plainRouter) asks(sequence uint32, key []byte) *CTAR {
	p.t.Helper()
	m := &CTAR{Ack: true, Previous: plainNode, Router: netip.MustParseAddr("2001:db8::a"), Sequence: sequence}
	token, err := ComputeToken(secret.New(slices.Clone(key)), plainNode, sequence, nil)
	if err != nil {
		p.t.Fatal(err)
	}
	m.Token = token
	p.step(FromNode{From: nodeAt, Message: m})
	return m
}

// TestPlainTarget takes contexts without a control block: those that may be copied.
func TestPlainTarget(t *testing.T) {
	trusting := func(_ *Config, p *Peer) { p.ActivateWithoutToken = true }
	for _, c := range []struct {
		name    string
		policy  func(*Config, *Peer)
		partial []ContextStatus
		blocks  []CDB
		said    string
		state   string
	}{
		{"taken", trusting, nil, []CDB{groupsOnly, groupsOnly}, "CTDR S=true", "active"},
		{"waits for the node", nil, nil, []CDB{groupsOnly}, "CTDR S=true", "held"},
		{"keys", trusting, nil, []CDB{withKeys}, "CTDR S=false: IPsec SA control block missing", "none"},
		{"keys beside groups", trusting, nil, []CDB{withKeys, groupsOnly}, "CTDR S=false: IPsec SA control block missing", "active"},
		{"not usable here", trusting, []ContextStatus{{FPTMulticastListener, 2}}, []CDB{groupsOnly}, "CTDR S=false: multicast listener status 0x02", "none"},
		{"nobody may", func(_ *Config, p *Peer) { p.Push = false }, nil, []CDB{groupsOnly}, "CTDR S=false: multicast listener not authorised", "none"},
		{"nothing may be copied", func(c *Config, p *Peer) { trusting(c, p); c.Copyable = nil }, nil, []CDB{groupsOnly}, "CTDR S=false: multicast listener control block missing", "none"},
		{"empty", trusting, nil, nil, "CTDR S=false", "none"},
	} {
		p := newPlain(t, c.policy)
		p.partial = c.partial
		p.gives(false, c.blocks...)
		if said, state := p.said(), p.state(); said != c.said || state != c.state {
			t.Errorf("%s: B says %q and has it %s; want %q and %s", c.name, said, state, c.said, c.state)
		}
	}
}

// TestPlainPredictive waits for the node's token, made with the PCTD's key, which is
// used up by it.
func TestPlainPredictive(t *testing.T) {
	p := newPlain(t, nil)
	p.gives(true, groupsOnly)
	if said := p.said(); said != "CTDR S=true" || p.state() != "held" {
		t.Fatalf("B says %q and has it %s", said, p.state())
	}
	p.asks(7, []byte("another key, not the one"))
	if p.state() != "held" || len(p.toNode) != 1 || len(p.toNode[0].(*CTAA).Failed) == 0 {
		t.Errorf("a wrong token: %s, %v", p.state(), p.toNode)
	}
	m := p.asks(8, plainKey)
	if said := p.said(); said != "" || p.state() != "active" || len(p.toNode) != 2 || len(p.toNode[1].(*CTAA).Failed) > 0 {
		t.Errorf("the right one: B says %q and has it %s, the node hears %v", said, p.state(), p.toNode)
	}
	p.step(FromNode{From: nodeAt, Message: m})
	if len(p.toNode) != 3 || p.said() != "" {
		t.Errorf("its repetition: %d answers", len(p.toNode))
	}
	if !slices.Equal(p.verbs, []string{"stage", "activate", "limit"}) {
		t.Errorf("the features were asked %v", p.verbs)
	}
}

// TestPlainAgain: later contexts take the place of those that wait, and never of those
// that are at work.
func TestPlainAgain(t *testing.T) {
	p := newPlain(t, nil)
	p.gives(true, groupsOnly)
	p.gives(true, groupsOnly, groupsOnly)
	if said := p.said(); !strings.HasSuffix(said, "CTDR S=true") || p.state() != "held" || !slices.Equal(p.verbs, []string{"stage", "discard", "stage"}) {
		t.Errorf("B says %q, has it %s, and asked for %v", said, p.state(), p.verbs)
	}
	p.asks(8, plainKey)
	p.gives(true, groupsOnly)
	if said := p.said(); said != "CTDR S=false: multicast listener session busy" || p.state() != "active" {
		t.Errorf("at work: B says %q and has it %s", said, p.state())
	}
}

// TestPlainHold gives up what nobody comes for.
func TestPlainHold(t *testing.T) {
	p := newPlain(t, nil)
	p.gives(true, groupsOnly)
	p.said()
	p.tick(DefaultTimers().StageHold)
	if said := p.said(); said != "CTC" || p.state() != "none" {
		t.Errorf("B says %q and has it %s", said, p.state())
	}
}

// TestPlainFetch answers a node's CTAR by asking A, and believes what A verified.
func TestPlainFetch(t *testing.T) {
	for _, predictive := range []bool{false, true} {
		p := newPlain(t, func(_ *Config, p *Peer) { p.Push = false })
		p.asks(8, plainKey)
		if said := p.said(); said != "CT-Req" {
			t.Fatalf("B says %q", said)
		}
		p.gives(predictive, groupsOnly)
		if said := p.said(); said != "CTDR S=true" || p.state() != "active" || len(p.toNode) != 1 || len(p.toNode[0].(*CTAA).Failed) > 0 {
			t.Errorf("predictive %t: B says %q, has it %s, the node hears %v", predictive, said, p.state(), p.toNode)
		}
	}
}

// TestPlainFetchWithAnotherToken: where A gives the key, it has verified nothing.
func TestPlainFetchWithAnotherToken(t *testing.T) {
	p := newPlain(t, nil)
	p.asks(8, []byte("another key, not the one"))
	p.gives(true, groupsOnly)
	if said := p.said(); said != "CT-Req, CTDR S=true" || p.state() != "held" || len(p.toNode) > 0 {
		t.Errorf("B says %q, has it %s, the node hears %v", said, p.state(), p.toNode)
	}
}

// owns gives B a session of its own.
func (p *plainRouter) owns() SessionID {
	p.t.Helper()
	id := SessionID{5}
	p.step(Adopt{Session: id, Previous: plainNode, Node: NodeState{Tokens: []NumberedKey{{1, secret.New(slices.Clone(plainKey))}}}})
	p.verbs, p.reports = nil, nil
	return id
}

// TestPlainSource gives what may be copied, and ends with it what has nothing else.
func TestPlainSource(t *testing.T) {
	order := func(p *plainRouter, id SessionID) { p.step(Handover{Session: id, To: "A", Ticket: 1}) }
	stage := func(p *plainRouter, id SessionID) {
		p.step(Handover{Session: id, To: "A", StageOnly: true, Ticket: 1})
	}
	node := func(p *plainRouter, _ SessionID) { p.asks(8, plainKey) }
	request := func(p *plainRouter, _ SessionID) {
		token, err := ComputeToken(secret.New(slices.Clone(plainKey)), plainNode, 8, nil)
		if err != nil {
			p.t.Fatal(err)
		}
		p.step(FromRouter{From: "A", Message: &CTReq{Previous: plainNode, Sequence: 8, Token: token}})
	}
	null := func(p *plainRouter, _ SessionID) {
		p.step(FromRouter{From: "A", Message: &CTReq{Previous: plainNode, Sequence: 8}})
	}
	yes, no := &CTDR{Success: true, Previous: plainNode}, &CTDR{Previous: plainNode, Statuses: []ContextStatus{{FPTMulticastListener, 2}}}
	both := []CDB{withKeys, groupsOnly}
	for _, c := range []struct {
		name    string
		exports []CDB
		begin   func(*plainRouter, SessionID)
		said    string
		reply   *CTDR
		state   string
	}{
		{"an order", []CDB{groupsOnly}, order, "PCTD 0x1 key 20", yes, "gone"},
		{"an order that is refused", []CDB{groupsOnly}, order, "PCTD 0x1 key 20", no, "active"},
		{"an order that only copies", []CDB{groupsOnly}, stage, "PCTD 0x1 key 20", yes, "active"},
		{"an order, and keys", both, order, "", nil, "active"},
		{"nothing that may be copied", []CDB{withKeys}, request, "CTD 0xfff3", nil, "active"},
		{"a node that leaves", []CDB{groupsOnly}, node, "PCTD 0x1 key 20", yes, "gone"},
		{"a node that has left", []CDB{groupsOnly}, request, "CTD 0x1", yes, "gone"},
		{"a node with keys", both, request, "CTD 0x1", yes, "active"},
		{"S without a word", []CDB{groupsOnly}, request, "CTD 0x1", &CTDR{Previous: plainNode}, "active"},
		{"the other router's wish", []CDB{groupsOnly}, null, "PCTD 0x1 key 20", yes, "active"},
		{"no answer", []CDB{groupsOnly}, request, "CTD 0x1", nil, "active"},
	} {
		p := newPlain(t, func(_ *Config, p *Peer) { p.Pull = PullStage })
		p.exports = c.exports
		c.begin(p, p.owns())
		if said := p.said(); said != c.said {
			t.Errorf("%s: B says %q, want %q", c.name, said, c.said)
		}
		if c.reply != nil {
			p.step(FromRouter{From: "A", Message: c.reply})
		} else {
			p.tick(DefaultTimers().MaxTransfer)
		}
		if said := p.said(); said != "" || p.state() != c.state {
			t.Errorf("%s: B says %q then and has it %s, want %s", c.name, said, p.state(), c.state)
		}
		if last := p.reports[len(p.reports)-1]; !last.Final {
			t.Errorf("%s: the last report is %+v", c.name, last)
		}
		released := slices.Contains(p.verbs, "release")
		if released != (c.state == "gone") || slices.Contains(p.verbs, "freeze") {
			t.Errorf("%s: the features were asked %v", c.name, p.verbs)
		}
	}
}

// TestPlainReplyIsOfItsTransfer: a CTDR from elsewhere, or at another time, ends
// nothing, and neither does an Outcome.
func TestPlainReplyIsOfItsTransfer(t *testing.T) {
	p := newPlain(t, func(c *Config, _ *Peer) {
		c.Peers = append(c.Peers, Peer{ID: "C", Addrs: []netip.Addr{netip.MustParseAddr("2001:db8::c")}})
	})
	id := p.owns()
	yes := &CTDR{Success: true, Previous: plainNode}
	p.step(FromRouter{From: "A", Message: yes})
	p.step(Handover{Session: id, To: "A", Ticket: 1})
	p.step(FromRouter{From: "C", Message: yes})
	p.step(FromRouter{From: "A", Message: &CTDR{Success: true, Previous: netip.MustParseAddr("2001:db8:1::8")}})
	p.step(FromRouter{From: "A", Message: &Outcome{Previous: plainNode, Session: id, Epoch: 1, Incarnation: 9, State: OutcomeStaged, Go: true}})
	if p.state() != "staging" {
		t.Errorf("the session is %s", p.state())
	}
}

// TestPlainPeerIsNoStandby: it could not say what it has taken over.
func TestPlainPeerIsNoStandby(t *testing.T) {
	p := newPlain(t, nil)
	id := p.owns()
	p.step(Standby{Session: id, To: "A", Ticket: 1})
	if said := p.said(); said != "" || p.state() != "active" {
		t.Errorf("B says %q and has it %s", said, p.state())
	}
}

// TestPlainKeyOfNobody: without a token key, a PCTD has one that is drawn for it, and
// without random numbers nothing is sent.
func TestPlainKeyOfNobody(t *testing.T) {
	for _, c := range []struct {
		name   string
		random io.Reader
		said   string
	}{
		{"drawn", strings.NewReader(strings.Repeat("x", 100)), "PCTD 0x1 key 20"},
		{"no source", nil, ""},
		{"a source that ends", strings.NewReader(strings.Repeat("x", 32)), ""}, // its seed
	} {
		p := newPlain(t, func(cfg *Config, _ *Peer) { cfg.Rand = c.random })
		id := SessionID{5}
		p.step(Adopt{Session: id, Previous: plainNode})
		p.step(Handover{Session: id, To: "A", Ticket: 1})
		if said := p.said(); said != c.said {
			t.Errorf("%s: B says %q, want %q", c.name, said, c.said)
		}
		if last := p.reports[len(p.reports)-1]; c.said == "" && (last.Event != EventFailed || !last.Final || p.state() != "active") {
			t.Errorf("%s: %s, and the last report is %+v", c.name, p.state(), last)
		}
	}
}
