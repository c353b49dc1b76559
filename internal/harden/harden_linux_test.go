package harden

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestProcess hardens a process of its own, because it cannot be undone, and
// reads back what the kernel says of it.
func TestProcess(t *testing.T) {
	if os.Getenv("CXTP_TEST_HARDEN") != "" {
		locked, err := Process()
		if err != nil {
			t.Fatal(err)
		}
		limits, err := os.ReadFile("/proc/self/limits")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(limits)) {
			if strings.HasPrefix(line, "Max core file size") && strings.Fields(line)[4] != "0" {
				t.Errorf("core dumps are still possible: %s", line)
			}
		}
		status, err := os.ReadFile("/proc/self/status")
		if err != nil {
			t.Fatal(err)
		}
		if got := !strings.Contains(string(status), "VmLck:\t       0 kB"); got != locked {
			t.Errorf("locked is %v, the kernel says %v", locked, got)
		}
		return
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestProcess$")
	cmd.Env = append(os.Environ(), "CXTP_TEST_HARDEN=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}
