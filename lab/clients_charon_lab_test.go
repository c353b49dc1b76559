//go:build linux && lab

package lab

import (
	"strings"
	"testing"

	"github.com/cxtp/cxtp/lab/charon"
)

// TestStrongSwanDead kills the charon of a gateway with a client, which is moved to the
// other gateway all the same, and back when there is another charon.
func TestStrongSwanDead(t *testing.T) {
	steadily(t, func(t *testing.T) *rig {
		v := newVPN(t, charon.Extra{})
		id, inner := v.connect()
		before := v.mn.Log()
		w, flows := v.watch(), v.flows(inner)
		v.must(flows.Await(v.ctx, some))
		here, there := v.gateways[0], v.gateways[1]
		v.charons[0].Kill()
		v.awaitStatus(here, "charon is not running")
		v.must(flows.Await(v.ctx, some))
		v.handover(here, id)
		v.stands(here, id, "gone")
		v.must(flows.Await(v.ctx, some))
		if left, err := here.Run(v.ctx, "ip", "xfrm", "policy", "list", "dst", inner.String()); err != nil || strings.Contains(left, "reqid 1 ") {
			t.Errorf("the dead charon's policies are still there: %v %s", err, left)
		}
		v.must(v.charons[0].Restart())
		v.awaitStatus(here, "")
		v.rekeyChild()
		v.rekeyIKE()
		v.handover(there, id)
		v.oneAnswers(here)
		v.must(flows.Await(v.ctx, some))
		v.rekeyChild()
		v.verdict(w, inner, flows.Stop(settle))
		v.undisturbed(before)
		return v.rig
	})
}

// TestStrongSwanGivenBack kills the charon of a gateway with a client, and starts
// another: that gets the client back.
func TestStrongSwanGivenBack(t *testing.T) {
	steadily(t, func(t *testing.T) *rig {
		v := newVPN(t, charon.Extra{})
		id, inner := v.connect()
		before := v.mn.Log()
		w, flows := v.watch(), v.flows(inner)
		v.must(flows.Await(v.ctx, some))
		v.rekeyIKE() // its lineage has two generations
		here := v.gateways[0]
		v.must(v.charons[0].Again())
		v.awaitLog(here, "has its IKE SA back")
		v.must(flows.Await(v.ctx, some))
		during := flows.Stop(settle)
		t.Logf("given back: %v", during)
		const few = 40 // packets, from when the SAs are taken out until they are in again
		v.lost.also("given back", during, during.Lost() <= few)

		flows = v.flows(inner)
		v.stands(here, id, "active")
		v.rekeyChild()
		v.rekeyIKE()
		v.handover(here, id)
		v.must(flows.Await(v.ctx, some))
		v.verdict(w, inner, flows.Stop(settle))
		v.undisturbed(before)
		return v.rig
	})
}

// TestStrongSwanStopped stops the charon of a gateway as a service manager does: its
// clients are told, and their sessions end.
func TestStrongSwanStopped(t *testing.T) {
	v := newVPN(t, charon.Extra{})
	id, _ := v.connect()
	here := v.gateways[0]
	v.must(v.charons[0].Stop())
	v.awaitStatus(here, "charon is not running")
	v.stands(here, id, "ended", "gone", "")
	if left, err := here.Run(v.ctx, "ip", "xfrm", "state"); err != nil || left != "" {
		t.Errorf("left: %v %s", err, left)
	}
	v.must(v.charons[0].Restart())
	v.awaitStatus(here, "")
	v.connect()
}

// TestStrongSwanDiesInImport kills the target's charon while a client is imported: the
// session goes on where it is, nothing of it is left there, and when there is another
// charon it moves.
func TestStrongSwanDiesInImport(t *testing.T) {
	steadily(t, func(t *testing.T) *rig {
		v := newVPN(t, charon.Extra{})
		id, inner := v.connect()
		w, flows := v.watch(), v.flows(inner)
		v.must(flows.Await(v.ctx, some))
		here, there := v.gateways[0], v.gateways[1]
		v.shell(there.Node, "tc", "qdisc", "add", "dev", "lo", "root", "netem", "loss", "100%") // charon does not hear of it
		ended := make(chan error, 1)
		go func() {
			_, err := v.cxtp(here, "handover", id.String(), "--to", there.Name)
			ended <- err
		}()
		v.await(func() bool { return v.states(there)[id] == "checking" })
		v.charons[1].Kill()
		if err := <-ended; err == nil || !strings.Contains(err.Error(), "IKE daemon not ready") {
			t.Errorf("cxtp handover says %v", err)
		}
		v.stands(here, id, "active")
		for _, what := range []string{"state", "policy"} {
			if left, err := there.Run(v.ctx, "ip", "xfrm", what); err != nil || strings.Contains(left, inner.String()) {
				t.Errorf("left at the target: %v %s", err, left)
			}
		}
		v.shell(there.Node, "tc", "qdisc", "del", "dev", "lo", "root")
		v.must(v.charons[1].Restart())
		v.awaitStatus(there, "")
		v.handover(here, id)
		v.must(flows.Await(v.ctx, some))
		v.verdict(w, inner, flows.Stop(settle))
		return v.rig
	})
}
