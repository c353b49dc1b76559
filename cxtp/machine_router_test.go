package cxtp

import (
	"slices"
	"strings"
	"testing"
	"time"
)

// TestMachineRejectsTimersThatNeverEnd makes each timer but Grace 0 in turn: the
// machine would wait for ever, or repeat without a pause.
func TestMachineRejectsTimersThatNeverEnd(t *testing.T) {
	cases := map[string]func(*Timers){
		"MaxTransfer":    func(x *Timers) { x.MaxTransfer = 0 },
		"RequestWait":    func(x *Timers) { x.RequestWait = 0 },
		"StageHold":      func(x *Timers) { x.StageHold = 0 },
		"Repeat":         func(x *Timers) { x.Repeat = 0 },
		"RepeatMax":      func(x *Timers) { x.RepeatMax = -1 },
		"FreezeDeadline": func(x *Timers) { x.FreezeDeadline = 0 },
		"SteerDeadline":  func(x *Timers) { x.SteerDeadline = 0 },
		"UpdateRepeat":   func(x *Timers) { x.UpdateRepeat = 0 },
		"UpdateGiveUp":   func(x *Timers) { x.UpdateGiveUp = 0 },
		"CloseGiveUp":    func(x *Timers) { x.CloseGiveUp = 0 },
	}
	for name, spoil := range cases {
		cfg := Config{Self: "A", Incarnation: 1, Inspect: simInspect, Mode: ModeStrict, Timers: DefaultTimers()}
		cfg.Timers.Grace = 0
		if _, _, err := NewRouter(cfg, nil, nil); err != nil {
			t.Fatalf("without a grace: %v", err)
		}
		spoil(&cfg.Timers)
		if _, _, err := NewRouter(cfg, nil, nil); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s spoilt: error is %v", name, err)
		}
	}
}

// TestMachineIgnoresForeignResults gives a session results of operations that it
// does not wait for, in the state where each would do harm.
func TestMachineIgnoresForeignResults(t *testing.T) {
	w := newScript(t, "A", "B").world
	w.start()
	ses := w.newSession("s1", 0, false)
	w.adopt(ses, "A", 0, false)
	w.settle()
	w.router("B").steering = 1 // leaves steering without an operation under way
	w.command("A", Handover{Session: ses.id, To: "B", Ticket: 1})
	w.settle()
	b := w.router("B")
	for _, op := range []OpID{0, 1, 99} {
		if actions := b.machine.Step(w.now, Done{Session: ses.id, Op: op}); len(actions) > 0 {
			t.Errorf("a result of operation %d makes B do %q", op, w.action(actions[0]))
		}
	}
	a := w.router("A")
	if actions := a.machine.Step(w.now, Done{Session: ses.id, Op: 1}); len(actions) > 0 {
		t.Errorf("an old result makes A do %q", w.action(actions[0]))
	}
}

// TestMachineActsInOneOrder lets several requests end at one time, and several
// sessions end in one restart, many times: the order must not depend on a map's.
func TestMachineActsInOneOrder(t *testing.T) {
	run := func() string {
		s := newScript(t, "A", "B")
		s.dropAll["ct-req"] = true
		w := s.world
		w.start()
		for _, name := range []string{"s1", "s2", "s3", "s4", "s5"} {
			ses := w.newSession(name, 0, false)
			w.adopt(ses, "A", 0, false)
			w.command("B", Pull{Previous: ses.at, From: "A", Sequence: 1})
		}
		w.advance(5 * time.Second)
		w.restart(w.router("A"), 0)
		return w.transcript.String()
	}
	first := run()
	for range 10 {
		if again := run(); again != first {
			t.Fatalf("one run:\n%s\nanother:\n%s", first, again)
		}
	}
}

