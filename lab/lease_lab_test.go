//go:build linux && lab

package lab

import (
	"testing"

	"github.com/cxtp/cxtp/lab/charon"
	"github.com/cxtp/cxtp/lab/topology"
)

// lease is what the gateways of these tests have: a few renewals.
const lease = "3s"

// isolate takes from a gateway the way to its peer; heal gives it back.
func (f *fleet) isolate(g *gateway) { f.shell(g.Node, "ip", "link", "set", topology.Sync, "down") }
func (f *fleet) heal(g *gateway)    { f.shell(g.Node, "ip", "link", "set", topology.Sync, "up") }

// TestLease has a standby with a lease take over without anybody's word, from an owner
// without power and from one that goes on and only cannot be heard: that stops by
// itself, lets the address go, and finds out later that the session is not its own.
func TestLease(t *testing.T) {
	for _, c := range []struct {
		name    string
		befalls func(*fleet, *gateway)
	}{
		{"no power", (*fleet).powerOff},
		{"cut off", (*fleet).isolate},
	} {
		t.Run(c.name, func(t *testing.T) {
			undisturbed(func() outcome {
				o := outcome{t: t}
				f, l := newSharing(t, "lossless", func(g *gateway) { g.Lease = lease }), linkOf(sharedCase)
				here, there := f.gateways[0], f.gateways[1]
				f.install(l, here, faultySession)
				_, err := f.cxtp(here, "standby", faultySession.String(), "--at", there.Name)
				f.must(err)
				w, flows := f.watch(), f.traffic(l)
				f.must(flows.Await(f.ctx, some))
				c.befalls(f, here)
				f.stands(there, faultySession, "active")
				f.awaitInherited(there)
				f.must(flows.Await(f.ctx, some))
				gap := flows.Stop(settle)
				t.Logf("taken over: %v", gap)
				o.also("while it was taken over", gap, true)
				o.also("at rest", f.steady(l), false)
				if here.cmd != nil {
					f.heal(here)
					f.stands(here, faultySession, "gone")
					f.awaitHolder(there, false)
					o.also("healed", f.steady(l), false)
				}
				f.judge(w, l)
				f.stop()
				return o
			})
		})
	}
}

// awaitInherited waits until a standby answers for the virtual address.
func (f *fleet) awaitInherited(g *gateway) {
	f.t.Helper()
	f.await(func() bool { return f.holder(false) == g.Name })
}

// TestStrongSwanLease is TestLease for a stock client.
func TestStrongSwanLease(t *testing.T) {
	for _, c := range []struct {
		name    string
		befalls func(*vpn, *gateway)
	}{
		{"no power", func(v *vpn, g *gateway) { v.powerOff(g); v.charons[0].Kill() }},
		{"cut off", func(v *vpn, g *gateway) { v.isolate(g) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			steadily(t, func(t *testing.T) *rig {
				v := newVPNOf(t, clientKind{client: charon.Extra{Connection: asks}, lease: lease})
				here, there := v.gateways[0], v.gateways[1]
				id, inner := v.connect()
				before := v.mn.Log()
				w, flows := v.watch(), v.flows(inner)
				v.must(flows.Await(v.ctx, some))
				v.standing(id)
				c.befalls(v, here)
				v.stands(there, id, "active")
				v.awaitInherited(there)
				v.must(flows.Await(v.ctx, some))
				t.Logf("taken over: %v", flows.Stop(settle))
				v.awaitAnswer(v.mn)
				v.renewed(there, id)
				if here.cmd != nil {
					v.heal(here)
					v.stands(here, id, "gone")
					v.awaitHolder(there, false)
				}
				flows = v.flows(inner)
				v.rekeys(v.charons[1])
				v.must(flows.Await(v.ctx, some))
				v.verdict(w, inner, flows.Stop(settle))
				v.undisturbed(before)
				return v.rig
			})
		})
	}
}
