package daemon_test

import (
	"slices"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/control"
)

// journals are the environments of gateways that keep a journal, and that do not.
var journals = map[string][]string{"journal=on": nil, "journal=off": {noJournal + "=1"}}

// BenchmarkMove moves a session back and forth between two processes, without
// traffic and without grace: from the operator's request to "closed", control
// socket included. It reports the median and the 99th percentile of a move, and
// of the machine's own part: from "staging" to "closed" at the source.
func BenchmarkMove(b *testing.B) {
	for name, environment := range journals {
		b.Run(name, func(b *testing.B) {
			sg := pair(b, trusting, environment...)
			install(b, sg[0])
			var whole, machine []time.Duration
			i := 0
			for b.Loop() {
				from, to := sg[i%2], sg[(i+1)%2]
				i++
				var began time.Time
				asked := time.Now()
				last, err := from.client.Handover(b.Context(), control.Handover{Session: sessionID, To: cxtp.RouterID(to.name)}, func(p control.Progress) {
					if p.Event == cxtp.EventStaging {
						began = p.Time
					}
				})
				if err != nil || last.Event != cxtp.EventClosed {
					b.Fatalf("move %d: %v, %+v", i, err, last)
				}
				whole = append(whole, time.Since(asked))
				machine = append(machine, last.Time.Sub(began))
			}
			report(b, "whole", whole)
			report(b, "machine", machine)
		})
	}
}

func report(b *testing.B, what string, d []time.Duration) {
	slices.Sort(d)
	b.ReportMetric(float64(d[len(d)/2].Microseconds()), what+"-p50-us")
	b.ReportMetric(float64(d[len(d)*99/100].Microseconds()), what+"-p99-us")
}
