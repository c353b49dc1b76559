//go:build linux && lab

package lab

import (
	"strings"
	"testing"
	"time"

	"github.com/cxtp/cxtp/internal/control"
	"github.com/cxtp/cxtp/lab/charon"
)

// ailment is something that is wrong with a gateway's strongSwan.
type ailment struct {
	name           string
	file, was, is  string // what its configuration has in place of what
	status, refuse string // what cxtp says: status there, handover at the source
	after          string // what status says then, in place of status
}

var ailments = []ailment{
	{"no connection", "swanctl/swanctl.conf", charon.Clients + " {", "others {", "", "connections and children, by the same names", ""},
	{"no child", "swanctl/swanctl.conf", charon.Child + " {", "others {", "", "connections and children, by the same names", ""},
	{"no plugin", "strongswan.conf", "eap-tls ha", "eap-tls", "has not loaded its ha plugin", "cxtp status there says", ""},
	{"another number of segments", "strongswan.conf", "segment_count = 16", "segment_count = 8", "segment_count is not 16", "cxtp status there says", ""},
	{"another agent", "strongswan.conf", "remote = 127.0.0.2", "remote = 127.0.0.3", "charon does not hear the agent", "cxtp status there says", ""},
	{"its own routes", "strongswan.conf", "install_routes = no", "install_routes = yes", "", "cxtp status there says", "set charon.install_routes = no"},
}

// TestStrongSwanAilments orders a move to a gateway with something wrong, of each
// kind: the operator is told what, the session goes on where it is, and nothing of it
// is there. When that is mended, it moves.
func TestStrongSwanAilments(t *testing.T) {
	v := newVPN(t, charon.Extra{})
	id, inner := v.connect()
	from, to, sick := v.gateways[0], v.gateways[1], v.charons[1]
	w, flows := v.watch(), v.flows(inner)
	v.must(flows.Await(v.ctx, some))
	refused := func(name, status, refuse string) {
		v.t.Helper()
		v.awaitStatus(to, status)
		if _, err := v.cxtp(from, "handover", id.String(), "--to", to.Name); err == nil || !strings.Contains(err.Error(), refuse) {
			t.Errorf("%s: cxtp handover says %v", name, err)
		}
		v.stands(from, id, "active")
		if left, err := to.Run(v.ctx, "ip", "xfrm", "state"); err != nil || left != "" {
			t.Errorf("%s: left at the target: %v %s", name, err, left)
		}
	}
	for _, a := range ailments {
		v.must(sick.Edit(a.file, a.was, a.is))
		v.must(sick.Again())
		refused(a.name, a.status, a.refuse)
		if a.after != "" {
			v.awaitStatus(to, a.after)
		}
		v.must(sick.Edit(a.file, a.is, a.was))
	}
	sick.Kill()
	refused("not running", "charon is not running", "cxtp status there says")
	v.must(sick.Restart())
	v.awaitStatus(to, "")
	v.must(flows.Await(v.ctx, some))
	v.handover(from, id)
	v.stands(to, id, "active")
	v.must(flows.Await(v.ctx, some))
	v.verdict(w, inner, flows.Stop(settle))
}

// awaitStatus waits until a gateway's daemon says what is wrong with its charon; ""
// is nothing.
func (v *vpn) awaitStatus(g *gateway, problem string) {
	v.t.Helper()
	var said string
	for range 200 {
		client := control.Dial(v.socket(g))
		status, err := client.Status(v.ctx)
		client.Close()
		v.must(err)
		said = status.IKE.Problem
		if problem != "" {
			said += strings.Join(status.Notes, " ")
		}
		if said == problem || problem != "" && strings.Contains(said, problem) {
			return
		}
		time.Sleep(50 * time.Millisecond) // its daemon has no way to tell us
	}
	v.t.Fatalf("the status of %s is %q, not %q", g.Name, said, problem)
}
