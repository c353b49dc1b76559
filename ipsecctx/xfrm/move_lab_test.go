//go:build linux && lab

package xfrm

import (
	"context"
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
	"github.com/cxtp/cxtp/lab/topology"
	"github.com/cxtp/cxtp/lab/traffic"
	"github.com/cxtp/cxtp/lab/witness"
)

// network is the lab with a gateway at each end of IPsec. The node's own kernel
// is one too, which sees the directions the other way round.
type network struct {
	*topology.Topology
	t              *testing.T
	node, sg1, sg2 *Gateway
	ike            map[*Gateway]*ikeDaemon // whose SAs a gateway's are, if not its own
}

func newNetwork(t *testing.T, change func(*Config)) *network {
	lab, err := topology.New()
	must(t, err)
	t.Cleanup(func() { must(t, lab.Close()) })
	n := &network{Topology: lab, t: t, ike: map[*Gateway]*ikeDaemon{}}
	inner := []netip.Prefix{full(topology.MNInner.V4), full(topology.MNInner.V6)}
	for _, sg := range []*topology.Node{lab.SG1, lab.SG2} {
		// Both have the shared address, and one answers for it.
		must(t, sg.Sysctl("net.ipv4.conf.all.arp_ignore", "1"))
		must(t, sg.AddAddress("lo", topology.Virtual))
	}
	n.sg1, n.sg2 = n.gateway(lab.SG1, inner, change), n.gateway(lab.SG2, inner, change)
	n.node = n.gateway(lab.MN, []netip.Prefix{full(topology.Host.V4), full(topology.Host.V6)}, func(*Config) {})
	return n
}

func full(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func (n *network) gateway(at *topology.Node, protect []netip.Prefix, change func(*Config)) (g *Gateway) {
	cfg := Config{Dir: n.t.TempDir(), Protect: protect}
	change(&cfg)
	must(n.t, at.Do(func() (err error) {
		g, err = New(ctx, cfg)
		return err
	}))
	n.t.Cleanup(func() { must(n.t, g.Stop()) })
	if cfg.Adopt {
		n.ike[g] = n.newIKE(at, g)
	}
	return g
}

// newIKE starts an IKE daemon beside a gateway. It hears the kernel ask for SAs, and
// does nothing about it: what waits then waits for one of a number that nobody has.
func (n *network) newIKE(at *topology.Node, g *Gateway) *ikeDaemon {
	var conn *uapi.Conn
	must(n.t, at.Do(func() (err error) { conn, err = uapi.Dial(); return err }))
	acquires, err := conn.Watch(ctx, uapi.GroupAcquire)
	must(n.t, err)
	var tasks sync.WaitGroup
	tasks.Go(func() {
		for range acquires {
		}
	})
	watch, stop := context.WithCancel(ctx)
	tasks.Go(func() {
		if err := g.Run(watch); err != nil {
			n.t.Errorf("Run: %v", err)
		}
	})
	n.t.Cleanup(func() { stop(); conn.Close(); tasks.Wait() })
	return &ikeDaemon{window: 32, start: uint64(time.Now().Unix()) - 100, do: func(requests []uapi.Request) []uapi.Result {
		results, err := conn.Batch(ctx, requests)
		if err != nil {
			n.t.Errorf("the IKE daemon: %v", err)
		}
		return results
	}}
}

// begin starts a session at the first gateway.
func (n *network) begin(s *ipsecctx.Session) {
	ike := n.ike[n.sg1]
	if ike == nil {
		must(n.t, n.sg1.Install(ctx, testID, s, nil))
		return
	}
	for i, g := range []*Gateway{n.sg1, n.sg2} { // their sockets, if one is needed
		if sa := &s.SAs[0]; sa.Encap.Enabled() {
			socket, err := g.listen(netip.AddrPortFrom(sa.Local, sa.Encap.LocalPort))
			must(n.t, err)
			n.t.Cleanup(func() { socket.Close() })
		}
		n.ike[g].window = []uint32{32, 128}[i]
	}
	ike.install(n.t, s)
	must(n.t, n.sg1.Adopt(ctx, testID, announced(s)))
}

// session is the node's, as the gateways see it.
func (n *network) session(encap, inner6, outer6 bool) *ipsecctx.Session {
	s := testSession()
	far, near := topology.Host.Of(inner6), topology.MNInner.Of(inner6)
	s.Inner = []netip.Prefix{full(near)}
	for i := range s.SAs {
		sa := &s.SAs[i]
		sa.Local, sa.Remote = topology.Virtual.Of(outer6), topology.MN.Of(outer6)
		sa.Encap = ipsecctx.Encap{}
		if encap {
			sa.Encap = ipsecctx.Encap{LocalPort: 4500, RemotePort: 4500}
		}
		sa.Selectors = []ipsecctx.Selector{{Local: []ipsecctx.Range{{From: far, To: far}}, Remote: []ipsecctx.Range{{From: near, To: near}},
			LocalPort: ipsecctx.AnyPort, RemotePort: ipsecctx.AnyPort, MobilityHeader: ipsecctx.AnyPort}}
	}
	return s
}

// mirrored is a session as its other end sees it.
func mirrored(s *ipsecctx.Session) *ipsecctx.Session {
	m := s.Clone()
	m.Inner = nil
	for i := range m.SAs {
		sa := &m.SAs[i]
		sa.Direction = ipsecctx.Inbound + ipsecctx.Outbound - sa.Direction
		sa.Local, sa.Remote = sa.Remote, sa.Local
		sa.Encap.LocalPort, sa.Encap.RemotePort = sa.Encap.RemotePort, sa.Encap.LocalPort
		for j := range sa.Selectors {
			sel := &sa.Selectors[j]
			sel.Local, sel.Remote = sel.Remote, sel.Local
		}
	}
	return m
}

// course is a move there and back of a session.
type course struct {
	name                          string
	strict, encap, inner6, outer6 bool
	adopt                         bool
}

// TestMoveOfPackets moves a session that carries traffic to the other gateway
// and back, in the order of package comment. In the lossless mode nothing is
// lost; in neither is anything sent or accepted twice, or in the clear.
func TestMoveOfPackets(t *testing.T) {
	for _, c := range []course{
		{"lossless", false, false, false, false, false},
		{"lossless in UDP", false, true, true, false, false},
		{"lossless over IPv6", false, false, false, true, false},
		{"strict", true, false, false, false, false},
		{"adopted", false, false, false, false, true},
		{"adopted in UDP", false, true, true, false, true},
		{"adopted over IPv6", false, false, false, true, true},
		{"adopted strict", true, false, false, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			// What is lost while the machine stands still for longer than a queue lasts
			// says nothing. A law that is broken is broken at the first time.
			const tries, disturbed = 3, 100 * time.Millisecond
			for n := 1; ; n++ {
				var report traffic.Report
				t.Run(fmt.Sprintf("try-%d", n), func(t *testing.T) { report = thereAndBack(t, c) })
				switch {
				case t.Failed() || c.strict || report.Lost() == 0:
					return
				case report.Stall() <= disturbed || n == tries:
					t.Fatalf("lost: %v", report)
				}
			}
		})
	}
}

