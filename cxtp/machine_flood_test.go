package cxtp

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"
)

// TestFloodOfRequests sends B a million CTARs in ten seconds, from addresses and
// for nodes that nobody knows. What B begins is bounded, it keeps nothing, and
// meanwhile it does the moves that it is there for.
func TestFloodOfRequests(t *testing.T) {
	const requests, span = 1_000_000, 10 * time.Second
	s := newScript(t, "A", "B", "C")
	s.dropAll["ct-req"] = true // A does not answer, which is the worst that it can do
	w := s.world
	w.quiet = true
	p, _ := w.router("B").cfg.peer("A")
	p.ActivateWithoutToken = false
	w.start()
	staged, ordered := w.newSession("s1", 2, true), w.newSession("s2", 2, false)
	w.adopt(staged, "A", 2, true)
	w.adopt(ordered, "B", 2, false)
	w.settle()
	w.command("A", Handover{Session: staged.id, To: "B", StageOnly: true, Ticket: 1})
	w.settle()

	b := w.router("B")
	random := rand.New(rand.NewPCG(1, 0))
	address := func() netip.Addr {
		n := random.Uint32()
		return netip.AddrFrom4([4]byte{byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
	}
	sent, most := 0, 0
	begin := time.Now()
	for i := range requests {
		w.steps = 0 // as many as it takes
		w.advance(span / requests)
		switch i {
		case requests / 3: // contexts present: the token is checked, and A asked
			delete(s.dropAll, "ct-req")
			w.ask(staged, "B", "A", 77)
		case requests / 2:
			s.dropAll["ct-req"] = true
			w.command("B", Handover{Session: ordered.id, To: "C", Ticket: 2})
		}
		m := &CTAR{Ack: true, Previous: address(), Router: w.addrOf("A"), Sequence: random.Uint32(), Token: Token{1}}
		for _, a := range b.machine.Step(w.now, FromNode{From: netip.AddrPortFrom(address(), 9), Message: m}) {
			if _, ok := a.(Send); ok {
				sent++
			}
		}
		most = max(most, len(b.machine.requests))
	}
	took := time.Since(begin)
	w.advance(5 * time.Second)
	dropped := b.machine.Dropped()
	if limit := 2 * DefaultRequestTotal * int(span/time.Second); sent > limit {
		t.Errorf("%d CT-Reqs were sent, at most %d may be", sent, limit)
	}
	if most > maxRequests || len(b.machine.requests) > 0 || len(b.machine.sessions) != 2 {
		t.Errorf("at most %d requests were unanswered, %d are still, and %d sessions are known", most, len(b.machine.requests), len(b.machine.sessions))
	}
	if b.sad[staged.id] == nil || b.sad[staged.id].state != saActive || w.router("C").sad[ordered.id] == nil {
		t.Error("a move did not come to its end during the flood")
	}
	with := memory()
	b.machine = nil
	held := with - memory()
	t.Logf("%d CTARs in %s: %s each, %d CT-Reqs sent, %d above the rate, at most %d unanswered, %d octets held after it",
		requests, took, took/requests, sent, dropped[DropRateLimited], most, held)
	if held > 2<<20 {
		t.Errorf("the machine holds %d octets after the flood", held)
	}
	if err := w.err(); err != nil {
		t.Error(err)
	}
}

// memory is what is in use, in octets.
func memory() int {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// TestFloodFromOneNode: a node that asks B ten thousand times a second, with
// invented nodes and tokens, does not keep another one from its own move.
func TestFloodFromOneNode(t *testing.T) {
	s := newScript(t, "A", "B", "C")
	w := s.world
	w.quiet = true
	w.start()
	ses := w.newSession("s1", 2, true)
	w.adopt(ses, "A", 2, true)
	w.settle()
	b := w.router("B")
	begins := 0
	for i := range 10_000 {
		if i == 5_000 {
			w.ask(ses, "B", "A", 77)
		}
		w.advance(100 * time.Microsecond)
		m := &CTAR{Ack: true, Previous: netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)}), Router: w.addrOf("A"), Sequence: uint32(i), Token: Token{1}}
		actions := b.machine.Step(w.now, FromNode{From: netip.MustParseAddrPort("203.0.113.200:9"), Message: m})
		w.carry(b, actions)
		begins += len(actions)
	}
	w.advance(time.Second)
	if begins > 2*DefaultRequestRate {
		t.Errorf("the flood made B begin %d things in a second", begins)
	}
	if b.sad[ses.id] == nil || b.sad[ses.id].state != saActive {
		t.Error("the other node was not moved")
	}
}

// TestHalfMadeTransfers: a peer that stages as many sessions as it may, and more,
// and is not heard again, takes nothing from another peer, and what it left
// ends by itself.
func TestHalfMadeTransfers(t *testing.T) {
	const allowed, staged = 50, 60
	s := newScript(t, "A", "B", "C")
	w := s.world
	p, _ := w.router("B").cfg.peer("A")
	p.MaxSessions = allowed
	w.start()
	names := 0
	stage := func(from RouterID) {
		names++
		ses := w.newSession(fmt.Sprintf("s%d", names), 0, false)
		w.adopt(ses, from, 0, false)
		w.settle()
		w.command(from, Handover{Session: ses.id, To: "B", StageOnly: true, Ticket: Ticket(names)})
		w.settle()
	}
	for range staged {
		stage("A")
	}
	b := w.router("B")
	live := func() (n int) {
		for _, ses := range b.machine.sessions {
			if ses.live() {
				n++
			}
		}
		return n
	}
	if got := live(); got != allowed || len(b.machine.sessions) != allowed {
		t.Errorf("%d sessions of A are staged and %d known at B, want %d", got, len(b.machine.sessions), allowed)
	}
	if got := b.machine.Dropped()[DropNoResources]; got != staged-allowed {
		t.Errorf("%d stages were dropped, want %d", got, staged-allowed)
	}
	for _, k := range []string{"stage", "withdraw", "ct-req"} {
		s.dropAll[k] = true
	}
	delete(s.dropAll, "stage")
	stage("C")
	if got := live(); got != allowed+1 {
		t.Errorf("%d sessions are staged at B: C has no room", got)
	}
	w.advance(2 * time.Minute)
	if got := live(); got != 0 {
		t.Errorf("%d sessions are still staged at B", got)
	}
	if err := w.err(); err != nil {
		t.Error(err)
	}
}
