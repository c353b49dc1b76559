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
	outstanding = flag.Int("outstanding", 128, "how many of their moves are under way at a time")
	profile     = flag.String("profile", "", "write the CPU profiles of the draining gateways to files that begin so")
)

// BenchmarkDrain moves all sessions of one gateway to another, each process on
// its own, and then back, without traffic and without grace. One operation is one
// drain. "bare" is two transports without a daemon that exchange what a move
// exchanges: as many messages of the same sizes in the same order.
func BenchmarkDrain(b *testing.B) {
	var bare cost
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
			sent := -messagesSent(b, sg)
			c := drain(b, sg)
			sent += messagesSent(b, sg)
			b.ReportMetric(float64(sent)/float64(b.N**sessions), "messages/move")
			b.ReportMetric(bare.wall.Seconds()/c.wall.Seconds(), "of-bare")
			b.ReportMetric(bare.cpu.Seconds()/c.cpu.Seconds(), "of-bare-cpu")
		})
	}
}

// cost is what a move takes on average: time on the clock, and of the processors
// by both gateways, which does not depend on what else the machine does.
type cost struct{ wall, cpu time.Duration }

// drain moves all sessions there and back until the benchmark has enough.
func drain(b *testing.B, sg [2]process) cost {
	var whole time.Duration
	var moves []time.Duration
	used := -cpu(b, sg)
	for i := 0; b.Loop(); i++ {
		from, to := sg[i%2], sg[(i+1)%2]
		var d daemon.Drained
		from.call(b, "Drain", daemon.DrainRequest{To: cxtp.RouterID(to.name), Sessions: *sessions, Outstanding: *outstanding}, &d)
		whole += d.Whole
		moves = append(moves, d.Moves...)
	}
	used += cpu(b, sg)
	n := time.Duration(len(moves))
	b.ReportMetric(float64(n)/whole.Seconds(), "moves/s")
	b.ReportMetric(float64(whole/n), "ns/session")
	b.ReportMetric(float64((used / n).Microseconds()), "cpu-us/session")
	report(b, "move", moves)
	return cost{whole / n, used / n}
}

func messagesSent(b *testing.B, sg [2]process) (sum int64) {
	for _, g := range sg {
		status, err := g.client.Status(b.Context())
		if err != nil {
			b.Fatal(err)
		}
		for _, p := range status.Peers {
			sum += int64(p.Sent)
		}
	}
	return sum
}

func cpu(b *testing.B, sg [2]process) (sum time.Duration) {
	for _, g := range sg {
		var used time.Duration
		g.call(b, "CPU", struct{}{}, &used)
		sum += used
	}
	return sum
}

// adopt begins n sessions at a gateway.
func adopt(t testing.TB, g process, n int) {
	t.Helper()
	g.call(t, "Install", n, new(int))
	g.call(t, "Adopt", n, nil)
}

// BenchmarkMemory reports what a session without a move takes, in octets: its
// context in the gateway, what the daemon has of it beside that when it began
// here and when it came from another gateway, and what a session that has gone to
// another gateway leaves behind.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		sg := pair(b, trusting)
		empty, emptyThere := heap(b, sg[0]), heap(b, sg[1])
		sg[0].call(b, "Install", *sessions, new(int))
		context := heap(b, sg[0]) - empty
		sg[0].call(b, "Adopt", *sessions, nil)
		began := heap(b, sg[0]) - empty - context
		sg[0].call(b, "Drain", daemon.DrainRequest{To: "sg2", Sessions: *sessions, Outstanding: *outstanding}, nil)
		came, left := heap(b, sg[1])-emptyThere-context, heap(b, sg[0])-empty
		for name, octets := range map[string]int64{"context": context, "began": began, "came": came, "left": left} {
			b.ReportMetric(float64(octets)/float64(*sessions), name+"-B/session")
		}
	}
}

func heap(b *testing.B, g process) int64 {
	var octets uint64
	g.call(b, "Heap", struct{}{}, &octets)
	return int64(octets)
}
