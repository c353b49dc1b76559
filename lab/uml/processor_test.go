//go:build linux && uml

package uml

import (
	"os/exec"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// Guests get processors in turn, and this process keeps those that it has.
func TestGuestsTakeProcessorsInTurn(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var allowed, after unix.CPUSet
	if err := unix.SchedGetaffinity(0, &allowed); err != nil {
		t.Fatal(err)
	}
	got := map[unix.CPUSet]int{}
	const rounds = 2
	for range rounds * allowed.Count() {
		undo, err := onOneProcessor()
		if err != nil {
			t.Fatal(err)
		}
		cmd := exec.Command("sleep", "60")
		err = cmd.Start()
		undo()
		if err != nil {
			t.Fatal(err)
		}
		var bound unix.CPUSet
		if err := unix.SchedGetaffinity(cmd.Process.Pid, &bound); err != nil {
			t.Error(err)
		}
		cmd.Process.Kill()
		cmd.Wait()
		if bound.Count() != 1 {
			t.Errorf("a guest may run on %d processors, want 1", bound.Count())
		}
		got[bound]++
	}
	for bound, times := range got {
		if times != rounds {
			t.Errorf("processors %v were taken %d times, want %d", bound, times, rounds)
		}
	}
	if err := unix.SchedGetaffinity(0, &after); err != nil || after != allowed {
		t.Errorf("this thread may run on %v now, before on %v; %v", after, allowed, err)
	}
}
