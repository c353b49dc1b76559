//go:build linux && lab

package lab

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
	"github.com/cxtp/cxtp/lab/matrix"
	"github.com/cxtp/cxtp/lab/topology"
	"github.com/cxtp/cxtp/lab/traffic"
	"github.com/cxtp/cxtp/lab/witness"
)

// moves are the connections, and how they move.
var moves = append(connections[:len(connections):len(connections)],
	matrix.Axis{Name: axisMove, Values: []string{"lossless", "strict"}},
	matrix.Axis{Name: axisDelay, Values: []string{"0ms", "40ms"}},
)

// moveDownlink makes what comes for the node arrive at the second gateway.
func (r *rig) moveDownlink(l *link, flows *traffic.Traffic) {
	r.t.Helper()
	if l.transport {
		flows.SendFrom(1)
		return
	}
	r.must(r.RouteInner(topology.MNInner, topology.SG2Inner))
}

// moveUplink makes the node's packets arrive at the second gateway: the shared
// address comes to it, or the node follows to its address.
func (r *rig) moveUplink(from, to *link) {
	r.t.Helper()
	if from.virtual {
		r.must(r.MoveVirtual(r.SG2))
		return
	}
	sa := r.node.delete(from.up().ID())
	sa.Dst = to.gate
	r.node.addStates(sa)
	r.node.must(r.node.kernel.UpdatePolicy(r.ctx, to.policy(uapi.DirOut, true)))
}

// outcome is what a move did to the traffic.
type outcome struct {
	traffic.Report
	replayed int    // old packets shown to the new gateway
	missing  string // what should not have been lost; "" = nothing
	judged   bool   // whoever tries again sees to that
	t        testing.TB
}

// undisturbed tries again when packets were lost while the machine stood still
// for longer than a gateway's queue lasts: that says nothing. A law that is
// broken is broken at the first time.
func undisturbed(try func() outcome) outcome {
	const tries, disturbed = 5, 100 * time.Millisecond
	for n := 1; ; n++ {
		o := try()
		switch {
		case o.missing == "" || o.t.Failed():
		case o.Stall() > disturbed && n < tries:
			o.t.Logf("once more, the machine stood still for %v: %s", o.Stall(), o.missing)
			continue
		default:
			o.t.Errorf("lost: %s", o.missing)
		}
		return o
	}
}

// steadily is undisturbed for a test that begins anew each time, and returns the rig
// whose [rig.lossless] has seen the traffic.
func steadily(t *testing.T, try func(t *testing.T) *rig) {
	t.Helper()
	n := 0
	undisturbed(func() outcome {
		o := outcome{t: t}
		n++
		// Folders have the name, and to charon a # in one is where a comment begins.
		t.Run(fmt.Sprintf("try-%d", n), func(t *testing.T) {
			lost := try(t).lost
			lost.judged = true
			o.missing, o.Echo.Stall = lost.missing, lost.Stall()
		})
		return o
	})
}

// lossless is for traffic that should have lost nothing, and has had nothing twice.
func (r *rig) lossless(what string, report traffic.Report) {
	r.t.Helper()
	r.lost.also(what, report, false)
	if report.Lost() > 0 {
		r.lost.missing += r.refusals()
	}
}

// trial lets traffic flow, moves the connection in the middle of it, and shows
// the new gateway what the old one accepted. It fails the test when a law was
// broken.
func (r *rig) trial(l, to *link, strict bool, move func(*traffic.Traffic)) outcome {
	r.t.Helper()
	w := r.watch()
	flows := r.traffic(l)
	r.must(flows.Await(r.ctx, some))
	move(flows)
	var old []witness.Frame
	enough := comes(func() bool { // the witness, too, gets the processor only now and then
		old = witness.Select(w.Frames(), func(f witness.Frame, p witness.Packet) bool {
			return f.Out && f.From == r.MN.Name && p.SPI == l.spiUp && p.Dst == l.gate
		})
		return len(old) >= 2*some
	})
	r.must(flows.Await(r.ctx, some))
	r.must(witness.Replay(r.Topology, old, r.SG2, to.gate))
	r.must(flows.Await(r.ctx, some))
	result := outcome{Report: flows.Stop(settle), replayed: len(old), t: r.t}
	if result.Duplicated() > 0 {
		r.t.Errorf(witness.Broken+"the new gateway accepted what the old one had: %v", result.Report)
	}
	lost := result.Lost()
	if l.transport {
		// What the source itself answers to after the freeze waits there in vain:
		// it is a part of what runs on the source, and that does not move.
		lost -= result.Echo.Lost
	}
	if lost > 0 && !strict {
		result.missing = fmt.Sprintf("%v; %s", result.Report, r.refusals())
	}
	if !enough {
		r.t.Errorf("only %d packets could be replayed", len(old))
	}
	_, seen := r.judge(w, l)
	for _, sa := range seen.SAs {
		if sa.Sender == "gateways" && sa.SPI == l.spiDown && (len(sa.Senders) != 2 || !sa.InTurn) {
			r.t.Errorf("not sent by the one and then by the other gateway: %+v", sa)
		}
	}
	return result
}

