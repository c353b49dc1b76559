package main

import (
	"go/parser"
	"go/token"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/internal/conform/live"
	"github.com/cxtp/cxtp/internal/conform/offline"
	"github.com/cxtp/cxtp/rfc"
)

// TestMutantsAreOfTheDaemon finds those that have gone stale, without building
// anything.
func TestMutantsAreOfTheDaemon(t *testing.T) {
	seen := map[string]bool{whole.name: true}
	for _, m := range mutants() {
		if seen[m.name] || len(m.rows) == 0 {
			t.Errorf("there are two called %s, or it has no row", m.name)
		}
		seen[m.name] = true
		for _, e := range m.edits() {
			text, err := e.Apply("../../..")
			if err != nil {
				t.Errorf("%s: %v", m.name, err)
				continue
			}
			if _, err := parser.ParseFile(token.NewFileSet(), e.File, text, parser.SkipObjectResolution); err != nil || e.Old == e.New {
				t.Errorf("%s is not Go, or changes nothing: %v", m.name, err)
			}
		}
	}
}

// TestEveryDemandHasAMutant: what the cases say that they show, of RFC 4067's demands
// that bind, is shown by a mutant; and a mutant's rows are those of cases.
func TestEveryDemandHasAMutant(t *testing.T) {
	shown, named, broken := map[string]string{}, map[string]bool{}, map[string]bool{}
	vectors, err := offline.Cases(offline.Own{})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range append(vectors, live.Cases(nil)...) {
		for _, id := range c.Rows {
			named[id] = true
			if row, _ := rfc.Find(id); strings.HasPrefix(id, "rfc4067-") && (row.Level == rfc.Must || row.Level == rfc.MustNot) {
				shown[id] = row.Text
			}
		}
	}
	for _, m := range mutants() {
		for _, row := range m.rows {
			broken["rfc4067-"+row] = true
		}
	}
	for id, text := range shown {
		if !broken[id] {
			t.Errorf("no mutant breaks %s, which cases name: %s", id, text)
		}
	}
	for id := range broken {
		if !named[id] {
			t.Errorf("a mutant breaks %s, and no case names it", id)
		}
	}
}

// TestResultIsJudged gives a mutant each outcome that it may have.
func TestResultIsJudged(t *testing.T) {
	m := mutant{rows: []string{"1", "2"}}
	for _, c := range []struct {
		name  string
		r     result
		wrong string
	}{
		{"caught", result{mutant: m, caught: map[string]string{"1": "a", "2": "b"}}, ""},
		{"caught for one row", result{mutant: m, caught: map[string]string{"1": "a"}}, "survives: no case of the rows 2"},
		{"does not start", result{mutant: m, broken: "no"}, "no"},
		{"whole", result{mutant: whole}, ""},
		{"whole, and fails", result{mutant: whole, failed: []string{"a"}}, "does not conform"},
	} {
		if got := c.r.wrong(); (got == "") != (c.wrong == "") || !strings.Contains(got, c.wrong) {
			t.Errorf("%s: wrong is %q, want %q", c.name, got, c.wrong)
		}
	}
}
