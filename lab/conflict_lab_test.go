//go:build linux && lab

package lab

import (
	"bytes"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/control"
	"github.com/cxtp/cxtp/lab/topology"
)

// TestSPIConflict moves a session to a gateway in whose kernel another session has
// its inbound SPI. With "deny" it is refused and nothing is harmed; with
// "reassign" its node is told another SPI, follows in its own kernel, and nothing
// is lost either.
func TestSPIConflict(t *testing.T) {
	t.Run("deny", func(t *testing.T) {
		steadily(t, func(t *testing.T) *rig {
			f, l, id := newFleet(t, "lossless"), linkOf(daemonCase), cxtp.SessionID{0xab}
			here, there := f.gateways[0], f.gateways[1]
			f.occupy(there, l)
			f.install(l, here, id)
			flows := f.traffic(l)
			f.must(flows.Await(f.ctx, some))
			if _, err := f.cxtp(here, "handover", id.String(), "--to", there.Name); err == nil || !strings.Contains(err.Error(), cxtp.StatusSPIConflict.String()) {
				t.Errorf("moved onto an SPI that is taken: %v", err)
			}
			f.must(flows.Await(f.ctx, some))
			f.lossless("traffic was harmed", flows.Stop(settle))
			f.stands(here, id, "active")
			return f.rig
		})
	})
	t.Run("reassign", func(t *testing.T) {
		o := undisturbed(func() outcome {
			f, l, id := newFleet(t, "lossless"), linkOf(daemonCase), cxtp.SessionID{0xab}
			here, there := f.gateways[0], f.gateways[1]
			f.reconfigure(there, "[gateway]\n", "[gateway]\nspi_conflict = \"reassign\"\n")
			f.occupy(there, l)
			f.install(l, here, id)
			flows := f.traffic(l)
			f.must(flows.Await(f.ctx, some))
			f.handover(here, id)
			f.stands(there, id, "active")
			f.must(flows.Await(f.ctx, some))
			f.await(func() bool { return !f.nodeSends(l.spiUp) })
			f.handover(there, id) // and back, with the SPI that it got
			f.stands(here, id, "active")
			f.must(flows.Await(f.ctx, some))
			o := outcome{Report: flows.Stop(settle), t: t}
			if o.Lost() > 0 {
				o.missing = fmt.Sprintf("%v; %s", o.Report, f.refusals())
			}
			f.stop()
			return o
		})
		t.Logf("%v", o.Report)
	})
}

// reconfigure starts a daemon anew with another text in its file.
func (f *fleet) reconfigure(g *gateway, was, is string) {
	f.t.Helper()
	path := filepath.Join(f.folder, g.Name+".toml")
	text, err := os.ReadFile(path)
	f.must(err)
	g.kill()
	f.must(os.WriteFile(path, bytes.Replace(text, []byte(was), []byte(is), 1), 0o600))
	f.must(f.start(g))
}

// occupy gives the inbound SPI of a connection to another session at a gateway.
func (f *fleet) occupy(at *gateway, l *link) {
	f.t.Helper()
	other := *l
	other.inner, other.node, other.gate = netip.MustParseAddr("10.1.7.7"), netip.MustParseAddr("198.51.100.77"), at.Outer.V4
	other.spiDown++
	client := control.Dial(f.socket(at))
	f.must(client.AddSession(f.ctx, control.NewSession{
		Session: cxtp.SessionID{0xcd}, Previous: other.node, Identity: "other.example",
		Inner: []netip.Prefix{full(other.inner)}, SAs: []control.NewSA{other.manual(true), other.manual(false)},
	}))
}

// nodeSends reports whether the node's kernel has an SA to a gateway with an SPI.
func (f *fleet) nodeSends(spi uint32) bool {
	f.t.Helper()
	out, err := f.MN.Run(f.ctx, "ip", "xfrm", "state")
	f.must(err)
	for _, to := range []topology.Pair{topology.SG1, topology.SG2} {
		if i := strings.Index(string(out), fmt.Sprintf("dst %s\n\tproto esp spi %#08x", to.V4, spi)); i >= 0 {
			return true
		}
	}
	return false
}
