package agent

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/transport"
)

var (
	node      = netip.MustParseAddr("192.0.2.10")
	pAR       = netip.MustParseAddr("198.51.100.1")
	nAR       = netip.MustParseAddr("198.51.100.2")
	session   = cxtp.SessionID{1, 2, 3}
	updateKey = secret.New([]byte("update key"))
	gateway   = netip.MustParseAddrPort("203.0.113.2:4500")
)

func tokenKey(number uint32) secret.Key { return secret.New([]byte{'t', byte(number)}) }

// router is the other end of the agent's datagrams.
type router struct {
	*transport.NodeConn
	t  *testing.T
	in chan received
}

type received struct {
	from    netip.AddrPort
	text    []byte
	message cxtp.Message
}

func newRouter(t *testing.T) *router {
	r := &router{t: t, in: make(chan received, 100)}
	conn, err := transport.ListenNode("127.0.0.1:0", func(from netip.AddrPort, text []byte) {
		m, err := cxtp.Decode(text)
		if err != nil {
			t.Errorf("the agent sent what cannot be decoded: %v", err)
		}
		r.in <- received{from, text, m}
	})
	if err != nil {
		t.Fatal(err)
	}
	r.NodeConn = conn
	t.Cleanup(func() { conn.Close() })
	return r
}

