package cxtp

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestHostileAtEveryState plays the transcripts once more. After every event,
// messages that must change nothing are thrown at every router: from a router
// that is not configured, from one that the session does not concern, from the
// right one about another epoch or session, from nodes that have no key, and
// everything that was delivered before, once more. None of them may begin any
// work or change any state, each is counted, and in the end the transcript is
// the one that it was without them.
func TestHostileAtEveryState(t *testing.T) {
	files, err := filepath.Glob("testdata/transcripts/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no transcripts: %v", err)
	}
	met := map[standing]int{}
	for _, file := range files {
		if filepath.Base(file) == "wrong_tokens.txt" {
			continue // it counts the wrong tokens that it is shown
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		s := newScript(t, "A", "B", "C")
		h := &hostile{t: t, world: s.world, met: met, name: filepath.Base(file), struck: map[struck]bool{}}
		s.world.intrude = h.strike
		for _, n := range s.world.routers {
			n.cfg.RequestRate, n.cfg.RequestTotal, n.cfg.WrongTokens = 1e9, 1e9, 1e9 // limits_test.go is about these
		}
		compareLines(t, s.play(string(want)), string(want))
		if t.Failed() {
			t.Fatalf("in %s", h.name)
		}
	}
	states := map[state]bool{}
	for as := range met {
		states[as.state] = true
	}
	for st := range state(len(stateNames)) {
		if !states[st] {
			t.Errorf("no transcript has a session that is %s (state %d)", st, st)
		}
	}
}

// enough is how many sessions in each state meet the whole lot: by then it has
// come about in several ways.
const enough = 4

// hostile throws messages at the machines of a world.
type hostile struct {
	t      *testing.T
	world  *world
	met    map[standing]int // how often each has been met
	name   string
	struck map[struck]bool
	before string // the attacked machine, dumped
}

// struck is a state of a session at a router that has been attacked.
type struck struct {
	router  RouterID
	session SessionID
	as      standing
}

// standing is a session's state, and what is said of its last epoch.
type standing struct {
	state   state
	outcome OutcomeState
}

// strike attacks every router.
func (h *hostile) strike() {
	for _, n := range h.world.routers {
		for _, id := range h.world.order {
			ses, as := h.world.sessions[id], standing{outcome: OutcomeUnseen}
			if s := n.machine.sessions[ses.id]; s != nil {
				as = standing{s.state, s.outcome(s.epoch)}
			}
			if key := (struck{n.id, ses.id, as}); !h.struck[key] {
				h.struck[key] = true
				if h.met[as]++; h.met[as] > enough {
					continue
				}
				h.before = dump(n.machine)
				for _, in := range h.inputs(n, ses) {
					h.throw(n, in)
				}
				for _, in := range h.repeated(n) {
					h.again(n, in)
				}
			}
		}
	}
}

// throw gives a machine an input that must change nothing.
func (h *hostile) throw(n *simRouter, in Input) {
	counted := total(n.machine)
	actions := n.machine.Step(h.world.now, in)
	for _, a := range actions {
		switch a := a.(type) {
		case Send, SendNode:
		case Report:
			if a.Event == EventRefused { // the peer's stage, to the operator
				continue
			}
			h.t.Errorf("%s: %s: %s makes it report %q", h.name, n.id, h.world.input(n, in), h.world.action(a))
		default:
			h.t.Errorf("%s: %s: %s makes it %q", h.name, n.id, h.world.input(n, in), h.world.action(a))
		}
	}
	h.unchanged(n, in)
	if got := total(n.machine); got != counted+1 && !h.answered(n, in) {
		h.t.Errorf("%s: %s: %s is counted %d times", h.name, n.id, h.world.input(n, in), got-counted)
	}
}

// unchanged compares a machine with what it was before it was attacked.
func (h *hostile) unchanged(n *simRouter, in Input) {
	after := dump(n.machine)
	if after != h.before {
		h.t.Errorf("%s: %s: %s changes %s", h.name, n.id, h.world.input(n, in), difference(h.before, after))
	}
	h.before = after
}

