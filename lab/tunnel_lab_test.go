//go:build linux && lab

package lab

import (
	"testing"

	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
	"github.com/cxtp/cxtp/lab/matrix"
	"github.com/cxtp/cxtp/lab/witness"
)

// some is how many packets each flow sends between two things that a test does:
// 150 ms of echoes.
const some = 15

// connections are all that a node and a gateway can have, apart from moves.
var connections = []matrix.Axis{
	{Name: axisSuite, Values: suiteNames()},
	{Name: axisESN, Values: []string{"esn", "32bit"}},
	{Name: axisMode, Values: []string{"tunnel", "transport"}},
	{Name: axisFamily, Values: []string{"4in4", "6in6", "4in6", "6in4"}},
	{Name: axisEncap, Values: []string{"bare", "udp"}},
	{Name: axisUplink, Values: []string{"direct", "indirect"}},
}

// A connection made by hand carries traffic, all of it protected. It says that
// the lab itself is right, before anything is moved in it.
func TestConnection(t *testing.T) {
	for _, c := range matrix.Cases(connections, possible) {
		t.Run(c.String(), func(t *testing.T) {
			steadily(t, func(t *testing.T) *rig {
				r, l := newRig(t), linkOf(c)
				r.connectNode(l)
				r.connectGate(r.sg1, l)
				w := r.watch()
				flows := r.traffic(l)
				r.must(flows.Await(r.ctx, some))
				r.lossless("at rest", flows.Stop(settle))
				_, seen := r.judge(w, l)
				if len(seen.SAs) != 2 || seen.SAs[0].Packets < 2*some || seen.SAs[1].Packets < 2*some {
					t.Errorf("the witness saw %+v", seen.SAs)
				}
				return r
			})
		})
	}
}

// The witness sees what goes out in clear, and a sequence number used twice:
// a lab in which nothing can fail would prove nothing.
func TestWitnessSeesBrokenLaws(t *testing.T) {
	c := matrix.All(connections, possible)[0]
	t.Run("cleartext", func(t *testing.T) {
		r, l := newRig(t), linkOf(c)
		r.connectNode(l)
		r.connectGate(r.sg1, l)
		flows := r.traffic(l)
		w := r.watch()
		r.sg1.must(r.sg1.kernel.DeletePolicy(r.ctx, l.policy(uapi.DirOut, false).ID()))
		r.sg1.must(r.sg1.kernel.DeletePolicy(r.ctx, l.block(uapi.DirOut, false).ID()))
		r.must(flows.Await(r.ctx, some))
		flows.Stop(0)
		frames, err := w.Stop()
		r.must(err)
		if report := witness.Examine(frames, l.rules()); len(report.Cleartext) == 0 {
			t.Errorf("no cleartext seen: %v", report)
		}
	})
	t.Run("number reused", func(t *testing.T) {
		r, l := newRig(t), linkOf(c)
		r.connectNode(l)
		r.connectGate(r.sg1, l)
		flows := r.traffic(l)
		w := r.watch()
		r.must(flows.Await(r.ctx, some))
		// The gateway forgets where it was.
		final, err := r.sg1.kernel.DeleteState(r.ctx, l.down().ID())
		r.must(err)
		final.Replay.OSeq -= 5
		r.sg1.addStates(final)
		r.must(flows.Await(r.ctx, some))
		flows.Stop(0)
		frames, err := w.Stop()
		r.must(err)
		if report := witness.Examine(frames, l.rules()); len(report.Reused) != 5 {
			t.Errorf("%d numbers reused, want 5: %v", len(report.Reused), report)
		}
	})
	t.Run("replay accepted", func(t *testing.T) {
		r, l := newRig(t), linkOf(c)
		r.connectNode(l)
		r.connectGate(r.sg1, l)
		flows := r.traffic(l)
		w := r.watch()
		r.must(flows.Await(r.ctx, some))
		old := witness.Select(w.Frames(), func(f witness.Frame, _ witness.Packet) bool { return f.Out && f.From == r.MN.Name })
		// The gateway forgets what it has seen.
		r.sg1.delete(l.up().ID())
		r.sg1.addStates(l.up())
		r.must(witness.Replay(r.Topology, old, r.SG1, l.gate))
		r.must(flows.Await(r.ctx, some)) // what was sent again is not waited for
		if report := flows.Stop(settle); report.Up.Duplicated < some {
			t.Errorf("%d old packets shown again, %d accepted", len(old), report.Up.Duplicated)
		}
	})
}
