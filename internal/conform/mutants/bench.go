package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/cxtp/cxtp/internal/config"
	"github.com/cxtp/cxtp/internal/conform"
	"github.com/cxtp/cxtp/internal/conform/live"
	"github.com/cxtp/cxtp/internal/conform/rig"
	"github.com/cxtp/cxtp/internal/overlay"
)

// bench builds and probes one mutant.
type bench struct {
	dir  string // of the module
	work string // for what is built, and for the daemon's files
}

// patience is how long a mutant may take to do what it should. The daemon as it is
// gets what the rig gives it.
const patience = 4 * time.Second

// try builds a mutant, and runs the cases of its rows until each row has caught it.
func (b bench) try(ctx context.Context, m mutant) (result, error) {
	r := result{mutant: m, caught: map[string]string{}}
	if err := os.Mkdir(b.work, 0o755); err != nil {
		return r, err
	}
	defer os.RemoveAll(b.work)
	program, err := b.build(ctx, m)
	if err != nil {
		r.broken = err.Error()
		return r, ctx.Err()
	}
	daemon, err := rig.Start(ctx, program, b.work)
	if err != nil {
		r.broken = err.Error()
		return r, ctx.Err()
	}
	defer daemon.Stop() // that it has crashed is one way to be caught
	prober, err := open(daemon.Subject, m)
	if err != nil {
		return r, err
	}
	defer prober.Close()
	for _, c := range live.Cases(prober) {
		r.probe(ctx, c)
	}
	return r, ctx.Err()
}

// open makes a prober for what runs.
func open(path string, m mutant) (*live.Prober, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	subject, err := live.Parse(path, text)
	if err != nil {
		return nil, err
	}
	if len(m.rows) > 0 {
		subject.Timers.Patience = config.Duration(patience)
	}
	return live.Open(subject)
}

// probe runs a case, if a row that has caught nothing yet is among its own.
func (r *result) probe(ctx context.Context, c conform.Case) {
	if len(r.mutant.rows) == 0 {
		if f := c.Run(ctx); f.Verdict != conform.Passed {
			r.failed = append(r.failed, fmt.Sprintf("%s: %s: %s", c.Name, f.Verdict, f.Detail))
		}
		return
	}
	wanted := slices.ContainsFunc(r.mutant.rows, func(row string) bool { return r.caught[row] == "" && names(c, row) })
	if only := r.mutant.only; only != "" && only != c.Name {
		wanted = false
	}
	if !wanted {
		return
	}
	found := c.Run(ctx)
	if found.Verdict != conform.Failed {
		return
	}
	for _, row := range r.mutant.rows {
		if r.caught[row] == "" && names(c, row) {
			r.caught[row] = c.Name + ": " + found.Detail
		}
	}
}

func names(c conform.Case, row string) bool { return slices.Contains(c.Rows, "rfc4067-"+row) }

// build compiles the daemon with the mutated files in place of the real ones, and
// returns where it is. Nothing is optimised, because most of a mutant's work goes
// here.
func (b bench) build(ctx context.Context, m mutant) (string, error) {
	list, err := overlay.Write(b.dir, b.work, m.edits(), nil)
	if err != nil {
		return "", err
	}
	return rig.Build(ctx, b.work, "-gcflags=github.com/cxtp/cxtp/...=-N -l", "-ldflags=-s -w", "-overlay", list)
}