// TestMachineFinalNeedsAuthority is a source that grants on its own word to a
// target that wants the node's.
func TestMachineFinalNeedsAuthority(t *testing.T) {
	w := newScript(t, "A", "B").world
	p, _ := w.router("B").cfg.peer("A")
	p.ActivateWithoutToken = false
	w.start()
	ses := w.newSession("s1", 0, false)
	w.adopt(ses, "A", 0, false)
	w.settle()
	w.command("A", Handover{Session: ses.id, To: "B", Ticket: 1})
	w.settle()
	b := w.router("B")
	control, err := Control{Phase: PhaseFinal, Mode: ModeLossless, Session: ses.id, Epoch: 1, TokenProved: true,
		Incarnation: b.cfg.Incarnation, Target: "B", Digest: b.machine.sessions[ses.id].tgt.digest}.Block()
	if err != nil {
		t.Fatal(err)
	}
	w.step(b, FromRouter{From: "A", Message: &CTD{Previous: ses.at, Blocks: []CDB{control}}})
	if state := b.sad[ses.id].state; state != saStaged {
		t.Errorf("the SAs are %s", saNames[state])
	}
}

// moveWithout has a session move from A to B as far as it gets when all messages of a
// kind are lost.
func moveWithout(t *testing.T, kind string) (*world, *simSession) {
	s := newScript(t, "A", "B", "C")
	s.dropAll[kind] = true
	w := s.world
	w.start()
	ses := w.newSession("s1", 0, false)
	w.adopt(ses, "A", 0, false)
	w.settle()
	w.command("A", Handover{Session: ses.id, To: "B", Ticket: 1})
	w.settle()
	return w, ses
}

// TestMachineThawsOnProofOnly gives a frozen source answers that differ in one
// thing from the target's "refused".
func TestMachineThawsOnProofOnly(t *testing.T) {
	cases := []struct {
		name   string
		change func(*Outcome)
		from   RouterID
		thaws  bool
	}{
		{"refused", func(*Outcome) {}, "B", true},
		{"sender", func(*Outcome) {}, "C", false},
		{"epoch", func(o *Outcome) { o.Epoch++ }, "B", false},
		{"incarnation", func(o *Outcome) { o.Incarnation++ }, "B", false},
		{"unseen", func(o *Outcome) { o.State = OutcomeUnseen }, "B", false},
		{"staged", func(o *Outcome) { o.State = OutcomeStaged }, "B", false},
		{"lost", func(o *Outcome) { o.State = OutcomeLost }, "B", false},
		{"moved on", func(o *Outcome) { o.State = OutcomeMovedOn }, "B", false},
		{"pending", func(o *Outcome) { o.State = OutcomePending }, "B", false},
		{"question", func(o *Outcome) { o.Question = true }, "B", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w, ses := moveWithout(t, "final")
			o := &Outcome{Previous: ses.at, Session: ses.id, Epoch: 1, Incarnation: w.router("B").cfg.Incarnation, State: OutcomeRefused}
			c.change(o)
			a := w.router("A")
			w.step(a, FromRouter{From: c.from, Message: o})
			if got := a.sad[ses.id].state == saActive; got != c.thaws {
				t.Errorf("thawed is %v, want %v", got, c.thaws)
			}
		})
	}
}

// TestMachineFinalNeedsItsBase changes one thing at a time in the final of a
// staged session: only the untouched one may activate.
func TestMachineFinalNeedsItsBase(t *testing.T) {
	cases := []struct {
		name      string
		change    func(*Control)
		from      RouterID
		activates bool
	}{
		{"nothing", func(*Control) {}, "A", true},
		{"digest", func(c *Control) { c.Digest[0]++ }, "A", false},
		{"incarnation", func(c *Control) { c.Incarnation++ }, "A", false},
		{"epoch", func(c *Control) { c.Epoch++ }, "A", false},
		{"sender", func(*Control) {}, "C", false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w, ses := moveWithout(t, "final")
			final := w.last(t, "final").(*CTD)
			final.Blocks[0] = respelt(final.Blocks[0], c.change)
			b := w.router("B")
			w.step(b, FromRouter{From: c.from, Message: final})
			if got := b.sad[ses.id].state == saActive; got != c.activates {
				t.Errorf("activated is %v, want %v", got, c.activates)
			}
		})
	}
}

