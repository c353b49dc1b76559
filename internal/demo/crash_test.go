package demo

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
)

// TestCrash kills both parties before and after the grant, and where the session
// goes on, where it ends at once, and where it ends at the deadline.
func TestCrash(t *testing.T) {
	o := Options{Crash: []string{"target-after-promise", "source-after-grant", "target-active", "source-closed"}}
	report, text, err := runDemo(t, t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if !report.Kept || len(report.Moves) != len(o.Crash) {
		t.Fatalf("%d moves, broken: %q", len(report.Moves), report.Broken)
	}
	if report.Witness.Replays == 0 {
		t.Error("nothing was replayed")
	}
	for i, m := range report.Moves {
		c := m.Crash
		if c == nil || c.Point != o.Crash[i] || c.At == "" || c.Lives != (i == 0 || i == 3) || (c.Why == "") != c.Lives {
			t.Errorf("%s: %+v", o.Crash[i], c)
		}
		for _, what := range []string{"DIES", "is back"} {
			if !slices.ContainsFunc(m.Ladder, func(r Rung) bool { return r.What == what && r.By == c.Killed }) {
				t.Errorf("%s: the ladder does not show that %s %s", c.Point, c.Killed, what)
			}
		}
	}
	// What the gateway did last is not lost with it.
	if last := report.Moves[2].Ladder; !slices.ContainsFunc(last, func(r Rung) bool { return strings.HasPrefix(r.What, "activate") }) {
		t.Error("the ladder does not show the last step of the gateway that died")
	}
	for _, want := range []string{"killed itself at target-active", "session lives at ", "session ended at "} {
		if !strings.Contains(text, want) {
			t.Errorf("the text lacks %q", want)
		}
	}
	var out bytes.Buffer
	if err := report.Write(&out, true); err != nil {
		t.Fatal(err)
	}
	var again Report
	d := json.NewDecoder(&out)
	d.DisallowUnknownFields()
	if err := d.Decode(&again); err != nil || again.Moves[2].Crash.Why != report.Moves[2].Crash.Why {
		t.Errorf("as JSON: %v", err)
	}
}

func TestLoss(t *testing.T) {
	for name, o := range map[string]Options{
		"moves":   {Moves: 6, Loss: 20, Seed: 1},
		"crashes": {Crash: []string{"source-frozen", "source-active-heard"}, Loss: 20, Seed: 1},
	} {
		t.Run(name, func(t *testing.T) {
			report, text, err := runDemo(t, t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if !report.Kept || len(report.Moves) != max(o.Moves, len(o.Crash)) {
				t.Fatalf("%d moves, broken: %q", len(report.Moves), report.Broken)
			}
			if f := report.CXTP; f.Dropped == 0 || f.Dropped >= f.Datagrams {
				t.Errorf("%d of %d datagrams were dropped", f.Dropped, f.Datagrams)
			}
			if !strings.Contains(text, "--seed 1") || !strings.Contains(text, "were dropped") {
				t.Error("the text does not say what was dropped, or how that was chosen")
			}
		})
	}
}

func TestSettled(t *testing.T) {
	for _, test := range []struct {
		states [2]string
		owner  int
		over   bool
	}{
		{[2]string{"active", ""}, 0, false},
		{[2]string{"gone", "active"}, 1, false},
		{[2]string{"active", "held"}, 0, false},
		{[2]string{"gone", "held"}, nobody, true},
		{[2]string{"", ""}, nobody, true},
		{[2]string{"active", "active"}, nobody, false}, // two owners are none
		{[2]string{"frozen", "active"}, nobody, false},
		{[2]string{"moved", "active-unclosed"}, nobody, false},
		{[2]string{"staging", ""}, nobody, false},
		{[2]string{"frozen", "gone"}, nobody, false},
	} {
		if owner, over := settled(test.states); owner != test.owner || over != test.over {
			t.Errorf("%q: owner %d, over %v", test.states, owner, over)
		}
	}
}
