package daemon_test

import (
	"flag"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/daemon"
)

var (
	sessions    = flag.Int("sessions", 1000, "how many sessions a benchmark drains")
	outstanding = flag.Int("outstanding", 256, "how many of their moves are under way at a time")
	profile     = flag.String("profile", "", "write the CPU profiles of the draining gateways to files that begin so")
)

// BenchmarkDrain moves all sessions of one gateway to another, each process on
// its own, and then back, without traffic and without grace. One operation is one
// drain. "bare" is two transports without a daemon that exchange what a move
// exchanges: as many messages of the same sizes in the same order.
func BenchmarkDrain(b *testing.B) {
	var bare float64
	b.Run("bare", func(b *testing.B) {
		exchange := moveMessages(b)
		sg := pair(b, trusting, bareRole+"=1")
		for _, g := range sg {
			g.call(b, "Learn", exchange, nil)
		}
		bare = drain(b, sg)
		b.ReportMetric(float64(len(exchange)), "messages/move")
	})
	for name, environment := range journals {
		b.Run(name, func(b *testing.B) {
			sg := pair(b, trusting, environment...)
			adopt(b, sg[0], *sessions)
			if *profile != "" {
				for _, g := range sg {
					g.call(b, "Profile", *profile+"-"+name+"-"+g.name, nil)
					defer g.call(b, "Profile", "", nil)
				}
			}
			if rate := drain(b, sg); bare > 0 {
				b.ReportMetric(rate/bare, "of-bare")
			}
		})
	}
}

// drain moves all sessions there and back until the benchmark has enough, and
// returns moves a second.
func drain(b *testing.B, sg [2]process) float64 {
	var whole time.Duration
	var moves []time.Duration
	for i := 0; b.Loop(); i++ {
		from, to := sg[i%2], sg[(i+1)%2]
		var d daemon.Drained
		from.call(b, "Drain", daemon.DrainRequest{To: cxtp.RouterID(to.name), Sessions: *sessions, Outstanding: *outstanding}, &d)
		whole += d.Whole
		moves = append(moves, d.Moves...)
	}
	rate := float64(len(moves)) / whole.Seconds()
	b.ReportMetric(rate, "moves/s")
	b.ReportMetric(float64(whole.Nanoseconds())/float64(len(moves)), "ns/session")
	report(b, "move", moves)
	return rate
}

// adopt begins n sessions at a gateway.
func adopt(t testing.TB, g process, n int) {
	t.Helper()
	g.call(t, "Install", n, new(int))
	g.call(t, "Adopt", n, nil)
}