// results is a table of moves that is printed at the end of a test and left
// among the results.
type results struct {
	*matrix.Table
	t *testing.T
}

func newResults(t *testing.T, axes []matrix.Axis) results {
	r := results{matrix.NewTable(axes, "verdict", "lost", "of", "gap", "stall", "replayed"), t}
	t.Cleanup(func() {
		var table strings.Builder
		if err := r.Write(&table); err != nil {
			t.Error(err)
		}
		fmt.Print(table.String())
		name := left(t, ".txt")
		if err := os.WriteFile(name, []byte(table.String()), 0o600); err != nil {
			t.Error(err)
		}
	})
	return r
}

// add puts a trial into the table.
func (r results) add(t *testing.T, c matrix.Case, o outcome) {
	verdict := "kept"
	if t.Failed() {
		verdict = "FAILED"
	}
	r.Add(c, verdict, o.Lost(), o.Echo.Sent+o.Up.Sent+o.Down.Sent, o.Blackout().Round(time.Millisecond),
		o.Stall().Round(time.Millisecond), o.replayed)
}

func delayOf(t *testing.T, c matrix.Case) time.Duration {
	delay, err := time.ParseDuration(c.Get(axisDelay))
	if err != nil {
		t.Fatal(err)
	}
	return delay
}

// A move by hand keeps the laws, and loses nothing where it should not: the
// order of the steps is right, and the lab sees it.
func TestMoveByHand(t *testing.T) {
	axes := []matrix.Axis{
		{Name: axisSuite, Values: []string{"gcm"}},
		{Name: axisESN, Values: []string{"esn"}},
		{Name: axisMode, Values: []string{"tunnel", "transport"}},
		{Name: axisFamily, Values: []string{"4in4", "6in6"}},
		{Name: axisEncap, Values: []string{"bare", "udp"}},
		{Name: axisUplink, Values: []string{"direct", "indirect"}},
		{Name: axisMove, Values: []string{"lossless", "strict"}},
		{Name: axisDelay, Values: []string{"0ms", "40ms"}},
	}
	table := newResults(t, axes)
	for _, c := range matrix.Cases(axes, possible) {
		t.Run(c.String(), func(t *testing.T) {
			table.add(t, c, undisturbed(func() outcome {
				r, l := newRig(t), linkOf(c)
				r.connectNode(l)
				r.connectGate(r.sg1, l)
				to, strict := l.handedOver(), c.Get(axisMove) == "strict"
				return r.trial(l, to, strict, func(flows *traffic.Traffic) {
					h := &byHand{rig: r, from: l, to: to, flows: flows, strict: strict, delay: delayOf(t, c)}
					h.run()
				})
			}))
		})
	}
}

// A move between two gateways of the product, over the matrix.
func TestMove(t *testing.T) {
	kernel := func(r *rig, n *topology.Node, l *link, strict bool) backend { return r.kernelGateway(n, l, strict) }
	testMoves(t, moves, kernel, kernel)
}

// backend is a gateway of the product.
type backend interface {
	ipsecctx.Backend
	Install(context.Context, cxtp.SessionID, *ipsecctx.Session, []ipsecctx.Dynamic) error
}

// maker makes the gateway of a node, for a connection.
type maker func(r *rig, n *topology.Node, l *link, strict bool) backend

