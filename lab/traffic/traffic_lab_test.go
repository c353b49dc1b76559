//go:build linux && lab

package traffic

import (
	"testing"
	"time"

	"github.com/cxtp/cxtp/lab/topology"
)

// Over a path that loses nothing all arrives; over one that delays it arrives
// so late; over one that is cut it does not.
func TestTrafficSeesThePath(t *testing.T) {
	lab, err := topology.New()
	if err != nil {
		t.Fatal(err)
	}
	defer lab.Close()
	for _, ipv6 := range []bool{false, true} {
		for _, c := range []struct {
			name string
			path topology.Impairment
			good func(Report) bool
		}{
			{"clear", topology.Impairment{}, func(r Report) bool {
				return r.Lost() == 0 && r.Duplicated() == 0 && r.Up.Sent >= 25 && r.Down.Sent >= 25 && r.Echo.Sent >= 25
			}},
			{"delay", topology.Impairment{Delay: 40 * time.Millisecond}, func(r Report) bool {
				return r.Lost() == 0 && r.Up.Delay >= 40*time.Millisecond && r.Echo.Delay >= 80*time.Millisecond
			}},
			{"cut", topology.Impairment{Loss: 100}, func(r Report) bool {
				return r.Up.Lost == r.Up.Sent && r.Down.Lost == r.Down.Sent && r.Echo.Lost == r.Echo.Sent && r.Blackout() > 0
			}},
		} {
			if err := lab.ImpairAccess(c.path); err != nil {
				t.Fatal(err)
			}
			traffic, err := Start(Options{
				Near: End{lab.MN, topology.MN.Of(ipv6)}, Far: []End{{lab.SG1, topology.SG1.Of(ipv6)}},
			})
			if err != nil {
				t.Fatal(err)
			}
			if err := traffic.Await(t.Context(), 25); err != nil {
				t.Fatal(err)
			}
			report := traffic.Stop(time.Second)
			t.Logf("%s, IPv6 %v: %v", c.name, ipv6, report)
			if !c.good(report) {
				t.Errorf("%s, IPv6 %v: %+v", c.name, ipv6, report)
			}
		}
	}
}
