package rig_test

import (
	"context"
	"os"
	"testing"

	"github.com/cxtp/cxtp/internal/conform"
	"github.com/cxtp/cxtp/internal/conform/live"
	"github.com/cxtp/cxtp/internal/conform/rig"
)

// TestOwnDaemonConforms runs every live case against cxtpd, which speaks our control
// profile with the prober, or RFC 4067 alone.
func TestOwnDaemonConforms(t *testing.T) {
	program, err := rig.Build(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	for name, start := range map[string]func(context.Context, string, string) (*rig.Rig, error){"profile": rig.Start, "plain": rig.StartPlain} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, err := start(t.Context(), program, t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			conforms(t, r)
		})
	}
}

// conforms runs every case against the router, and ends it.
func conforms(t *testing.T, r *rig.Rig) {
	t.Helper()
	defer func() {
		if err := r.Stop(); err != nil {
			t.Error(err)
		}
	}()
	text, err := os.ReadFile(r.Subject)
	if err != nil {
		t.Fatal(err)
	}
	subject, err := live.Parse(r.Subject, text)
	if err != nil {
		t.Fatal(err)
	}
	prober, err := live.Open(subject)
	if err != nil {
		t.Fatal(err)
	}
	defer prober.Close()
	conform.Run(t.Context(), subject.Name, live.Cases(prober), true, func(r conform.Result) {
		if r.Verdict != conform.Passed {
			t.Errorf("%s (%s): %s: %s", r.Name, r.Rows[0], r.Verdict, r.Detail)
		}
		t.Logf("%-28s %s %v", r.Name, r.Verdict, r.Took)
	})
}
