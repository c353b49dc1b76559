//go:build linux && lab

package lab

import (
	"net/netip"
	"testing"

	"github.com/cxtp/cxtp/lab/charon"
	"github.com/cxtp/cxtp/lab/topology"
)

// newcomer is a client that comes to the first gateway and goes again.
type newcomer struct {
	*vpn
	*charon.Daemon
}

// visit has it connect, if need be again and again until the gateway takes clients,
// and leave. It returns the inner address that it was given.
func (n newcomer) visit() (inner netip.Addr) {
	n.t.Helper()
	n.await(func() bool {
		if n.Initiate(charon.Child) == nil {
			return true
		}
		n.Terminate("ike", charon.Home) // one without an address may be left
		return false
	})
	sa, _ := n.only(n.Daemon, anySA)
	n.must(n.Terminate("ike", charon.Home))
	return netip.MustParseAddr(sa.LocalVIPs[0])
}

// TestStrongSwanPool moves a client away, and has another come to the gateway that it
// has left: it gets another address, also from the next charon, and from that which the
// next daemon finds. When the client has come back and left for good, its own is free.
func TestStrongSwanPool(t *testing.T) {
	steadily(t, func(t *testing.T) *rig {
		v := newDirect(t, false, charon.Extra{})
		here, there := v.gateways[0], v.gateways[1]
		next := newcomer{v, charon.Start(t, v.MN2, charon.Client{
			Identity: "mn2.example", Authority: v.ca, Gateway: "vpn.example", Address: topology.SG1.V4,
		})}
		id, inner := v.connect()
		before := v.mn.Log()
		w, flows := v.watch(), v.flows(inner)
		v.must(flows.Await(v.ctx, some))
		v.follows(here, id, flows, false)
		reserved := func(when string) {
			t.Helper()
			if got := next.visit(); got == inner {
				t.Errorf("%s another client has its address %s", when, got)
			}
			v.says(here, "1 inner addresses reserved")
		}
		reserved("moved,")
		v.must(v.charons[0].Again())
		reserved("with another charon")
		here.kill()
		v.must(v.start(here))
		reserved("with another daemon")
		here.kill()
		v.charons[0].Kill()
		v.must(v.start(here))
		v.meets(here, func() error {
			err := v.charons[0].Restart()
			reserved("with another charon and another daemon")
			return err // clients are taken before all is ready for a move
		})

		v.stands(there, id, "active")
		v.follows(there, id, flows, false)
		v.verdictOnFollower(w, inner, flows.Stop(settle))
		v.undisturbed(before)
		v.must(v.mn.Terminate("ike", charon.Home))
		v.await(func() bool { return next.visit() == inner }) // charon confirms before it gives back
		return v.rig
	})
}
