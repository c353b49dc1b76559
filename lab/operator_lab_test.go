//go:build linux && lab

package lab

import (
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/lab/topology"
	"github.com/cxtp/cxtp/lab/traffic"
)

// daemonLink is a connection for the tests of both daemons: the node's agent
// follows to the other gateway's address.
func daemonLink() (here, there *link) {
	l := &link{
		suite: suiteNamed("gcm"), esn: true, encap: true, window: 256,
		spiUp: 0xc0000001, spiDown: 0xc1000001, reqID: 7,
		node: topology.MN.V4, gate: topology.SG1.V4, inner: topology.MNInner.V4, far: topology.Host.V4,
	}
	other := *l
	other.gate = topology.SG2.V4
	return l, &other
}

// TestOperator does what an operator does: two daemons, a session, a handover
// while traffic flows, from the command line.
func TestOperator(t *testing.T) {
	f := newFleet(t, "lossless")
	l, there := daemonLink()
	id := cxtp.SessionID{0xab}
	f.install(l, f.gateways[0], id)
	o := f.trial(l, there, false, func(*traffic.Traffic) {
		_, err := f.cxtp(f.gateways[0], "handover", id.String(), "--to", "sg2")
		f.must(err)
	})
	if o.missing != "" {
		t.Errorf("lost: %s", o.missing)
	}
	t.Logf("%v, %d packets replayed", o.Report, o.replayed)
	if states := f.states(f.gateways[1]); states[id] != "active" {
		t.Errorf("at sg2: %v", states)
	}
	if states := f.states(f.gateways[0]); states[id] != "gone" {
		t.Errorf("at sg1: %v", states)
	}
}
