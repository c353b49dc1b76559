//go:build linux && lab

package lab

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/control"
	"github.com/cxtp/cxtp/lab/topology"
	"github.com/cxtp/cxtp/lab/witness"
)

// TestKernelSCTP: two daemons whose carrier is the kernel's SCTP refuse each other until
// there is IPsec between them. Then a session moves to and fro under traffic, a restarted
// daemon finds its peer again, and nothing but ESP is on the wire between the two.
func TestKernelSCTP(t *testing.T) {
	steadily(t, func(t *testing.T) *rig {
		f, l, id := newFleet(t, "lossless", func(g *gateway) { g.Carrier = "sctp" }), linkOf(daemonCase), cxtp.SessionID{0xab}
		here, there := f.gateways[0], f.gateways[1]
		between, err := witness.Watch(witness.Point{At: f.SG1, Interface: topology.Sync, Node: f.SG2.Name})
		f.must(err)
		f.install(l, here, id)
		f.await(func() bool {
			return strings.Contains(f.peer(here).Error, "no policy covers what is said to 203.0.113.2:5091")
		})
		if _, err := f.cxtp(here, "handover", id.String(), "--to", there.Name); err == nil {
			t.Error("a session moved without IPsec")
		}

		f.must(f.ProtectSync(f.ctx))
		f.await(func() bool { return f.peer(here).Up && f.peer(there).Up })
		w, flows := f.watch(), f.traffic(l)
		const moves = 6
		for i := range moves {
			f.must(flows.Await(f.ctx, 20))
			f.handover(f.gateways[i%2], id)
		}
		f.lossless("to and fro", flows.Stop(settle))
		f.judge(w, l)
		there.kill()
		f.must(f.start(there))
		f.await(func() bool { return f.peer(here).Up && f.peer(there).Up })
		f.handover(here, id)
		f.stands(there, id, "active")

		frames, err := between.Stop()
		f.must(err)
		protected := 0
		for _, frame := range frames {
			p, ok := witness.Decode(frame.Data)
			if ok && p.Protected {
				protected++
			} else if ok && !p.Src.IsLinkLocalUnicast() {
				t.Errorf("in the clear: protocol %d from %s to %s", p.Protocol, p.Src, p.Dst)
			}
		}
		if protected == 0 {
			t.Error("the witness saw no ESP")
		}
		f.stop()
		return f.rig
	})
}

// peer is what a daemon says of the other one.
func (f *fleet) peer(of *gateway) control.PeerStatus {
	f.t.Helper()
	out, err := f.cxtp(of, "status", "--json")
	f.must(err)
	var status control.Status
	f.must(json.Unmarshal([]byte(out), &status))
	return status.Peers[0]
}
