package cxtp

import (
	"net/netip"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// TestOneStrongToken has requests with none, one, several, and one that cannot be
// read.
func TestOneStrongToken(t *testing.T) {
	good, err := StrongToken{Role: RoleLeaving, KeyNumber: 3, PAR: simAddr(0), NAR: simAddr(1)}.Block()
	if err != nil {
		t.Fatal(err)
	}
	name, bad := SessionNameBlock(SessionID{1}), CDB{FPT: FPTToken, Data: []byte{1, 2, 3, 4}}
	for _, c := range []struct {
		name     string
		requests []CDB
		ok       bool
	}{
		{"none", []CDB{name}, false},
		{"one", []CDB{name, good}, true},
		{"one, and more after it", []CDB{good, name}, true},
		{"twice the same", []CDB{good, good}, false},
		{"one that cannot be read", []CDB{bad}, false},
		{"a second that cannot be read", []CDB{good, bad}, false},
		{"a first that cannot be read", []CDB{bad, good}, false},
	} {
		if token, ok := strongToken(c.requests); ok != c.ok || ok && token.KeyNumber != 3 {
			t.Errorf("%s: found key %d, %t", c.name, token.KeyNumber, ok)
		}
	}
}

// TestWrongTokensCount plays guesses at times, and asks whether one more would be
// looked at.
func TestWrongTokensCount(t *testing.T) {
	s := &Session{cfg: &Config{WrongTokens: 3}}
	at := func(d time.Duration) { s.now = epochZero.Add(d) }
	for _, step := range []struct {
		at    time.Duration
		guess bool // may be checked
		wrong int  // are shown then
	}{
		{0, true, 2},
		{0, true, 1},
		{0, false, 0},
		{999 * time.Millisecond, false, 0},
		{time.Second, true, 1}, // one a second
		{time.Second, false, 0},
		{1999 * time.Millisecond, false, 0},
		{2 * time.Second, true, 0},
		{time.Minute, true, 3}, // all is forgotten
		{time.Minute, false, 0},
	} {
		at(step.at)
		if got := s.mayGuess(); got != step.guess {
			t.Errorf("after %s: a guess is looked at: %t", step.at, got)
		}
		for range step.wrong {
			s.countWrong()
		}
	}
	if s.wrong.count != 7 {
		t.Errorf("%d wrong tokens were counted", s.wrong.count)
	}
	s.node.Algorithm = AlgorithmHMACSHA256
	until := s.wrong.until
	if s.countWrong(); s.wrong.count != 8 || s.wrong.until != until {
		t.Error("a wrong strong token is not counted, or costs time")
	}
}

// TestStageSaysAlgorithm changes the node block of a stage.
func TestStageSaysAlgorithm(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*NodeState)
		staged bool
	}{
		{"as it was", func(*NodeState) {}, true},
		{"an algorithm that is not known", func(n *NodeState) { n.Algorithm = 0xFF02 }, false},
	} {
		s := newScript(t, "A", "B")
		s.dropAll["stage"] = true
		w := s.world
		w.start()
		ses := w.newNode("s1", 2, true, true)
		w.adopt(ses, "A", 2, true)
		w.settle()
		c.change(&w.router("A").machine.sessions[ses.id].node)
		w.command("A", Handover{Session: ses.id, To: "B", Ticket: 1})
		w.settle()
		w.transmitAgain(len(w.log)-1, 0)
		w.settle()
		if got := w.router("B").sad[ses.id] != nil; got != c.staged {
			t.Errorf("%s: staged: %t\n%s", c.name, got, w.transcript.String())
		}
	}
}

