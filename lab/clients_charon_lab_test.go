//go:build linux && lab

package lab

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

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
		v.isRid(here, "policy", "reqid 1 ") // of the dead charon's
		v.meets(here, v.charons[0].Restart)
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
		v.meets(here, v.charons[0].Again)
		v.awaitLog(here, "has its IKE SA back")
		v.must(flows.Await(v.ctx, some))
		during := flows.Stop(settle)
		t.Logf("given back: %v", during)
		const rate, few = 500, 40 // packets a second; and while the daemon does not look at the clock
		out := v.outFor(here)
		v.lost.also(fmt.Sprintf("given back after %v", out), during, during.Lost() <= few+int(rate*out.Seconds()))

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

// givenBack is how a daemon logs for how long a client's SAs were out at the longest.
var givenBack = regexp.MustCompile(`has its IKE SA back".* after=(\S+)`)

// outFor is what it has logged of the only client.
func (v *vpn) outFor(at *gateway) time.Duration {
	v.t.Helper()
	found := givenBack.FindStringSubmatch(at.log.String())
	if found == nil {
		v.t.Fatalf("%s does not say for how long the client's SAs were out", at.Name)
	}
	out, err := time.ParseDuration(found[1])
	v.must(err)
	return out
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
	v.isRid(here, "state", "src ")
	v.without(v.mn)
	v.meets(here, v.charons[0].Restart)
	v.connect()
}

// isRid waits until a gateway's kernel shows nothing of a kind, "state" or "policy", that
// has a word in it.
func (v *vpn) isRid(at *gateway, of, word string) {
	v.t.Helper()
	var left string
	if !comes(func() bool {
		var err error
		left, err = at.Run(v.ctx, "ip", "xfrm", of)
		v.must(err)
		return !strings.Contains(left, word)
	}) {
		v.t.Fatalf("%s still has %s", at.Name, left)
	}
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
		v.isRid(there, "state", inner.String())
		v.isRid(there, "policy", inner.String())
		v.shell(there.Node, "tc", "qdisc", "del", "dev", "lo", "root")
		v.meets(there, v.charons[1].Restart)
		v.handover(here, id)
		v.must(flows.Await(v.ctx, some))
		v.verdict(w, inner, flows.Stop(settle))
		return v.rig
	})
}
