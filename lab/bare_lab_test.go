//go:build linux && lab

package lab

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/control"
)

// withoutESP takes ESP out of the guest's kernel until the test ends.
func (f *fleet) withoutESP() {
	f.t.Helper()
	const loader = "/proc/sys/kernel/modprobe" // the program that the kernel loads modules with
	before, err := os.ReadFile(loader)
	f.must(err)
	refuses := filepath.Join(f.folder, "modprobe")
	f.must(os.WriteFile(refuses, []byte("#!/bin/sh\ncase \"$*\" in *xfrm-type-*) exit 1;; esac\nexec /sbin/modprobe \"$@\"\n"), 0o700))
	f.must(os.WriteFile(loader, []byte(refuses+"\n"), 0))
	f.t.Cleanup(func() {
		f.must(os.WriteFile(loader, before, 0))
		if out, err := exec.Command("modprobe", "-a", "esp4", "esp6").CombinedOutput(); err != nil {
			f.t.Errorf("the guest stays without ESP: %v: %s", err, out)
		}
	})
	if out, err := exec.Command("rmmod", "esp4", "esp6").CombinedOutput(); err != nil {
		f.t.Fatalf("ESP stays: %v: %s", err, out)
	}
}

// TestNoESP asks a gateway for a session that its kernel cannot hold: the sentence
// says what to load, nothing is left of the session, and the policies that block what
// it would have protected are as before.
func TestNoESP(t *testing.T) {
	f, l := newFleet(t, "lossless"), linkOf(daemonCase)
	f.withoutESP()
	here := f.gateways[0]
	n := control.NewSession{Session: cxtp.SessionID{0xab}, Previous: l.node, Identity: "mn.example"}
	n.Inner, n.SAs = append(n.Inner, full(l.inner)), []control.NewSA{l.manual(true), l.manual(false)}
	text, err := json.Marshal(n)
	f.must(err)
	before, err := here.Run(f.ctx, "ip", "xfrm", "policy", "list", "nosock")
	f.must(err)
	_, err = f.cxtp(here, "install", f.write("session.json", text))
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.Contains(err.Error(), "load esp4") || strings.Count(err.Error(), "cxtp:") != 1 {
		t.Errorf("a session that the kernel cannot hold: %v", err)
	}
	t.Log(err)
	if len(f.views(here)) > 0 {
		t.Errorf("the daemon has it: %+v", f.views(here))
	}
	after, err := here.Run(f.ctx, "ip", "xfrm", "policy", "list", "nosock")
	f.must(err)
	states, err := here.Run(f.ctx, "ip", "xfrm", "state")
	f.must(err)
	if after != before || strings.TrimSpace(states) != "" {
		t.Errorf("the kernel has policies\n%s\nbefore\n%s\nand SAs %s", after, before, states)
	}
}