// answered reports whether an input is one that is answered and not counted: a
// question, or the "active" of an epoch that only the record is left of.
func (h *hostile) answered(n *simRouter, in Input) bool {
	m, ok := in.(FromRouter)
	if !ok {
		return false
	}
	switch m := m.Message.(type) {
	case *CTDR:
		return true
	case *Outcome:
		s := n.machine.sessions[m.Session]
		return m.Question || m.State == OutcomeActive && s != nil && s.state == stateNone && m.Epoch <= s.epoch
	}
	return false
}

// again gives a machine once more what it has taken before: it may answer, and
// decides nothing.
func (h *hostile) again(n *simRouter, in Input) {
	for _, a := range n.machine.Step(h.world.now, in) {
		switch a.(type) {
		case Send, SendNode, Report:
		default:
			h.t.Errorf("%s: %s: %s, again, makes it %q", h.name, n.id, h.world.input(n, in), h.world.action(a))
		}
	}
	h.unchanged(n, in)
}

// total counts the dropped messages.
func total(r *Router) (n uint64) {
	for _, count := range r.Dropped() {
		n += count
	}
	return n
}

// inputs are messages about a session that none may take.
func (h *hostile) inputs(n *simRouter, ses *simSession) []Input {
	var epoch Epoch
	var with RouterID // whom the session is under way with
	if s := n.machine.sessions[ses.id]; s != nil {
		epoch = s.epoch
		switch {
		case s.src != nil:
			with = s.src.to
		case s.tgt != nil:
			with = s.tgt.from
		case s.state == stateNone:
			with = s.from // who may still have something to say
		}
	}
	var all []Input
	for _, m := range h.messages(n, ses, epoch) {
		all = append(all, FromRouter{From: "Z", Message: m})
		for _, other := range h.world.routers {
			if other != n && other.id != with && !h.mayPush(n, other.id, m) {
				all = append(all, FromRouter{From: other.id, Message: m})
			}
		}
	}
	if with != "" {
		for _, m := range h.messages(n, ses, epoch+100) {
			if !isStage(m) && !isByAddress(m) {
				all = append(all, FromRouter{From: with, Message: m})
			}
		}
		stranger := &simSession{id: SessionID{0xEE}, at: netip.MustParseAddr("198.51.100.99")}
		for _, m := range h.messages(n, stranger, epoch) {
			if !isStage(m) {
				all = append(all, FromRouter{From: with, Message: m})
			}
		}
	}
	return append(all, h.fromNodes(n, ses, epoch)...)
}

// mayPush reports whether a message is one that the policy for its sender
// allows, or that answers a request to it.
func (h *hostile) mayPush(n *simRouter, from RouterID, m Message) bool {
	p, _ := n.cfg.peer(from)
	switch m := m.(type) {
	case *CTD:
		for _, q := range n.machine.requests {
			if q.to == from {
				return true
			}
		}
		return isStage(m) && p.Push
	case *CTReq:
		return p.Pull != PullOff && m.Token.IsZero()
	}
	return false
}

// isByAddress reports whether a message names a node and no epoch.
func isByAddress(m Message) bool {
	switch m.(type) {
	case *CTC, *CTReq:
		return true
	}
	return false
}

func isStage(m Message) bool {
	ctd, ok := m.(*CTD)
	if !ok || len(ctd.Blocks) == 0 {
		return false
	}
	c, err := ParseControl(ctd.Blocks[0])
	return err == nil && c.Phase == PhaseStage
}

