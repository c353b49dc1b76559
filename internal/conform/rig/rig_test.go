package rig_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/cxtp/cxtp/internal/conform"
	"github.com/cxtp/cxtp/internal/conform/live"
	"github.com/cxtp/cxtp/internal/conform/rig"
)

// TestOwnDaemonConforms runs every live case against cxtpd.
func TestOwnDaemonConforms(t *testing.T) {
	folder := t.TempDir()
	program := filepath.Join(folder, "cxtpd")
	if out, err := exec.Command("go", "build", "-o", program, "github.com/cxtp/cxtp/cmd/cxtpd").CombinedOutput(); err != nil {
		t.Fatalf("failed to build cxtpd: %v\n%s", err, out)
	}
	r, err := rig.Start(t.Context(), program, folder)
	if err != nil {
		t.Fatal(err)
	}
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
