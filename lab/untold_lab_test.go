//go:build linux && lab

package lab

import (
	"errors"
	"os/exec"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
)

// TestUntold restarts a daemon, which has then lost the node's keys, and orders a
// move to a gateway with another address: it is refused and harms nobody. By force
// the session moves, and the node is left to itself.
func TestUntold(t *testing.T) {
	steadily(t, func(t *testing.T) *rig {
		f, l, id := newFleet(t, "lossless"), linkOf(daemonCase), cxtp.SessionID{0xab}
		l.encap = false // of which a daemon's death is the end
		here, there := f.gateways[0], f.gateways[1]
		f.install(l, here, id)
		w, flows := f.watch(), f.traffic(l)
		here.kill()
		f.must(f.start(here))
		f.stands(here, id, "active")
		if v := f.views(here)[0]; !v.Untold || v.Agent == "" {
			t.Errorf("%+v does not say that the agent's key is lost", v)
		}
		for _, order := range [][]string{{"handover", id.String(), "--to", there.Name}, {"drain", "--to", there.Name}} {
			out, err := f.cxtp(here, order...)
			var exit *exec.ExitError
			want := map[string]int{"handover": 7, "drain": 1}[order[0]]
			if !errors.As(err, &exit) || exit.ExitCode() != want || !strings.Contains(out+err.Error(), cxtp.StatusUntold.String()) {
				t.Errorf("%s: %v %s; want status %d", order[0], err, out, want)
			}
		}
		f.stands(here, id, "active")
		f.stands(there, id, "gone")
		f.must(flows.Await(f.ctx, some))
		f.lossless("an order that was refused did harm", flows.Stop(settle))
		_, err := f.cxtp(here, "handover", id.String(), "--to", there.Name, "--force")
		f.must(err)
		f.stands(there, id, "active")
		f.stands(here, id, "gone")
		if !f.follow(l, there) {
			t.Error("the node has followed, and nobody could tell it")
		}
		f.traffic(l).Stop(settle)
		f.judge(w, l)
		return f.rig
	})
}