// messages are one of each kind that routers send each other, about an epoch.
func (h *hostile) messages(n *simRouter, ses *simSession, epoch Epoch) []Message {
	incarnation := Incarnation(0)
	if s := n.machine.sessions[ses.id]; s != nil && s.src != nil {
		incarnation = s.src.incarnation
	}
	all := []Message{
		&CTC{Previous: ses.at},
		&CTDR{Success: true, Previous: ses.at},
		&CTReq{Previous: ses.at, Sequence: 77, Token: Token{1, 2, 3, 4}},
		&CTReq{Previous: ses.at, Sequence: 78},
		&CTD{Ack: true, Previous: ses.at, Blocks: []CDB{{FPT: FPTMulticastListener, Data: []byte{1, 2, 3, 4}}}},
		&CTD{Ack: true, Previous: ses.at},
		&CTD{Ack: true, Previous: ses.at, Blocks: []CDB{{FPT: FPTControl, Data: []byte{1, 2, 3, 4}}}},
		&CTD{Previous: ses.at, Blocks: []CDB{ErrorBlock(ContextStatus{FPTControl, StatusNotAuthorised})}},
		&CTAR{Ack: true, Previous: ses.at, Router: h.world.addrOf("A"), Sequence: 79},
		&CTAA{Previous: ses.at},
		&Update{Previous: ses.at, Session: ses.id, Number: uint64(epoch), Gateway: netip.MustParseAddrPort("192.0.2.66:4500")},
		&UpdateAck{Previous: ses.at, Session: ses.id, Number: uint64(epoch)},
		&Outcome{Question: true, Previous: ses.at, Session: ses.id, Epoch: epoch},
	}
	for st := OutcomeUnseen; st <= OutcomePending; st++ {
		all = append(all, &Outcome{Previous: ses.at, Session: ses.id, Epoch: epoch, Incarnation: incarnation, State: st, Go: true, Steered: true,
			Statuses: []ContextStatus{{FPTControl, StatusInternal}}})
	}
	for p := PhaseStage; int(p) < len(phaseNames); p++ {
		c := Control{Phase: p, Mode: n.cfg.Mode, Session: ses.id, Epoch: epoch, Incarnation: n.cfg.Incarnation, Target: n.id, TokenProved: true}
		if s := n.machine.sessions[ses.id]; s != nil && s.tgt != nil {
			c.Digest = s.tgt.digest
		}
		if p == PhaseStage {
			c.Epoch++
		}
		block, err := c.Block()
		if err != nil {
			h.t.Fatal(err)
		}
		all = append(all, &CTD{Ack: true, Previous: ses.at, Blocks: []CDB{block, {FPT: FPTIPsecDynamic, Data: make([]byte, 8)}}})
	}
	return all
}

// fromNodes are messages on the nodes' side without a right key, from an
// address of their own.
func (h *hostile) fromNodes(n *simRouter, ses *simSession, epoch Epoch) []Input {
	var all []Input
	routers := []netip.Addr{netip.MustParseAddr("192.0.2.200")} // nobody
	if n.machine.requests[ses.at] != nil || h.here(n, ses) {
		for _, other := range h.world.routers {
			routers = append(routers, h.world.addrOf(other.id))
		}
	}
	for _, router := range routers {
		all = append(all, FromNode{Message: &CTAR{Ack: true, Previous: ses.at, Router: router, Sequence: 80, Token: Token{4, 3, 2, 1}}},
			FromNode{Message: &CTAR{Ack: true, Previous: ses.at, Router: router, Sequence: 81}})
	}
	ack := &UpdateAck{Previous: ses.at, Session: ses.id, Number: uint64(epoch), MAC: [16]byte{1}}
	all = append(all, FromNode{Message: ack},
		FromNode{Message: &UpdateAck{Previous: ses.at, Session: SessionID{0xEE}, Number: uint64(epoch)}},
		FromNode{Message: &CTAA{Previous: ses.at}},
		FromNode{Message: &CTReq{Previous: ses.at, Sequence: 82}},
		FromNode{Message: &Outcome{Previous: ses.at, Session: ses.id, Epoch: epoch, State: OutcomeRefused}})
	for i, in := range all {
		from := in.(FromNode)
		from.From = netip.MustParseAddrPort("203.0.113.200:9")
		all[i] = from
	}
	return all
}

// here reports whether a node's request would find a session, so that it is not
// for another router.
func (h *hostile) here(n *simRouter, ses *simSession) bool {
	_, st := n.machine.find(ses.at, SessionID{}, (*Session).live)
	return st != StatusUnknownSession
}

