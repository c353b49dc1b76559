//go:build linux && uml

package uml

import (
	"os/exec"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"
)

// allowed are the processors that a process may run on; 0 is the calling thread.
func allowed(t *testing.T, pid int) unix.CPUSet {
	t.Helper()
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(pid, &set); err != nil {
		t.Fatal(err)
	}
	return set
}

// A guest goes where the fewest are, and this process keeps the processors that it has.
func TestProcessors(t *testing.T) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := allowed(t, 0)
	const rounds = 2
	taken := map[processor]int{}
	take := func() processor {
		on, err := takeProcessor()
		if err != nil {
			t.Fatal(err)
		}
		taken[on]++
		return on
	}
	for range rounds * before.Count() {
		on := take()
		defer on.leave()
		cmd := exec.Command("sleep", "60")
		if err := on.bind(cmd.Start); err != nil {
			t.Fatal(err)
		}
		bound := allowed(t, cmd.Process.Pid)
		cmd.Process.Kill()
		cmd.Wait()
		if !bound.IsSet(int(on)) || bound.Count() != 1 {
			t.Errorf("a guest of processor %d may run on %v", on, bound)
		}
	}
	for on, guests := range taken {
		if guests != rounds {
			t.Errorf("processor %d has %d guests, want %d", on, guests, rounds)
		}
	}
	for on := range taken {
		on.leave()
		if again := take(); again != on {
			t.Errorf("processor %d was taken, where %d has fewer guests", again, on)
		}
	}
	if after := allowed(t, 0); after != before {
		t.Errorf("this thread may run on %v now, before on %v", after, before)
	}
}