// TestMachineStageMustBeWhole changes one thing at a time in a stage.
func TestMachineStageMustBeWhole(t *testing.T) {
	cases := []struct {
		name   string
		change func(*CTD, *Control)
		staged bool
	}{
		{"nothing", func(*CTD, *Control) {}, true},
		{"digest", func(_ *CTD, c *Control) { c.Digest[0]++ }, false},
		{"a block's data", func(m *CTD, _ *Control) { m.Blocks[2].Data[5]++ }, false},
		{"a block left out", func(m *CTD, _ *Control) { m.Blocks = m.Blocks[:2] }, false},
		{"another target", func(_ *CTD, c *Control) { c.Target = "C" }, false},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			w, ses := moveWithout(t, "stage")
			stage := w.last(t, "stage").(*CTD)
			stage.Blocks[0] = respelt(stage.Blocks[0], func(control *Control) { c.change(stage, control) })
			b := w.router("B")
			w.step(b, FromRouter{From: "A", Message: stage})
			if got := b.sad[ses.id] != nil; got != c.staged {
				t.Errorf("staged is %v, want %v", got, c.staged)
			}
		})
	}
}

// TestMachineEpochJump is a peer that tries to use up a session's epochs.
func TestMachineEpochJump(t *testing.T) {
	w := newScript(t, "A", "B").world
	w.start()
	ses := w.newSession("s1", 0, false)
	w.adopt(ses, "A", 0, false)
	w.settle()
	b := w.router("B")
	for _, c := range []struct {
		epoch Epoch
		state string
	}{{1<<64 - 1, ""}, {maxEpochJump + 1, ""}, {maxEpochJump, "gone"}} {
		control, err := Control{Phase: PhaseStage, Mode: ModeLossless, Session: ses.id, Epoch: c.epoch, Target: "B"}.Block()
		if err != nil {
			t.Fatal(err)
		}
		w.step(b, FromRouter{From: "A", Message: &CTD{Previous: ses.at, Blocks: []CDB{control}}})
		w.settle()
		state := ""
		if s := b.machine.sessions[ses.id]; s != nil {
			state = s.state.String()
		}
		if state != c.state { // an epoch that is examined, and refused, is used up
			t.Errorf("after epoch %d the session is %q, want %q", c.epoch, state, c.state)
		}
	}
	w.command("A", Handover{Session: ses.id, To: "B", Ticket: 1})
	w.settle()
	if got := w.router("A").machine.sessions[ses.id].epoch; got >= maxEpochJump {
		t.Errorf("the owner's epoch is %d", got)
	}
}

// TestMachineResumesAThaw finds SAs that are frozen still, after a record that
// says that they go on: it does what the record decided.
func TestMachineResumesAThaw(t *testing.T) {
	w := newScript(t, "A", "B").world
	ses := w.newSession("s1", 0, false)
	floors := []ManifestEntry{{FPTIPsecSA, directionOut, 50, simSPI, 1000}}
	for name, c := range map[string]struct {
		record Record
		floors []ManifestEntry
	}{
		"refused": {Record{Kind: RecordThawed, Epoch: 3, Peer: "B"}, []ManifestEntry{}},
		"fenced":  {Record{Kind: RecordThawed, Epoch: 3, Peer: "B", Ceilings: floors}, floors},
	} {
		c.record.Session, c.record.Previous = ses.id, ses.at
		router, added, err := NewRouter(w.router("A").cfg, []Record{c.record}, []Held{{ses.id, HeldFrozen, ses.claims}})
		if err != nil || len(added) > 0 {
			t.Fatalf("%s: %v, added %v", name, err, added)
		}
		actions := router.Tick(epochZero)
		if len(actions) != 2 {
			t.Fatalf("%s: %v", name, actions)
		}
		limit, thaw := actions[0].(Do), actions[1].(Do)
		if limit.Verb != VerbLimit || len(limit.Manifest) > 0 || thaw.Verb != VerbThaw || !slices.Equal(thaw.Manifest, c.floors) {
			t.Errorf("%s: %v", name, actions)
		}
		router.Step(epochZero, Done{Session: ses.id, Op: thaw.Op})
		if v := router.Sessions(); v[0].State != "active" {
			t.Errorf("%s: the session is %s", name, v[0].State)
		}
	}
}
