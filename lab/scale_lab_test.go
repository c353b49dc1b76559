//go:build linux && lab

package lab

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// BenchmarkSessions installs 10,000 sessions at a daemon on a kernel gateway, and
// says what the daemon takes for them: its memory, and time a session. It wants a
// guest with room: go run ./lab/run -memory 1500 -run NONE -bench Sessions ./lab
func BenchmarkSessions(b *testing.B) {
	const sessions = 10_000
	for range b.N {
		f := newFleet(b, "lossless")
		at := f.gateways[0]
		before := resident(b, at)
		b.ResetTimer()
		f.populate(at, sessions)
		b.StopTimer()
		b.ReportMetric(float64(b.Elapsed().Nanoseconds())/sessions, "ns/session")
		b.ReportMetric(float64(resident(b, at)-before)/sessions, "kB/session")
		b.ReportMetric(float64(resident(b, at)), "kB")
		f.stop()
	}
}

// resident is a daemon's memory, in kilobytes.
func resident(b *testing.B, g *gateway) (kilobytes int) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", g.cmd.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	if _, err := fmt.Sscan(rest, &kilobytes); err != nil {
		b.Fatal(err)
	}
	return kilobytes
}
