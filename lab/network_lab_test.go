//go:build linux && lab

package lab

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/control"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
	"github.com/cxtp/cxtp/lab/matrix"
	"github.com/cxtp/cxtp/lab/topology"
)

// TestBadNetwork moves one session to and fro while the network between the
// gateways loses and delays. A queue of the kernel has about 100 packets, a third of
// a second of this traffic: in that time a final arrives that was lost three times.
func TestBadNetwork(t *testing.T) {
	steadily(t, func(t *testing.T) *rig {
		f, l, id := newFleet(t, "lossless"), linkOf(daemonCase), cxtp.SessionID{0xab}
		f.install(l, f.gateways[0], id)
		f.must(f.ImpairSync(topology.Impairment{Delay: 100 * time.Millisecond, Loss: 5}))
		w, flows := f.watch(), f.traffic(l)
		const moves = 20
		for i := range moves {
			f.must(flows.Await(f.ctx, 20))
			f.handover(f.gateways[i%2], id)
			f.stands(f.gateways[i%2], id, "gone")
		}
		report := flows.Stop(settle)
		finals, slowest := f.finals()
		t.Logf("%v; %d finals in %d moves, the slowest was taken after %v", report, finals, moves, slowest.Round(time.Millisecond))
		f.lossless("the moves", report)
		f.judge(w, l)
		f.oneOwner()
		return f.rig
	})
}

// finals counts those that were sent, and finds the longest time from the first of a
// move to its activation, as long as the daemons remember.
func (f *fleet) finals() (sent int, slowest time.Duration) {
	f.t.Helper()
	first := map[cxtp.Epoch]time.Time{}
	var taken []control.TraceEvent
	for _, g := range f.gateways {
		client := control.Dial(f.socket(g))
		events, err := client.Trace(f.ctx, 0)
		f.must(err)
		for _, e := range events {
			switch {
			case e.Kind == "send" && e.What == "CTD final":
				if sent++; first[e.Epoch].IsZero() {
					first[e.Epoch] = e.Time
				}
			case e.Kind == "begin" && e.What == "activate":
				taken = append(taken, e)
			}
		}
	}
	for _, e := range taken {
		if at := first[e.Epoch]; !at.IsZero() {
			slowest = max(slowest, e.Time.Sub(at))
		}
	}
	return sent, slowest
}

// TestPartition cuts the gateways off from each other exactly between the freeze
// and the final, and heals that.
func TestPartition(t *testing.T) {
	steadily(t, func(t *testing.T) *rig {
		f := newFleet(t, "lossless", func(g *gateway) {
			if g.Name == "sg1" {
				g.fault = beforeFinal
			}
		})
		l, from := linkOf(daemonCase), f.gateways[0]
		f.install(l, from, faultySession)
		w, flows := f.watch(), f.traffic(l)
		f.must(flows.Await(f.ctx, some))
		ended := f.order(from)
		from.awaitHeld(t)
		f.must(f.ImpairSync(topology.Impairment{Loss: 100}))
		from.hold.Close()
		f.must(flows.Await(f.ctx, 100)) // a second
		f.must(f.ImpairSync(topology.Impairment{}))
		at := f.settled()
		if at.Name != "sg2" {
			t.Errorf("the session is at %s: what was granted is the target's", at.Name)
		}
		ended.end()
		report := flows.Stop(settle)
		leave(t, fmt.Sprintf("partition of 1 s between freeze and final: %v\n", report))
		f.goesOn(l, at, w)
		f.judge(w, l)
		return f.rig
	})
}

// Ports that the NAT gives the nodes.
const (
	firstPort, secondPort = 40001, 40002
	laterPort             = 40003
)

// translate puts both nodes behind one NAT, each with a port of its own, and makes
// it forget what was before.
func (r *rig) translate(ports map[*topology.Node]uint16) {
	r.t.Helper()
	r.must(r.NAT(r.ctx, 50000, 50100))
	// What comes before the node has sent is dropped: it would take up the port.
	_, err := r.Router.Run(r.ctx, "iptables-legacy", "-I", "INPUT", "-p", "udp", "--dport", fmt.Sprintf("%d:%d", firstPort, laterPort), "-j", "DROP")
	r.must(err)
	for n, a := range map[*topology.Node]topology.Pair{r.MN: topology.MN, r.MN2: topology.MN2} {
		_, err := r.Router.Run(r.ctx, "iptables-legacy", "-t", "nat", "-I", "POSTROUTING", "-s", a.V4.String(), "-p", "udp",
			"-j", "MASQUERADE", "--to-ports", fmt.Sprint(ports[n]))
		r.must(err)
	}
}