// repeated is what routers and nodes have sent to a router and it has got.
func (h *hostile) repeated(n *simRouter) []Input {
	var all []Input
	for _, m := range h.world.log {
		underway := func(e *event) bool { return e.to == m.event.to && bytes.Equal(e.wire, m.event.wire) }
		if m.event.to != n.id || m.life != n.life || m.lost || slices.ContainsFunc(h.world.events, underway) {
			continue
		}
		decoded, err := Decode(slices.Clone(m.event.wire))
		if err != nil {
			h.t.Fatal(err)
		}
		if h.countsAgain(n, m.event.from, decoded) {
			continue
		}
		if m.event.from == "" {
			all = append(all, FromNode{From: netip.MustParseAddrPort("203.0.113.200:9"), Message: decoded})
		} else {
			all = append(all, FromRouter{From: m.event.from, Message: decoded})
		}
	}
	return all
}

// countsAgain reports whether a message may be taken as often as it comes: what
// it is about is named by the node's address alone, and something for that
// address is under way, or it is what a router waits for once more.
func (h *hostile) countsAgain(n *simRouter, from RouterID, m Message) bool {
	switch m := m.(type) {
	case *CTAR:
		_, st := n.machine.find(m.Previous, SessionID{}, (*Session).live)
		return st == StatusUnknownSession
	case *CTC:
		return h.underWay(n, from)
	case *CTReq:
		for _, s := range n.machine.sessions {
			// A request that was denied was never taken.
			taken := s.pulled != nil && slices.Contains(s.pulled.last[:], pullRequest{from, m.Sequence})
			if s.addr == m.Previous && (s.pledge != nil || m.Token.IsZero() && !taken) {
				return true
			}
		}
		return h.underWay(n, from)
	case *CTD:
		return kind(m) == "denial" && len(n.machine.requests) > 0 || kind(m) == "withdraw"
	}
	return false
}

// underWay reports whether some session is on its way to a router.
func (h *hostile) underWay(n *simRouter, to RouterID) bool {
	for _, s := range n.machine.sessions {
		if s.src != nil && s.src.to == to {
			return true
		}
	}
	return false
}

// dump writes down everything that a machine knows.
func dump(r *Router) string {
	var out strings.Builder
	for _, v := range r.Sessions() {
		fmt.Fprintf(&out, "%s: ", v.Session)
		dumpValue(&out, reflect.ValueOf(r.sessions[v.Session]).Elem())
		out.WriteByte('\n')
	}
	fmt.Fprintf(&out, "%d sessions, %d requests, next %s", len(r.sessions), len(r.requests), r.Deadline())
	return out.String()
}

// difference is where two dumps part.
func difference(a, b string) string {
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	around := func(s string) string { return s[max(0, i-60):min(len(s), i+60)] }
	return fmt.Sprintf("%q to %q", around(a), around(b))
}

// dumpValue follows pointers; what a step leaves behind for its caller, and what
// all sessions share, is not the session's.
func dumpValue(out *strings.Builder, v reflect.Value) {
	switch v.Kind() {
	case reflect.Pointer:
		switch v.Type() {
		case reflect.TypeFor[*Config](), reflect.TypeFor[*Peer](), reflect.TypeFor[*pacer]():
			return
		}
		if !v.IsNil() {
			dumpValue(out, v.Elem())
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			fmt.Fprintf(out, "%v.%v", v.Field(1), v.Field(0))
			return
		}
		out.WriteByte('{')
		for i := range v.NumField() {
			switch name := v.Type().Field(i).Name; name {
			case "now", "out", "dropped", "wrong":
			default:
				fmt.Fprintf(out, "%s:", name)
				dumpValue(out, v.Field(i))
				out.WriteByte(' ')
			}
		}
		out.WriteByte('}')
	case reflect.Slice, reflect.Array:
		for i := range v.Len() {
			dumpValue(out, v.Index(i))
			out.WriteByte(',')
		}
	case reflect.Interface:
		if !v.IsNil() {
			dumpValue(out, v.Elem())
		}
	case reflect.Func, reflect.Map, reflect.Chan, reflect.UnsafePointer:
	default:
		fmt.Fprintf(out, "%v", v)
	}
}
