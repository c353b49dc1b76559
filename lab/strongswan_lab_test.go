//go:build linux && lab

package lab

import (
	"context"
	"net/netip"
	"slices"
	"testing"

	"github.com/cxtp/cxtp/ikectx/strongswan/ha"
	"github.com/cxtp/cxtp/lab/charon"
	"github.com/cxtp/cxtp/lab/topology"
	"github.com/cxtp/cxtp/lab/traffic"
	"github.com/cxtp/cxtp/transport/testcert"
)

// clientPool has the inner addresses that strongSwan's gateways give.
var clientPool = netip.MustParsePrefix("10.4.0.0/24")

// stock is a network with a strongSwan gateway, which has the virtual address,
// and a strongSwan client.
type stock struct {
	*rig
	agent *charon.Agent
	sg1   *charon.Daemon
	mn    *charon.Daemon
}

func newStock(t *testing.T) *stock {
	t.Helper()
	s := &stock{rig: newRig(t)}
	ca, err := testcert.New()
	s.must(err)
	s.must(s.MoveVirtual(s.SG1))
	s.must(s.Host.Route(clientPool, topology.SG1Inner.V4, netip.Addr{}))
	s.agent = charon.Listen(t, s.SG1)
	s.sg1 = charon.Start(t, s.SG1, charon.Gateway{
		Identity: "vpn.example", Authority: ca, Address: topology.Virtual.V4, Pool: clientPool,
	})
	s.must(s.agent.Activate())
	s.mn = charon.Start(t, s.MN, charon.Client{
		Identity: "mn.example", Authority: ca, Gateway: "vpn.example", Address: topology.Virtual.V4,
	})
	return s
}

// only returns a daemon's only IKE SA when it is established, with one child
// that is installed, and suits.
func (r *rig) only(d *charon.Daemon, suits func(charon.IKESA, charon.ChildSA) bool) (charon.IKESA, charon.ChildSA) {
	r.t.Helper()
	var sas []charon.IKESA
	var child charon.ChildSA
	if !comes(func() (so bool) {
		var err error
		sas, err = d.SAs()
		r.must(err)
		if len(sas) == 1 && sas[0].State == "ESTABLISHED" {
			for _, child = range sas[0].Children {
				if child.State == "INSTALLED" && suits(sas[0], child) {
					return true
				}
			}
		}
		return false
	}) {
		r.t.Fatalf("%s has %+v", d.Name, sas)
	}
	return sas[0], child
}

// without waits until a daemon has no IKE SA: it confirms the end of one before it
// forgets it.
func (r *rig) without(d *charon.Daemon) {
	r.t.Helper()
	var left []charon.IKESA
	if !comes(func() bool {
		var err error
		left, err = d.SAs()
		r.must(err)
		return len(left) == 0
	}) {
		r.t.Fatalf("left at %s: %+v", d.Name, left)
	}
}

func anySA(charon.IKESA, charon.ChildSA) bool { return true }

// passes sends traffic between the client's inner address and the host.
func (s *stock) passes() {
	s.t.Helper()
	client, _ := s.only(s.mn, anySA)
	flows, err := traffic.Start(traffic.Options{
		Near: traffic.End{Node: s.MN, Addr: netip.MustParseAddr(client.LocalVIPs[0])},
		Far:  []traffic.End{{Node: s.Host, Addr: topology.Host.V4}},
	})
	s.must(err)
	s.must(flows.Await(s.ctx, some))
	s.lossless("the client", flows.Stop(settle))
}

// kinds are the types of the ha plugin's messages.
func kinds(messages []ha.Message) []ha.Type {
	var k []ha.Type
	for _, m := range messages {
		k = append(k, m.Body.Type())
	}
	return k
}

// TestStrongSwanConnects has a stock client connect to a stock gateway, both
// rekey, and the client leave; the ha plugin tells of it.
func TestStrongSwanConnects(t *testing.T) {
	steadily(t, func(t *testing.T) *rig {
		s := newStock(t)
		s.must(s.mn.Initiate(charon.Child))
		client, first := s.only(s.mn, anySA)
		if !clientPool.Contains(netip.MustParseAddr(client.LocalVIPs[0])) {
			t.Errorf("the client's inner addresses are %v", client.LocalVIPs)
		}
		ctx, cancel := context.WithTimeout(s.ctx, patience)
		defer cancel()
		said, err := s.agent.Await(ctx, 5)
		s.must(err)
		want := []ha.Type{ha.TypeIKEAdd, ha.TypeMIDResponder, ha.TypeIKEUpdate, ha.TypeChildAdd, ha.TypeIKEUpdate}
		if !slices.Equal(kinds(said), want) {
			t.Errorf("the ha plugin said %v, not %v", kinds(said), want)
		}
		s.passes()

		s.must(s.mn.Rekey("child", charon.Child))
		s.only(s.mn, func(_ charon.IKESA, c charon.ChildSA) bool { return c.SPIIn != first.SPIIn })
		s.must(s.sg1.Rekey("ike", charon.Clients))
		s.only(s.mn, func(i charon.IKESA, _ charon.ChildSA) bool { return i.InitiatorSPI != client.InitiatorSPI })
		s.passes()

		s.must(s.mn.Terminate("ike", charon.Home))
		s.without(s.sg1)
		return s.rig
	})
}

// TestStrongSwanCrash kills a gateway's daemon: its kernel goes on, and the
// daemon that follows it knows nothing of that.
func TestStrongSwanCrash(t *testing.T) {
	steadily(t, func(t *testing.T) *rig {
		s := newStock(t)
		s.must(s.mn.Initiate(charon.Child))
		s.sg1.Kill()
		s.passes()
		s.must(s.sg1.Restart())
		s.passes()
		if left, err := s.sg1.SAs(); err != nil || len(left) > 0 {
			t.Errorf("a daemon that has just started has %+v, %v", left, err)
		}
		return s.rig
	})
}