func (r *router) send(to netip.AddrPort, m cxtp.Message) {
	r.t.Helper()
	text, err := m.Append(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := r.Send(to, text); err != nil {
		r.t.Fatal(err)
	}
}

// ctar waits for a request and checks that key number authorises it.
func (r *router) ctar(number uint32) (received, *cxtp.CTAR) {
	r.t.Helper()
	got := <-r.in
	m, ok := got.message.(*cxtp.CTAR)
	if !ok {
		r.t.Fatalf("got %s, want a CTAR", got.message.Type())
	}
	if !m.Ack || m.Previous != node || !cxtp.VerifyToken(tokenKey(number), m.Previous, m.Sequence, m.Requests, m.Token) {
		r.t.Errorf("the CTAR does not ask for an answer, or token key %d does not authorise it: %+v", number, m)
	}
	return got, m
}

func (r *router) ack(number uint64) {
	r.t.Helper()
	m, ok := (<-r.in).message.(*cxtp.UpdateAck)
	if !ok || m.Number != number || !m.Verify(updateKey) {
		r.t.Fatalf("got %+v, want the acknowledgement of update %d", m, number)
	}
}

func update(t *testing.T, number uint64, key secret.Key) *cxtp.Update {
	u := &cxtp.Update{Previous: node, Session: session, Number: number, Gateway: gateway}
	if err := u.Sign(key); err != nil {
		t.Fatal(err)
	}
	return u
}

// start runs an agent that knows both routers and has token keys 1 to 3.
func start(t *testing.T, change func(*Config), routers ...*router) *Agent {
	t.Helper()
	cfg := Config{
		Listen: "127.0.0.1:0",
		Agent: cxtp.AgentConfig{
			Previous: node, Session: session, Retry: time.Minute, RetryMax: time.Hour,
			Node: cxtp.NodeState{UpdateKey: updateKey, Tokens: []cxtp.NumberedKey{
				{Number: 1, Key: tokenKey(1)}, {Number: 2, Key: tokenKey(2)}, {Number: 3, Key: tokenKey(3)},
			}},
		},
		Routers: map[netip.Addr]netip.AddrPort{},
		Follow:  func(cxtp.AgentFollow) error { return nil },
	}
	for i, address := range []netip.Addr{pAR, nAR}[:len(routers)] {
		cfg.Routers[address] = routers[i].LocalAddr()
	}
	if change != nil {
		change(&cfg)
	}
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	runAgent(t, a)
	return a
}

func runAgent(t *testing.T, a *Agent) {
	done := make(chan error)
	go func() { done <- a.Run(t.Context()) }()
	t.Cleanup(func() {
		a.Close()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

type outcome struct {
	cxtp.AgentAnswered
	err error
}

// ask makes a request in the background.
func ask(ctx context.Context, a *Agent, at, naming netip.Addr, sequence uint32) <-chan outcome {
	out := make(chan outcome, 1)
	go func() {
		answered, err := a.Request(ctx, at, naming, cxtp.RoleArriving, sequence)
		out <- outcome{answered, err}
	}()
	return out
}

func TestPredictiveRequest(t *testing.T) {
	p, n := newRouter(t), newRouter(t)
	a := start(t, nil, p, n)

	first := ask(t.Context(), a, pAR, nAR, 0)
	got, m := p.ctar(1)
	if m.Router != nAR || m.Sequence == 0 {
		t.Errorf("the CTAR names %s with sequence number %d", m.Router, m.Sequence)
	}
	n.send(got.from, &cxtp.CTAA{Previous: node}) // not the router that was asked
	p.send(got.from, &cxtp.CTAA{Previous: node})
	answered := <-first
	if answered.err != nil || answered.Failed != nil || answered.TimedOut || answered.Sequence != m.Sequence {
		t.Fatalf("got %+v", answered)
	}

	second := ask(t.Context(), a, nAR, pAR, answered.Sequence)
	got, again := n.ctar(1)
	if again.Sequence != m.Sequence || again.Token != m.Token || again.Router != pAR {
		t.Errorf("the second half is %+v, the first was %+v", again, m)
	}
	failed := []cxtp.ContextStatus{{FPT: cxtp.FPTControl, Status: cxtp.StatusBusy}}
	n.send(got.from, &cxtp.CTAA{Previous: node, Failed: failed})
	if answered := <-second; answered.err != nil || !slices.Equal(answered.Failed, failed) {
		t.Fatalf("got %+v", answered)
	}
}

func TestRequestIsRepeatedUnchanged(t *testing.T) {
	p := newRouter(t)
	a := start(t, func(c *Config) { c.Agent.Retry = time.Millisecond }, p)
	out := ask(t.Context(), a, pAR, nAR, 7)
	first, _ := p.ctar(1)
	second, _ := p.ctar(1)
	if !bytes.Equal(first.text, second.text) {
		t.Errorf("the repetition is %x, it was %x", second.text, first.text)
	}
	p.send(second.from, &cxtp.CTAA{Previous: node})
	if answered := <-out; answered.err != nil || answered.TimedOut {
		t.Fatalf("got %+v", answered)
	}
}

// RFC 4067 section 3.2: a sequence number is not used again for 7 s; 0 stands
// for none here.
func TestDrawnSequence(t *testing.T) {
	p := newRouter(t)
	cfg := Config{
		Listen: "127.0.0.1:0", Follow: func(cxtp.AgentFollow) error { return nil },
		Agent: cxtp.AgentConfig{Previous: node, Session: session, Retry: time.Minute, RetryMax: time.Hour, Node: cxtp.NodeState{
			Tokens: []cxtp.NumberedKey{{Number: 1, Key: tokenKey(1)}, {Number: 2, Key: tokenKey(2)}}}},
		Routers: map[netip.Addr]netip.AddrPort{pAR: p.LocalAddr()},
	}
	a, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	drawn := []uint32{7} // in use: the next one is taken
	a.sequences = cxtp.NewSequences(func() (s uint32) {
		s, drawn = drawn[0], drawn[1:]
		return s
	})
	runAgent(t, a)
	for i, want := range []uint32{7, 8} {
		given := want
		if i == 1 {
			given = 0
		}
		out := ask(t.Context(), a, pAR, nAR, given)
		got, m := p.ctar(uint32(i + 1))
		if m.Sequence != want {
			t.Errorf("request %d has sequence number %d, want %d", i, m.Sequence, want)
		}
		p.send(got.from, &cxtp.CTAA{Previous: node})
		<-out
	}
}

func TestNobodyAnswers(t *testing.T) {
	a := start(t, func(c *Config) { c.Agent.Retry, c.Agent.RetryMax = time.Millisecond, 10*time.Millisecond }, newRouter(t))
	answered, err := a.Request(t.Context(), pAR, nAR, cxtp.RoleLeaving, 0)
	if err != nil || !answered.TimedOut {
		t.Fatalf("got %+v, %v", answered, err)
	}
}

// A request whose waiting ends makes room for the next one.
func TestRequestIsCancelled(t *testing.T) {
	p := newRouter(t)
	a := start(t, nil, p)
	ctx, cancel := context.WithCancel(t.Context())
	first := ask(ctx, a, pAR, nAR, 0)
	_, m := p.ctar(1)
	second := ask(t.Context(), a, pAR, nAR, 0)
	cancel()
	if got := <-first; !errors.Is(got.err, context.Canceled) {
		t.Fatalf("got %+v", got)
	}
	got, next := p.ctar(2)
	if next.Sequence == m.Sequence {
		t.Errorf("sequence number %d was drawn twice", m.Sequence)
	}
	p.send(got.from, &cxtp.CTAA{Previous: node})
	if got := <-second; got.err != nil {
		t.Fatalf("got %+v", got)
	}
}

func TestRequestThatCannotBeMade(t *testing.T) {
	p := newRouter(t)
	a := start(t, func(c *Config) { c.Agent.State.NextToken = 4 }, p)
	if _, err := a.Request(t.Context(), nAR, pAR, cxtp.RoleArriving, 0); err == nil {
		t.Error("a router without an endpoint was asked")
	}
	if _, err := a.Request(t.Context(), pAR, netip.IPv6LinkLocalAllNodes(), cxtp.RoleLeaving, 0); err == nil {
		t.Error("a router of another family was named")
	}
	if _, err := a.Request(t.Context(), pAR, nAR, cxtp.RoleLeaving, 0); !errors.Is(err, ErrNoToken) {
		t.Errorf("without a token key: %v", err)
	}
	a.Close()
	if _, err := a.Request(t.Context(), pAR, nAR, cxtp.RoleLeaving, 0); !errors.Is(err, ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
}

func TestCloseEndsRequest(t *testing.T) {
	p := newRouter(t)
	a := start(t, nil, p)
	out := ask(t.Context(), a, pAR, nAR, 0)
	p.ctar(1)
	a.Close()
	if got := <-out; !errors.Is(got.err, ErrClosed) {
		t.Fatalf("got %+v", got)
	}
}

type kept struct {
	nextToken uint32
	number    uint64
}

// A token key is durably used before its token is on the wire; a failure to
// note it sends nothing.
func TestTokenIsSavedFirst(t *testing.T) {
	p := newRouter(t)
	broken := errors.New("disk full")
	results := []error{broken, nil}
	var saved []kept
	a := start(t, func(c *Config) {
		c.Save = func(s cxtp.AgentState) error {
			if len(p.in) > 0 {
				t.Error("a token was sent before it was saved")
			}
			saved = append(saved, kept{s.NextToken, s.Number})
			err := results[0]
			results = results[1:]
			return err
		}
	}, p)
	if got := <-ask(t.Context(), a, pAR, nAR, 5); !errors.Is(got.err, broken) {
		t.Fatalf("got %+v", got)
	}
	out := ask(t.Context(), a, pAR, nAR, 6)
	got, m := p.ctar(2)
	if m.Sequence != 6 {
		t.Errorf("the request that could not be saved was sent: sequence number %d", m.Sequence)
	}
	p.send(got.from, &cxtp.CTAA{Previous: node})
	<-out
	if want := []kept{{2, 0}, {3, 0}}; !slices.Equal(saved, want) {
		t.Errorf("saved %v, want %v", saved, want)
	}
}

// An update that was not followed, or not noted, is not acknowledged, and the
// next one of its number is followed anew.
func TestUpdate(t *testing.T) {
	p := newRouter(t)
	broken := errors.New("broken")
	follow, save := []error{broken, nil, nil}, []error{broken, nil}
	var steps []string
	next := func(step string, results *[]error) error {
		err := (*results)[0]
		*results = (*results)[1:]
		if err != nil {
			step += " fails"
		}
		steps = append(steps, step)
		return err
	}
	dropped := make(chan string, 10)
	a := start(t, func(c *Config) {
		c.Agent.State.Number = 3
		c.Follow = func(f cxtp.AgentFollow) error {
			to, number := f.Gateway, f.Number
			if to != gateway || number != 5 {
				t.Errorf("followed update %d to %s", number, to)
			}
			return next("follow", &follow)
		}
		c.Save = func(s cxtp.AgentState) error {
			if s.Number != 5 {
				t.Errorf("saved number %d", s.Number)
			}
			return next("save", &save)
		}
		c.Trace = func(dir, what string, _ netip.AddrPort) {
			switch dir {
			case "drop":
				dropped <- what
			case "send":
				steps = append(steps, what)
			}
		}
	}, p)
	to := a.LocalAddr()

	if err := p.Send(to, []byte("garbage")); err != nil {
		t.Fatal(err)
	}
	<-dropped
	p.send(to, update(t, 9, tokenKey(1))) // signed with the wrong key
	p.send(to, update(t, 2, updateKey))   // older than what was accepted
	for range 2 {                         // not followed, then not saved
		p.send(to, update(t, 5, updateKey))
		<-dropped
	}
	p.send(to, update(t, 5, updateKey))
	p.ack(5)
	p.send(to, update(t, 5, updateKey)) // our acknowledgement was lost
	p.ack(5)
	a.Close()
	if want := []string{"follow fails", "follow", "save fails", "follow", "save", "UpdateAck", "UpdateAck"}; !slices.Equal(steps, want) {
		t.Errorf("the agent did %q, want %q", steps, want)
	}
}

func TestNewRefuses(t *testing.T) {
	good := Config{
		Listen: "127.0.0.1:0", Follow: func(cxtp.AgentFollow) error { return nil },
		Agent: cxtp.AgentConfig{Previous: node, Session: session},
	}
	for name, spoil := range map[string]func(*Config){
		"no follow":  func(c *Config) { c.Follow = nil },
		"no address": func(c *Config) { c.Agent.Previous = netip.Addr{} },
		"no session": func(c *Config) { c.Agent.Session = cxtp.SessionID{} },
		"no socket":  func(c *Config) { c.Listen = "nowhere" },
	} {
		cfg := good
		spoil(&cfg)
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: New accepted it", name)
		}
	}
}

// TestTooLargeForAPacket asks for more context types than one packet has room for
// (RFC 4067 section 3.2): nothing is sent, and no token key is used up.
func TestTooLargeForAPacket(t *testing.T) {
	p := newRouter(t)
	var saved []cxtp.AgentState
	a := start(t, func(c *Config) {
		c.Types, c.Agent.Retry, c.Agent.RetryMax = make([]cxtp.FPT, 400), time.Millisecond, time.Millisecond
		c.Save = func(s cxtp.AgentState) error { saved = append(saved, s); return nil }
	}, p)
	got := <-ask(t.Context(), a, pAR, nAR, 0)
	if !errors.Is(got.err, transport.ErrMessageSize) || !strings.Contains(got.err.Error(), "ask for fewer context types") {
		t.Errorf("got %+v", got)
	}
	if len(saved) > 0 || len(p.in) > 0 {
		t.Errorf("saved %+v, and sent %d messages", saved, len(p.in))
	}
}