// thereAndBack runs a course, and returns what became of the traffic.
func thereAndBack(t *testing.T, c course) traffic.Report {
	n := newNetwork(t, func(k *Config) { k.Strict, k.Adopt = c.strict, c.adopt })
	s := n.session(c.encap, c.inner6, c.outer6)
	must(t, n.MoveVirtual(n.SG1))
	must(t, n.RouteInner(topology.MNInner, topology.SG1Inner))
	n.begin(s)
	must(t, n.node.Install(ctx, testID, mirrored(s), nil))
	near, far := topology.MNInner.Of(c.inner6), topology.Host.Of(c.inner6)
	o := traffic.Options{Near: traffic.End{Node: n.MN, Addr: near}, Far: []traffic.End{{Node: n.Host, Addr: far}}}
	warm, err := traffic.Start(o)
	must(t, err)
	must(t, warm.Await(ctx, 10))
	warm.Stop(time.Second)

	w, err := witness.Watch(witness.OuterPoints(n.Topology)...)
	must(t, err)
	flows, err := traffic.Start(o)
	must(t, err)
	must(t, flows.Await(ctx, 20))
	n.move(n.sg1, n.sg2, n.SG2, topology.SG2Inner)
	n.replay(w, n.SG2, s)
	must(t, flows.Await(ctx, 20))
	n.move(n.sg2, n.sg1, n.SG1, topology.SG1Inner)
	n.replay(w, n.SG1, s)
	must(t, flows.Await(ctx, 20))
	report := flows.Stop(time.Second)
	frames, err := w.Stop()
	must(t, err)
	t.Log(report, n.refusals())
	if report.Duplicated() > 0 {
		t.Errorf(witness.Broken+"accepted twice: %v; %v", report, n.refusals())
	}
	seen := witness.Examine(frames, witness.Rules{Gateways: []string{"sg1", "sg2"}, IV: 8,
		Protected: []witness.Selector{{A: full(near), B: full(far)}}})
	if !seen.Kept() {
		t.Errorf("the witness: %v", seen)
	}
	return report
}

// move hands the session over, downlink first: what comes for the node waits at
// the target while the source's queue runs empty.
func (n *network) move(from, to *Gateway, gateway *topology.Node, inside topology.Pair) {
	t := n.t
	s, _, err := from.Export(ctx, testID)
	must(t, err)
	must(t, to.Stage(ctx, testID, s))
	if ike := n.ike[to]; ike != nil {
		installed := make(chan struct{})
		go func() { ike.install(t, s); close(installed) }()
		must(t, to.Adopted(ctx, testID))
		<-installed
	}
	must(t, n.RouteInner(topology.MNInner, inside))
	time.Sleep(20 * time.Millisecond)
	final, err := from.Freeze(ctx, testID)
	must(t, err)
	must(t, to.Activate(ctx, testID, final))
	must(t, n.MoveVirtual(gateway))
	time.Sleep(20 * time.Millisecond)
	last, err := from.Close(ctx, testID)
	must(t, err)
	must(t, to.Merge(ctx, testID, last))
	if ike := n.ike[from]; ike != nil {
		ike.remove()
	}
	must(t, from.Release(ctx, testID))
}

// replay shows a gateway all that the node has sent so far.
func (n *network) replay(w *witness.Witness, gateway *topology.Node, s *ipsecctx.Session) {
	old := witness.Select(w.Frames(), func(f witness.Frame, p witness.Packet) bool {
		return f.Out && f.From == n.MN.Name && p.Dst == s.SAs[0].Local
	})
	if len(old) < 10 {
		n.t.Errorf("only %d packets could be replayed", len(old))
	}
	must(n.t, witness.Replay(n.Topology, old, gateway, s.SAs[0].Local))
}

func (n *network) refusals() map[string]uint64 {
	all := map[string]uint64{}
	for _, at := range []*topology.Node{n.MN, n.SG1, n.SG2} {
		counters, err := at.XFRMCounters()
		must(n.t, err)
		for name, count := range counters {
			if count > 0 {
				all[at.Name+" "+name] = count
			}
		}
	}
	return all
}