// testMoves moves connections of every kind from a source to a target.
func testMoves(t *testing.T, axes []matrix.Axis, source, target maker) {
	table := newResults(t, axes)
	for _, c := range matrix.Cases(axes, possible) {
		t.Run(c.String(), func(t *testing.T) {
			table.add(t, c, undisturbed(func() outcome {
				r, l := newRig(t), linkOf(c)
				to, strict := l.handedOver(), c.Get(axisMove) == "strict"
				if l.virtual {
					r.must(r.MoveVirtual(r.SG1))
					r.must(r.StageVirtual(r.SG2))
				}
				m := &byGateways{rig: r, from: l, to: to, delay: delayOf(t, c),
					source: source(r, r.SG1, l, strict), target: target(r, r.SG2, to, strict)}
				r.must(m.source.Install(r.ctx, session, l.session(), nil))
				r.connectNode(l)
				return r.trial(l, to, strict, m.run)
			}))
		})
	}
}

// session is the id of the one that moves.
var session = cxtp.SessionID{1}

// kernelGateway makes the gateway that a node's kernel is.
func (r *rig) kernelGateway(n *topology.Node, l *link, strict bool) *xfrm.Gateway {
	r.t.Helper()
	var g *xfrm.Gateway
	r.must(n.Do(func() (err error) {
		g, err = xfrm.New(r.ctx, xfrm.Config{
			Dir: r.t.TempDir(), Protect: []netip.Prefix{full(l.inner)}, Strict: strict,
		})
		return err
	}))
	r.t.Cleanup(func() {
		if err := g.Stop(); err != nil {
			r.t.Error(err)
		}
	})
	return g
}

// session is the connection as its gateway knows it.
func (l *link) session() *ipsecctx.Session {
	one := func(a netip.Addr) []ipsecctx.Range { return []ipsecctx.Range{{From: a, To: a}} }
	s := &ipsecctx.Session{
		Inner: []netip.Prefix{full(l.inner)},
		SAs: []ipsecctx.SA{
			{Direction: ipsecctx.Outbound, SPI: l.spiDown},
			{Direction: ipsecctx.Inbound, SPI: l.spiUp, Window: l.window},
		},
	}
	for i := range s.SAs {
		sa := &s.SAs[i]
		sa.Protocol, sa.Mode, sa.Pair, sa.ESN = ipsecctx.Protocol(l.suite.proto), ipsecctx.Tunnel, 1, l.esn
		if l.transport {
			sa.Mode = ipsecctx.Transport
		}
		sa.Local, sa.Remote = l.gate, l.node
		if l.encap {
			sa.Encap = ipsecctx.Encap{LocalPort: encapPort, RemotePort: encapPort}
		}
		sa.Selectors = []ipsecctx.Selector{{
			Local: one(l.far), Remote: one(l.inner),
			LocalPort: ipsecctx.AnyPort, RemotePort: ipsecctx.AnyPort, MobilityHeader: ipsecctx.AnyPort,
		}}
		l.suite.transforms(sa)
	}
	return s
}

// byGateways is a handover between two gateways of the product in this
// process: what the daemons do, without them.
type byGateways struct {
	*rig
	from, to       *link
	source, target backend
	delay          time.Duration // of each message between the gateways
}

func (m *byGateways) run(flows *traffic.Traffic) {
	static, _, err := m.source.Export(m.ctx, session)
	m.must(err)
	for i := range static.SAs {
		static.SAs[i].Local = m.to.gate
	}
	time.Sleep(m.delay)
	m.must(m.target.Stage(m.ctx, session, static))
	m.moveDownlink(m.from, flows)
	time.Sleep(routeSettles + m.delay)

	final, err := m.source.Freeze(m.ctx, session)
	m.must(err)
	time.Sleep(m.delay)
	m.must(m.target.Activate(m.ctx, session, final))
	m.moveUplink(m.from, m.to)
	time.Sleep(uplinkSettles + m.delay)

	last, err := m.source.Close(m.ctx, session)
	m.must(err)
	time.Sleep(m.delay)
	m.must(m.target.Merge(m.ctx, session, last))
	m.must(m.source.Release(m.ctx, session))
}
