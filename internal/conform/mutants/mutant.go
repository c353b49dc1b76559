package main

import (
	"slices"
	"strings"
	"time"

	"github.com/cxtp/cxtp/internal/overlay"
)

// mutant is a way to break a demand.
type mutant struct {
	name     string
	rows     []string // of RFC 4067, without the document's name: each has to catch it
	file     string   // from the module's folder
	old, new string   // its text, there exactly once, and what breaks the demand
	more     []overlay.Edit
	offline  bool   // the vectors are to catch it, and not the live cases
	only     string // the one case that is to catch it; "" = any of the rows'
}

// whole is the daemon as it is: every case passes.
var whole = mutant{name: "none"}

// mutants are all of them.
func mutants() []mutant {
	return slices.Concat(vectorMutants, codecMutants, requestMutants, sourceMutants, targetMutants)
}

// edits are what makes the mutant of the daemon.
func (m mutant) edits() []overlay.Edit {
	if m.file == "" {
		return nil
	}
	return append([]overlay.Edit{{File: m.file, Old: m.old, New: m.new}}, m.more...)
}

// result is what became of a mutant.
type result struct {
	mutant mutant
	caught map[string]string // the case that failed and why, by row
	failed []string          // of the daemon as it is: what failed all the same
	broken string            // why it could not be probed
	took   time.Duration
}

// by says which case has caught the mutant for a row.
func (r result) by(row string) string {
	switch {
	case r.broken != "":
		return r.broken
	case r.caught[row] == "":
		return "nothing"
	}
	return r.caught[row]
}

// short is the result for those who wait.
func (r result) short() string {
	switch why := r.wrong(); {
	case why != "":
		return "WRONG: " + why
	case len(r.mutant.rows) == 0:
		return "conforms"
	}
	return "caught"
}

// wrong says what is not as it should be; "" = all is well.
func (r result) wrong() string {
	if r.broken != "" {
		return r.broken
	}
	if len(r.failed) > 0 {
		return "the daemon as it is does not conform: " + strings.Join(r.failed, "; ")
	}
	var survived []string
	for _, row := range r.mutant.rows {
		if r.caught[row] == "" {
			survived = append(survived, row)
		}
	}
	if len(survived) > 0 {
		return "survives: no case of the rows " + strings.Join(survived, ", ") + " fails"
	}
	return ""
}
