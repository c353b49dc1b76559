package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
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
	command := "cxtpd"
	if m.offline {
		command = "cxtp"
	}
	program, err := b.build(ctx, m, command)
	if err != nil {
		r.broken = err.Error()
		return r, ctx.Err()
	}
	if m.offline {
		r.ask(ctx, program)
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
		subject.Timers.Patience = config.Duration{Duration: patience}
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
	r.blame(c.Rows, c.Name+": "+found.Detail)
}

// blame notes a case that has failed for each row that has caught nothing yet.
func (r *result) blame(rows []string, found string) {
	for _, row := range r.mutant.rows {
		if r.caught[row] == "" && slices.Contains(rows, "rfc4067-"+row) {
			r.caught[row] = found
		}
	}
}

func names(c conform.Case, row string) bool { return slices.Contains(c.Rows, "rfc4067-"+row) }

// ask has a mutant of the tool ask its own codec about the vectors.
func (r *result) ask(ctx context.Context, program string) {
	out, err := exec.CommandContext(ctx, program, "conform", "--json").Output()
	var report struct {
		Results []struct {
			Name, Detail string
			Verdict      conform.Verdict
			Rows         []string
		}
	}
	if json.Unmarshal(out, &report) != nil {
		r.broken = fmt.Sprintf("it gives no report: %v", err)
		return
	}
	for _, c := range report.Results {
		if c.Verdict == conform.Failed {
			r.blame(c.Rows, c.Name+": "+c.Detail)
		}
	}
}

// build compiles a command with the mutated files in place of the real ones, and
// returns where it is. Nothing is optimised, because most of a mutant's work goes
// here.
func (b bench) build(ctx context.Context, m mutant, command string) (string, error) {
	list, err := overlay.Write(b.dir, b.work, m.edits(), nil)
	if err != nil {
		return "", err
	}
	return rig.BuildCommand(ctx, command, b.work, "-gcflags=github.com/cxtp/cxtp/...=-N -l", "-ldflags=-s -w", "-overlay", list)
}
