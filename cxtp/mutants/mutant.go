package main

import (
	"slices"
	"strings"
	"time"

	"github.com/cxtp/cxtp/internal/overlay"
)

// mutant is a guard, and the machine without it.
type mutant struct {
	name     string
	guard    string // what the guard does, with its section of rfc/control-profile.md
	file     string // in package cxtp
	old, new string // its text, there exactly once, and the text without the guard
	law      string // what has to catch it: "law 1" to "law 6", or "progress"; "" = nothing does
	why      string // of a guard that nothing catches: why it is there, and what else holds
}

// whole is the machine with all its guards: it must break no law.
var whole = mutant{name: "none", guard: "(the machine as it is)", why: "the laws hold"}

// guards are all mutants, in the order of a move.
func guards() []mutant {
	return slices.Concat(sourceGuards, targetGuards, policyGuards, tokenGuards, plainGuards, standbyGuards, recoveryGuards, timeGuards)
}

// edits are what makes the mutant of the machine.
func (m mutant) edits() []overlay.Edit {
	if m.file == "" {
		return nil
	}
	return []overlay.Edit{{File: m.file, Old: m.old, New: m.new}}
}

// result is what became of a mutant.
type result struct {
	mutant mutant
	caught string // the violation of the expected law, after its place
	other  string // one of another law, likewise
	broken string // what else ended the run: a panic, or the deadline
	took   time.Duration
}

// String is the result for the table.
func (r result) String() string {
	switch {
	case r.caught != "":
		return r.caught
	case r.broken != "":
		return r.broken
	case r.other != "":
		return "not by " + r.mutant.law + ", but by " + r.other
	}
	return strings.TrimSpace("nothing: " + r.mutant.why)
}

// short is the result for those who wait.
func (r result) short() string {
	switch why := r.wrong(); {
	case why != "":
		return "WRONG: " + why
	case r.mutant.law == "":
		return "survives, as it should"
	}
	return r.mutant.law
}

// wrong says what is not as it should be; "" = all is well.
func (r result) wrong() string {
	switch {
	case r.broken != "":
		return r.broken
	case r.mutant.law == "" && r.other != "":
		return "was thought to be redundant, and is caught by " + r.other
	case r.mutant.law == "" || r.caught != "":
		return ""
	case r.other != "":
		return "is caught, but not by " + r.mutant.law + ": " + r.other
	}
	return "survives: no test sees that the guard is missing"
}
