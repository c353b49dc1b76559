package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"time"

	"github.com/cxtp/cxtp/internal/overlay"
)

// bench builds and plays one mutant.
type bench struct {
	dir       string // of package cxtp
	work      string // for what is built
	schedules int
}

// patience is how long a mutant may take: a machine that answers itself for ever
// is stopped by the simulator, but one that never returns is not.
const patience = 3 * time.Minute

// try builds a mutant and plays it until the law that should catch it is broken.
func (b bench) try(ctx context.Context, m mutant) (result, error) {
	r := result{mutant: m}
	test, err := b.build(ctx, m)
	if err != nil {
		r.broken = err.Error()
		return r, ctx.Err()
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, errPatience)
	defer cancel()
	sought := m.law
	if sought == "" {
		sought = "any"
	}
	play := exec.CommandContext(ctx, test, "-test.run", "^TestLaws$", "-law", sought, "-schedules", strconv.Itoa(b.schedules))
	play.Dir = b.dir
	out, err := play.CombinedOutput()
	switch exit := (*exec.ExitError)(nil); {
	case context.Cause(ctx) == errPatience:
		r.broken = "it hangs"
	case ctx.Err() != nil:
		return r, ctx.Err()
	case err == nil:
	case errors.As(err, &exit):
		r.read(out)
	default:
		return r, err
	}
	return r, nil
}

var errPatience = errors.New("patience has run out")

// build compiles what TestLaws needs of package cxtp's tests, with the mutated
// file in place of the real one, and returns where it is. Most of the time of a
// mutant goes here, so nothing is optimised.
func (b bench) build(ctx context.Context, m mutant) (string, error) {
	overlay, err := b.overlay(m)
	if err != nil {
		return "", err
	}
	test := filepath.Join(b.work, "cxtp.test")
	compile := exec.CommandContext(ctx, "go", "test", "-c", "-gcflags=-N -l", "-ldflags=-s -w", "-overlay", overlay, "-o", test, ".")
	compile.Dir = b.dir
	if out, err := compile.CombinedOutput(); err != nil {
		return "", fmt.Errorf("failed to compile it: %w\n%s", err, out)
	}
	return test, nil
}

// simulator are the files of tests that TestLaws is made of.
var simulator = regexp.MustCompile(`^machine_(contexts|copies|keys|laws|network|plain_laws|print|random|sad|transcript|world)_test\.go$`)

// overlay has the mutated file compiled, and the tests that are not needed left out.
func (b bench) overlay(m mutant) (string, error) {
	tests, err := filepath.Glob(filepath.Join(b.dir, "*_test.go"))
	if err != nil {
		return "", err
	}
	others := slices.DeleteFunc(tests, func(file string) bool { return simulator.MatchString(filepath.Base(file)) })
	return overlay.Write(b.dir, b.work, m.edits(), others)
}

var (
	caught  = regexp.MustCompile(`caught by (.*)`)
	noticed = regexp.MustCompile(`noticed by (.*)`)
	crashed = regexp.MustCompile(`(?m)^panic: (.*)`)
)

// read finds in the tests' output what was broken first.
func (r *result) read(out []byte) {
	first := func(e *regexp.Regexp) string {
		if found := e.FindSubmatch(out); found != nil {
			return string(found[1])
		}
		return ""
	}
	r.caught, r.other = first(caught), first(noticed)
	switch panicked := first(crashed); {
	case r.caught != "" && r.mutant.law == "":
		r.caught, r.other = "", r.caught
	case r.caught != "":
	case panicked != "":
		r.broken = "it panics: " + panicked
	case r.other == "":
		r.broken = "the tests failed without a word about a law:\n" + string(out)
	}
}
