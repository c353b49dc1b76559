// Package conform is what the two halves of the conformance kit share: a case, its
// result, the choice of cases and the reports. Package offline has the half that
// asks an implementation's codec about the vectors, package live the half that
// plays the other routers and the node against a router.
//
// A half is nothing but a list of cases. [Select] takes those of some sections,
// [Run] runs one after another, and a [Report] says what came of them:
//
//	chosen, err := conform.Select(cases, "2.5.1", "control-profile/2")
//	report := conform.Run(ctx, "cxtpd at 192.0.2.1", chosen, strict, nil)
//	report.WriteText(os.Stdout)
//
// A case never hangs and never ends the run: what the implementation does wrong,
// silence included, is what the case found.
package conform

import (
	"context"
	"fmt"
	"strings"
	"time"
	"unicode"

	"github.com/cxtp/cxtp/rfc"
)

// binds reports whether an implementation that does otherwise fails the run. A MAY
// never does: to leave it is as right as to take it.
func binds(l rfc.Level, strict bool) bool { return !l.Optional() || strict && l != rfc.May }

// Case is one thing to find out about an implementation.
type Case struct {
	Name    string   // unique in its half
	Rows    []string // ids of package rfc
	Section string   // "RFC 4067 section 2.5.1", "control profile section 2"
	Level   rfc.Level
	Expect  string // what a correct implementation does, in a sentence
	// Run finds it out. It returns soon after the context ends.
	Run func(context.Context) Finding
}

// Verdict is what a case came to.
type Verdict string

const (
	Passed Verdict = "pass"
	Failed Verdict = "fail"
	NotRun Verdict = "not run"
)

// Finding is what running a case found out. Detail is a sentence: of a failure what
// the implementation did instead, of a case that was not run the reason.
type Finding struct {
	Verdict Verdict
	Detail  string
}

// Pass is the finding that the implementation does what is expected.
func Pass() Finding { return Finding{Verdict: Passed} }

// Fail is the finding that it does something else, and what.
func Fail(format string, args ...any) Finding {
	return Finding{Failed, sentence(format, args)}
}

// Skip is the finding that the case could not be run, and why.
func Skip(format string, args ...any) Finding {
	return Finding{NotRun, sentence(format, args)}
}

// sentence writes a detail on one line, without what a hostile implementation might
// do to a terminal.
func sentence(format string, args []any) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return unicode.ReplacementChar
		}
		return r
	}, fmt.Sprintf(format, args...))
}

// Result is a case and what was found.
type Result struct {
	Case
	Finding
	Took time.Duration
}

// Run runs the cases in their order and reports what was found. observe, if not nil,
// gets each result as soon as it is there. What is left when the context ends is
// not run.
func Run(ctx context.Context, subject string, cases []Case, strict bool, observe func(Result)) Report {
	report := Report{Subject: subject, Strict: strict}
	for _, c := range cases {
		begin := time.Now()
		found := Skip("interrupted")
		if ctx.Err() == nil {
			found = c.Run(ctx)
		}
		result := Result{c, found, time.Since(begin)}
		report.Results = append(report.Results, result)
		if observe != nil {
			observe(result)
		}
	}
	return report
}