// TestSourceCannotVouchForOtherTokens has a node with strong tokens, a request with
// a weak one, and a source that calls it right all the same: the stage that
// answers the request may not become active.
func TestSourceCannotVouchForOtherTokens(t *testing.T) {
	for _, strong := range []bool{true, false} {
		s := newScript(t, "A", "B")
		w := s.world
		p, _ := w.router("B").cfg.peer("A")
		p.ActivateWithoutToken = false
		w.start()
		ses := w.newNode("s1", 2, false, strong)
		w.adopt(ses, "A", 2, false)
		w.settle()
		m := &CTAR{Previous: ses.at, Router: w.addrOf("A"), Sequence: 7}
		s.sign(m, ses, ses.agent.keys.current, "B", RoleArriving, "weak")
		s.dropAll["ct-req"] = true
		w.send("", "B", ses, m)
		w.settle()
		a := w.router("A").machine.sessions[ses.id]
		w.router("A").machine.with(a, func() {
			a.begin(w.now)
			a.startMove(&outgoing{to: "B", proved: true, sequence: 7, token: m.Token})
			w.carry(w.router("A"), a.end())
		})
		w.settle()
		if to := w.router("B").machine.sessions[ses.id]; to == nil || (to.tgt == nil || !to.tgt.mayActivate()) != strong {
			t.Errorf("strong: %t\n%s", strong, w.transcript.String())
		}
	}
}

// TestRouterHasAddresses of its own, that no peer has.
func TestRouterHasAddresses(t *testing.T) {
	own := netip.MustParseAddr("192.0.2.1")
	cfg := Config{Self: "A", Addrs: []netip.Addr{own}, Incarnation: 1, Inspect: simInspect, Mode: ModeLossless, Timers: DefaultTimers(),
		Peers: []Peer{{ID: "B", Addrs: []netip.Addr{netip.MustParseAddr("192.0.2.2")}}}}
	if _, _, err := NewRouter(cfg, nil, nil); err != nil {
		t.Fatal(err)
	}
	cfg.Peers[0].Addrs = cfg.Addrs
	if _, _, err := NewRouter(cfg, nil, nil); err == nil {
		t.Error("a peer has this router's address")
	}
	cfg.Peers, cfg.WrongTokens = nil, -1
	if _, _, err := NewRouter(cfg, nil, nil); err == nil {
		t.Error("no wrong token may be checked")
	}
}

func TestAlgorithmNames(t *testing.T) {
	for _, a := range []Algorithm{AlgorithmHMACSHA1, AlgorithmHMACSHA256} {
		text, err := a.MarshalText()
		var again Algorithm
		if err != nil || again.UnmarshalText(text) != nil || again != a || !a.Known() {
			t.Errorf("%s is read back as %s", a, again)
		}
	}
	if a := Algorithm(7); a.Known() || a.UnmarshalText([]byte(a.String())) == nil {
		t.Errorf("%s is known", a)
	}
	short, long := secret.New(make([]byte, TagSize-1)), secret.New(make([]byte, TagSize))
	if AlgorithmHMACSHA256.CheckKey(short) == nil || AlgorithmHMACSHA256.CheckKey(long) != nil || AlgorithmHMACSHA1.CheckKey(short) != nil {
		t.Error("the lengths of keys are not looked at, or too closely")
	}
}

// TestPCTDSaysAlgorithm reads the PCTD of a stage, and gives its target one with a
// key where the node block has none.
func TestPCTDSaysAlgorithm(t *testing.T) {
	for _, strong := range []bool{true, false} {
		for _, tokens := range []int{2, 0} {
			s := newScript(t, "A", "B")
			s.dropAll["stage"] = true
			w := s.world
			w.start()
			ses := w.newNode("s1", tokens, true, strong)
			w.adopt(ses, "A", tokens, true)
			w.settle()
			w.command("A", Handover{Session: ses.id, To: "B", Ticket: 1})
			w.settle()
			m, err := Decode(w.log[len(w.log)-1].event.wire)
			if err != nil {
				t.Fatal(err)
			}
			stage := m.(*CTD)
			want, keys := ses.agent.cfg.Node.algorithm(), tokens
			switch {
			case tokens > 0 && (!stage.Predictive || stage.Algorithm != want):
				t.Errorf("strong: %t: the PCTD says %s", strong, stage.Algorithm)
			case tokens == 0:
				stage.Predictive, stage.Algorithm, stage.Key = true, AlgorithmHMACSHA1, secret.New([]byte("a key"))
				if !strong {
					keys = 1
				}
			}
			w.step(w.router("B"), FromRouter{From: "A", Message: stage})
			if got := len(w.router("B").machine.sessions[ses.id].node.Tokens); got != keys {
				t.Errorf("strong: %t: the target has %d token keys, want %d", strong, got, keys)
			}
		}
	}
}
