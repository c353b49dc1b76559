package main

import (
	"go/parser"
	"go/token"
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestGuardsAreInTheMachine finds the guards that have gone stale, without
// building anything: each text is there once, and without it the file is still
// Go and another one.
func TestGuardsAreInTheMachine(t *testing.T) {
	for _, m := range guards() {
		text, err := m.edits()[0].Apply("..")
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
			continue
		}
		if m.old == m.new {
			t.Errorf("%s changes nothing", m.name)
		}
		if _, err := parser.ParseFile(token.NewFileSet(), m.file, text, parser.SkipObjectResolution); err != nil {
			t.Errorf("%s is not Go: %v", m.name, err)
		}
	}
}

var (
	laws     = regexp.MustCompile(`^(law [1-6]|progress|)$`)
	sections = regexp.MustCompile(`\(([0-9]+(?:\.[0-9]+)?)\)$`)
)

// TestGuardsAreToldApart checks what the table says of them.
func TestGuardsAreToldApart(t *testing.T) {
	profile, err := os.ReadFile("../../rfc/control-profile.md")
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{whole.name: true}
	for _, m := range guards() {
		switch {
		case seen[m.name]:
			t.Errorf("there are two called %s", m.name)
		case !laws.MatchString(m.law):
			t.Errorf("%s: there is no law %q", m.name, m.law)
		case (m.law == "") != (m.why != ""):
			t.Errorf("%s: a guard has a law that catches it, or a reason why none does", m.name)
		}
		seen[m.name] = true
		if found := sections.FindStringSubmatch(m.guard); found != nil && !strings.Contains(string(profile), "# "+found[1]+" ") && !strings.Contains(string(profile), "# "+found[1]+". ") {
			t.Errorf("%s: the control profile has no section %s", m.name, found[1])
		}
	}
}

// TestGuardsOfEveryLaw checks that no law goes without a mutant.
func TestGuardsOfEveryLaw(t *testing.T) {
	of := map[string]int{}
	for _, m := range guards() {
		of[m.law]++
	}
	for _, law := range []string{"law 1", "law 2", "law 4", "law 5", "law 6", "progress"} { // law 3 is the features'
		if of[law] == 0 {
			t.Errorf("no mutant is caught by %s", law)
		}
	}
}

// TestResultIsJudged gives a mutant each outcome that it may have.
func TestResultIsJudged(t *testing.T) {
	needed, spare := mutant{law: "law 1"}, mutant{why: "another guard holds"}
	for _, c := range []struct {
		name  string
		r     result
		wrong string
	}{
		{"caught", result{mutant: needed, caught: "here"}, ""},
		{"caught by another law", result{mutant: needed, other: "there"}, "not by law 1"},
		{"not caught", result{mutant: needed}, "survives"},
		{"panics", result{mutant: needed, broken: "it panics"}, "panics"},
		{"spare and not caught", result{mutant: spare}, ""},
		{"spare and caught", result{mutant: spare, other: "there"}, "thought to be redundant"},
	} {
		if got := c.r.wrong(); (got == "") != (c.wrong == "") || !strings.Contains(got, c.wrong) {
			t.Errorf("%s: wrong is %q, want %q", c.name, got, c.wrong)
		}
	}
}

// TestResultIsRead reads what the tests print.
func TestResultIsRead(t *testing.T) {
	out := "--- FAIL: TestLaws\n    machine_laws_test.go:60: noticed by seed 3: 9ms law 2: A and B\n    machine_laws_test.go:58: caught by seed 7: 1ms law 1: number 5\n\n"
	r := result{mutant: mutant{law: "law 1"}}
	r.read([]byte(out))
	if r.caught != "seed 7: 1ms law 1: number 5" || r.wrong() != "" {
		t.Errorf("%q, wrong %q", r.caught, r.wrong())
	}
	r = result{mutant: mutant{why: "spare"}}
	r.read([]byte("    machine_laws_test.go:58: caught by seed 7: 1ms law 1: number 5\n"))
	if r.wrong() == "" {
		t.Error("a spare guard that was needed is not told")
	}
	r = result{mutant: mutant{law: "law 1"}}
	r.read([]byte("panic: nil map\n\ngoroutine 7"))
	if !strings.Contains(r.wrong(), "nil map") {
		t.Errorf("a panic is told as %q", r.wrong())
	}
}
