package cxtp

import (
	"slices"
	"testing"
	"time"
)

// kinds counts the messages of a kind that were ever sent.
func (w *world) kinds(kind string) (n int) {
	for _, m := range w.log {
		if m.kind == kind {
			n++
		}
	}
	return n
}

// last is the latest message of a kind.
func (w *world) last(t *testing.T, kind string) Message {
	t.Helper()
	for _, m := range slices.Backward(w.log) {
		if m.kind == kind {
			decoded, err := Decode(slices.Clone(m.event.wire))
			if err != nil {
				t.Fatal(err)
			}
			return decoded
		}
	}
	t.Fatalf("no %s was sent", kind)
	return nil
}

// TestAcknowledgementIsOptional: a CTAR with A = 0 does what one with A = 1 does,
// and no CTAA comes, of whatever kind the answer would be (RFC 4067 sections
// 2.5.1 and 2.5.2).
func TestAcknowledgementIsOptional(t *testing.T) {
	for _, c := range []struct {
		name   string
		before func(*script, *simSession)
		to     RouterID
		naming RouterID
		forged bool
		moves  bool
	}{
		{"contexts absent", nil, "B", "A", false, true},
		{"contexts present", func(s *script, ses *simSession) {
			s.world.command("A", Handover{Session: ses.id, To: "B", StageOnly: true, Ticket: 1})
		}, "B", "A", false, true},
		{"at the pAR", nil, "A", "B", false, false},
		{"token wrong at the pAR", nil, "A", "B", true, false},
		{"token wrong at the nAR", nil, "B", "A", true, false},
		{"nobody there", func(s *script, _ *simSession) { s.dropAll["ct-req"] = true }, "B", "A", false, false},
		{"no such router", nil, "B", "Z", false, false},
	} {
		for _, ack := range []bool{true, false} {
			s := newScript(t, "A", "B")
			w := s.world
			w.start()
			ses := w.newSession("s1", 3, false)
			w.adopt(ses, "A", 3, false)
			w.settle()
			if c.before != nil {
				c.before(s, ses)
				w.settle()
			}
			m := &CTAR{Ack: ack, Previous: ses.at, Router: simAddr(9), Sequence: 7, Requests: []CDB{SessionNameBlock(ses.id)}}
			if c.naming != "Z" {
				m.Router = w.addrOf(c.naming)
			}
			var err error
			if m.Token, err = ComputeToken(ses.agent.keys.current.Tokens[0].Key, m.Previous, m.Sequence, m.Requests); err != nil {
				t.Fatal(err)
			}
			if c.forged {
				m.Token[0]++
			}
			w.trigger(ses, c.to, m)
			w.send("", c.to, ses, m)
			w.advance(3 * time.Second)
			w.send("", c.to, ses, m) // once more
			w.advance(3 * time.Second)
			if got := w.kinds("ctaa"); (got > 0) != ack {
				t.Errorf("%s, A is %v: %d CTAAs were sent", c.name, ack, got)
			}
			if sa := w.router("B").sad[ses.id]; (sa != nil && sa.state == saActive) != c.moves {
				t.Errorf("%s, A is %v: moved is not %v", c.name, ack, c.moves)
			}
		}
	}
}

// TestDataReplyIsOptional: each CTD with A = 1 gets one CTDR, and none with A = 0
// does, whatever its phase and whether it is taken (sections 2.5.3 and 2.5.4).
func TestDataReplyIsOptional(t *testing.T) {
	for _, c := range []struct {
		name  string
		phase string
		spoil func(*CTD)
	}{
		{"staged", "stage", func(*CTD) {}},
		{"stage refused", "stage", func(m *CTD) { m.Blocks = m.Blocks[:2] }},
		{"stage not taken", "stage", func(m *CTD) { m.Blocks[0] = respelt(m.Blocks[0], func(c *Control) { c.Target = "C" }) }},
		{"without a control block", "stage", func(m *CTD) { m.Blocks = m.Blocks[1:] }},
		{"control block malformed", "stage", func(m *CTD) { m.Blocks[0].Data = m.Blocks[0].Data[:20] }},
		{"final", "final", func(*CTD) {}},
		{"final refused", "final", func(m *CTD) { m.Blocks[0] = respelt(m.Blocks[0], func(c *Control) { c.Digest[0]++ }) }},
		{"closed", "closed", func(*CTD) {}},
	} {
		for _, ack := range []bool{true, false} {
			s := newScript(t, "A", "B")
			s.dropAll[c.phase] = true
			w := s.world
			w.start()
			ses := w.newSession("s1", 0, false)
			w.adopt(ses, "A", 0, false)
			w.settle()
			w.command("A", Handover{Session: ses.id, To: "B", Ticket: 1})
			w.settle()
			if c.phase == "closed" {
				w.advance(time.Second)
			}
			before := w.kinds("ctdr")
			m := w.last(t, c.phase).(*CTD)
			c.spoil(m)
			m.Ack = ack
			b := w.router("B")
			w.witness("A", m)
			w.step(b, FromRouter{From: "A", Message: m})
			w.settle()
			want := 0
			if ack {
				want = 1
			}
			if got := w.kinds("ctdr") - before; got != want {
				t.Errorf("%s, A is %v: %d CTDRs", c.name, ack, got)
			}
			if reply := w.kinds("ctdr"); reply > before {
				success := w.last(t, "ctdr").(*CTDR).Success
				if taken := c.name == c.phase || c.name == "staged"; success != taken {
					t.Errorf("%s: the CTDR says %v", c.name, success)
				}
			}
		}
	}
}

// respelt is a control block with a change.
func respelt(b CDB, change func(*Control)) CDB {
	c, err := ParseControl(b)
	if err != nil {
		panic(err)
	}
	change(&c)
	if b, err = c.Block(); err != nil {
		panic(err)
	}
	return b
}