// behindNAT is the session as a gateway sees it.
func (l *link) behindNAT(port uint16) *ipsecctx.Session {
	s := l.session()
	for i := range s.SAs {
		s.SAs[i].Remote, s.SAs[i].Encap.RemotePort = topology.NATAddress, port
	}
	return s
}

// TestNAT has two nodes behind one NAT, moves one of them, and then has the NAT
// forget both.
func TestNAT(t *testing.T) {
	steadily(t, func(t *testing.T) *rig {
		r := newRig(t)
		r.translate(map[*topology.Node]uint16{r.MN: firstPort, r.MN2: secondPort})
		shared := matrix.All([]matrix.Axis{
			{Name: axisSuite, Values: []string{"gcm"}}, {Name: axisESN, Values: []string{"esn"}},
			{Name: axisMode, Values: []string{"tunnel"}}, {Name: axisFamily, Values: []string{"4in4"}},
			{Name: axisEncap, Values: []string{"udp"}}, {Name: axisUplink, Values: []string{"indirect"}},
		}, nil)[0]
		first, second := linkOf(shared), linkOf(shared)
		second.node, second.inner = topology.MN2.V4, topology.MN2Inner.V4
		second.spiUp, second.spiDown = second.spiUp+1, second.spiDown+1
		r.must(r.MoveVirtual(r.SG1))
		r.must(r.StageVirtual(r.SG2))
		m := &byGateways{rig: r, from: first, to: first,
			source: r.running(r.SG1), target: r.running(r.SG2)}
		r.must(m.source.Install(r.ctx, session, first.behindNAT(firstPort), nil))
		other := cxtp.SessionID{2}
		r.must(m.source.Install(r.ctx, other, second.behindNAT(secondPort), nil))
		r.connectNode(first)
		neighbour := r.neighbour()
		neighbour.connectNode(second)
		r.must(r.RouteInner(topology.MN2Inner, topology.SG1Inner))
		w := r.watch()
		neighbour.traffic(second).Stop(settle)
		mine := r.traffic(first)
		r.must(mine.Await(r.ctx, some))
		m.run(mine)
		r.must(mine.Await(r.ctx, some))
		r.lossless("the node that moved", mine.Stop(settle))
		r.translate(map[*topology.Node]uint16{r.MN: laterPort, r.MN2: secondPort})
		after := r.traffic(first) // its first attempts tell the gateway
		r.must(after.Await(r.ctx, some))
		r.lossless("with another port", after.Stop(settle))
		r.judge(w, first)
		return r
	})
}

// neighbour is the rig seen by the second node.
func (r *rig) neighbour() *rig {
	there := *r.Topology
	there.MN = r.MN2
	other := &rig{Topology: &there, t: r.t, ctx: r.ctx, sg1: r.sg1, sg2: r.sg2}
	other.node = &end{Node: r.MN2, t: r.t, ctx: r.ctx}
	r.must(r.MN2.Do(func() (err error) { other.node.kernel, err = uapi.Dial(); return err }))
	r.t.Cleanup(func() { other.node.kernel.Close() })
	return other
}

// running is a gateway of the product, at work.
func (r *rig) running(n *topology.Node) *xfrm.Gateway {
	r.t.Helper()
	var g *xfrm.Gateway
	r.must(n.Do(func() (err error) {
		g, err = xfrm.New(r.ctx, xfrm.Config{Dir: r.t.TempDir(), Protect: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}})
		return err
	}))
	ctx, cancel := context.WithCancel(r.ctx)
	done := make(chan error, 1)
	go func() { done <- g.Run(ctx) }()
	r.t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, g.Stop()); err != nil {
			r.t.Error(err)
		}
	})
	return g
}
