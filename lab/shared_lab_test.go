//go:build linux && lab

package lab

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/control"
	"github.com/cxtp/cxtp/lab/matrix"
	"github.com/cxtp/cxtp/lab/topology"
	"github.com/cxtp/cxtp/lab/traffic"
	"github.com/cxtp/cxtp/lab/witness"
)

// newSharing is a fleet whose gateways share the virtual address. The first is its
// holder.
func newSharing(t testing.TB, mode string, prepare ...func(*gateway)) *fleet {
	t.Helper()
	share := func(g *gateway) {
		g.Shares = true
		// Addresses of the loopback interface are answered for, unless the daemon
		// sees to it.
		if err := g.Sysctl("net.ipv4.conf.all.arp_ignore", "0"); err != nil {
			t.Fatal(err)
		}
		if g.Name == "sg1" {
			if err := g.AddAddress(topology.Outer, topology.Virtual); err != nil {
				t.Fatal(err)
			}
		}
	}
	f := newFleet(t, mode, append([]func(*gateway){share}, prepare...)...)
	f.shell(f.Host, "ip", "route", "del", full(topology.MN2Inner.V4).String())
	f.shell(f.Host, "ip", "-6", "route", "del", full(topology.MN2Inner.V6).String())
	f.must(f.Host.AddAddress(topology.Inner, secondHost))
	return f
}

// holder is the gateway that answers for the virtual address, as the router sees it.
func (f *fleet) holder(ipv6 bool) string {
	f.t.Helper()
	address := topology.Virtual.Of(ipv6)
	known := ""
	comes(func() bool {
		f.must(f.Router.Do(func() error { // to nobody in particular: somebody has to ask where it is
			c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(netip.AddrPortFrom(address, 9)))
			if err != nil {
				return err
			}
			c.Write([]byte{0}) // that it is refused is an answer too
			return c.Close()
		}))
		var err error
		known, err = f.Router.Run(f.ctx, "ip", "neigh", "show", address.String())
		f.must(err)
		return strings.Contains(known, "lladdr") // the kernel has asked
	})
	for _, g := range f.gateways {
		hardware, err := g.Hardware(topology.Outer)
		f.must(err)
		if strings.Contains(known, hardware.String()) {
			return g.Name
		}
	}
	return "nobody: " + known
}

// awaitHolder waits until a gateway answers for the virtual address, and no other
// does.
func (f *fleet) awaitHolder(g *gateway, ipv6 bool) {
	f.t.Helper()
	var holder, addresses string
	if !comes(func() bool {
		var err error
		addresses, err = g.Peer.Run(f.ctx, "ip", "address", "show", "dev", topology.Outer)
		f.must(err)
		holder = f.holder(ipv6)
		return holder == g.Name && !strings.Contains(addresses, topology.Virtual.Of(ipv6).String()+"/")
	}) {
		f.t.Fatalf("the virtual address is at %s, want %s; %s has\n%s", holder, g.Name, g.Peer.Name, addresses)
	}
}

// forwarded counts the filters of a gateway that forward packets of an SPI.
func (f *fleet) forwarded(at *gateway, spi uint32) int {
	f.t.Helper()
	filters, err := at.Run(f.ctx, "tc", "filter", "show", "dev", topology.Outer, "ingress")
	f.must(err)
	return strings.Count(filters, fmt.Sprintf("match %08x/ffffffff", spi))
}

// asksIKE sends a datagram from the node to UDP port 500 of the virtual address, as
// IKE would, and says where it arrives.
func (f *fleet) asksIKE(l *link) string {
	f.t.Helper()
	arrived := make(chan string, 2)
	var sockets []*net.UDPConn
	for _, g := range f.gateways {
		f.must(g.Do(func() error {
			c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(l.gate, 500)))
			if err != nil {
				return err
			}
			f.t.Cleanup(func() { c.Close() })
			c.SetReadDeadline(time.Now().Add(patience))
			sockets = append(sockets, c)
			go func() {
				defer c.Close()
				if n, _, err := c.ReadFrom(make([]byte, 64)); err == nil && n > 0 {
					arrived <- g.Name
				} else {
					arrived <- ""
				}
			}()
			return nil
		}))
	}
	f.must(f.MN.Do(func() error {
		c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(l.node, 500)), net.UDPAddrFromAddrPort(netip.AddrPortFrom(l.gate, 500)))
		if err != nil {
			return err
		}
		defer c.Close()
		_, err = c.Write([]byte("anybody there?"))
		return err
	}))
	first := <-arrived
	for _, c := range sockets {
		c.SetReadDeadline(time.Now().Add(settle))
	}
	return first + <-arrived
}

// secondHost is another address of the host.
var secondHost = topology.Pair{V4: netip.MustParseAddr("10.2.0.9"), V6: netip.MustParseAddr("fd00:2::9")}

// second is a session of the other node with another address of the host, and with
// the SPI's low bits of the first.
func (l *link) second() *link {
	s := *l
	ipv6 := l.inner.Is6()
	s.node, s.inner, s.far = topology.MN2.Of(l.outer6), topology.MN2Inner.Of(ipv6), secondHost.Of(ipv6)
	s.spiUp, s.spiDown, s.reqID = l.spiUp+0x100, l.spiDown+0x100, l.reqID+1
	return &s
}

// add installs a session of a node without an agent.
func (f *fleet) add(at *gateway, l *link, id cxtp.SessionID, identity string) {
	f.t.Helper()
	client := control.Dial(f.socket(at))
	f.must(client.AddSession(f.ctx, control.NewSession{
		Session: id, Previous: l.node, Identity: identity,
		Inner: []netip.Prefix{full(l.inner)}, SAs: []control.NewSA{l.manual(true), l.manual(false)},
	}))
}

var secondSession = cxtp.SessionID{0xcd}

// sharedCases are connections with the virtual address, each value of each axis with
// each of the others'.
func sharedCases() []matrix.Case {
	axes := []matrix.Axis{
		{Name: axisSuite, Values: []string{"gcm", "ah-sha256"}}, {Name: axisESN, Values: []string{"esn"}},
		{Name: axisMode, Values: []string{"tunnel"}}, {Name: axisFamily, Values: []string{"4in4", "6in6"}},
		{Name: axisEncap, Values: []string{"bare", "udp"}}, {Name: axisUplink, Values: []string{"indirect"}},
		{Name: axisMove, Values: []string{"lossless", "strict"}},
	}
	return matrix.Cases(axes, possible)
}

// TestForwarded moves one of two sessions with a shared address, which stays, then
// the other one, with which the address goes, and then both back.
func TestForwarded(t *testing.T) {
	for _, c := range sharedCases() {
		t.Run(c.String(), func(t *testing.T) {
			undisturbed(func() outcome {
				f, l, strict := newSharing(t, c.Get(axisMove)), linkOf(c), c.Get(axisMove) == "strict"
				here, there := f.gateways[0], f.gateways[1]
				f.install(l, here, faultySession)
				other, stays := f.neighbour(), l.second()
				other.connectNode(stays)
				f.add(here, stays, secondSession, "mn2.example")
				others := other.traffic(stays)

				o := f.trial(l, l, strict, func(*traffic.Traffic) { f.handover(here, faultySession) })
				f.stands(here, faultySession, "gone", "")
				if at := f.holder(l.outer6); at != "sg1" {
					t.Errorf("the virtual address went to %s with a session that was not the last", at)
				}
				if at := f.asksIKE(l); at != "sg2" {
					t.Errorf("IKE's packets arrive at %q, want sg2", at)
				}
				if says, err := f.cxtp(here, "status"); err != nil || !strings.Contains(says, "for 1 at sg2 is forwarded there") {
					t.Errorf("the operator is not told: %v %s", err, says)
				}
				o.also("the session that stayed", others.Stop(settle), false)

				o.also("the last one", f.lastOne(other, stays, here), strict)
				f.awaitHolder(there, l.outer6)
				o.also("where both are", f.steady(l), false)
				o.also("the first one back", f.lastOne(other, stays, there), strict)
				f.handover(there, faultySession)
				f.awaitHolder(here, l.outer6)
				o.also("where both were", f.steady(l), false)
				f.await(func() bool { return f.forwarded(here, l.spiUp)+f.forwarded(here, stays.spiUp) == 0 })
				f.stop()
				return o
			})
		})
	}
}

// also adds what became of other traffic to an outcome.
func (o *outcome) also(what string, r traffic.Report, strict bool) {
	o.t.Helper()
	if r.Duplicated() > 0 {
		o.t.Errorf(witness.Broken+"%s, accepted twice: %v", what, r)
	}
	if r.Lost() > 0 && !strict {
		o.missing += fmt.Sprintf("%s: %v; ", what, r)
	}
	o.Echo.Stall = max(o.Echo.Stall, r.Stall())
}

// lastOne moves the second session, in the middle of its traffic.
func (f *fleet) lastOne(other *rig, l *link, from *gateway) traffic.Report {
	f.t.Helper()
	w, flows := f.watch(), other.traffic(l)
	f.must(flows.Await(f.ctx, some))
	f.handover(from, secondSession)
	f.must(flows.Await(f.ctx, some))
	report := flows.Stop(settle)
	f.judge(w, l)
	return report
}

// steady is the traffic of a session that does not move.
func (f *fleet) steady(l *link) traffic.Report {
	f.t.Helper()
	flows := f.traffic(l)
	f.must(flows.Await(f.ctx, some))
	return flows.Stop(settle)
}

// sharedCase is the connection of tests that are not about connections.
var sharedCase = matrix.All([]matrix.Axis{
	{Name: axisSuite, Values: []string{"gcm"}}, {Name: axisESN, Values: []string{"esn"}},
	{Name: axisMode, Values: []string{"tunnel"}}, {Name: axisFamily, Values: []string{"4in4"}},
	{Name: axisEncap, Values: []string{"bare"}}, {Name: axisUplink, Values: []string{"indirect"}},
}, nil)[0]

// TestForwardedOneOfTwo moves one of two sessions of one node: what has its SPIs is
// forwarded, and nothing else that the node sends.
func TestForwardedOneOfTwo(t *testing.T) {
	undisturbed(func() outcome {
		o := outcome{t: t}
		f, l := newSharing(t, "lossless"), linkOf(sharedCase)
		here := f.gateways[0]
		stays := l.second()
		stays.node, stays.inner = l.node, netip.MustParseAddr("10.1.0.4")
		f.shell(f.MN, "ip", "address", "add", full(stays.inner).String(), "dev", "lo")
		f.install(l, here, faultySession)
		f.connectNode(stays)
		f.add(here, stays, secondSession, "mn2.example")
		f.handover(here, faultySession)
		f.stands(here, faultySession, "gone", "")
		if at := f.asksIKE(l); at != "sg1" {
			t.Errorf("IKE's packets arrive at %q, want sg1: a session of the node is there", at)
		}
		o.also("at rest", f.steady(l), false)
		o.also("at rest", f.steady(stays), false)
		f.stop()
		return o
	})
}

// TestForwardedDrain drains a gateway of 20 sessions with the shared address, one of
// them under traffic, and brings them back. A minute later nothing is forwarded.
func TestForwardedDrain(t *testing.T) {
	undisturbed(func() outcome {
		o := outcome{t: t}
		f, l := newSharing(t, "lossless"), linkOf(sharedCase)
		here, there := f.gateways[0], f.gateways[1]
		f.install(l, here, faultySession)
		const more = 19
		for i := range more {
			s := *l
			s.inner, s.node = netip.AddrFrom4([4]byte{10, 1, 1, byte(1 + i)}), netip.AddrFrom4([4]byte{198, 51, 100, byte(3 + i)})
			s.spiUp, s.spiDown = l.spiUp+uint32(1+i), l.spiDown+uint32(1+i)
			f.add(here, &s, cxtp.SessionID{1, byte(i)}, fmt.Sprintf("mn%d.example", i))
		}
		w, flows := f.watch(), f.traffic(l)
		for _, from := range []*gateway{here, there, here} {
			f.must(flows.Await(f.ctx, some))
			if err := f.drain(from); err != nil {
				t.Error(err)
			}
			f.awaitHolder(from.Peer, false)
			f.await(func() bool { return f.count(from.Peer, "active") == more+1 })
		}
		o.also("on the way", flows.Stop(settle), false)
		f.judge(w, l)
		f.oneOwner()
		o.also("at rest", f.steady(l), false)
		f.stop()
		return o
	})
}

// TestForwardedRestart starts the holder's daemon again while it forwards.
func TestForwardedRestart(t *testing.T) {
	undisturbed(func() outcome {
		o := outcome{t: t}
		f, l := newSharing(t, "lossless"), linkOf(sharedCase)
		here, there := f.gateways[0], f.gateways[1]
		f.install(l, here, faultySession)
		stays := l.second()
		f.add(here, stays, secondSession, "mn2.example")
		w, flows := f.watch(), f.traffic(l)
		f.handover(here, faultySession)
		f.stands(here, faultySession, "gone", "")
		f.must(flows.Await(f.ctx, some))
		here.kill()
		f.must(flows.Await(f.ctx, some))
		f.must(f.start(here))
		f.must(flows.Await(f.ctx, some))
		if f.forwarded(here, l.spiUp) != 1 || f.forwarded(here, stays.spiUp) != 0 {
			t.Error("the next daemon does not forward what the one before did")
		}
		f.handover(there, faultySession)
		f.must(flows.Await(f.ctx, some))
		o.also("on the way", flows.Stop(settle), false)
		if f.forwarded(here, l.spiUp) != 0 {
			t.Error("what is here is forwarded")
		}
		f.judge(w, l)
		f.stop()
		return o
	})
}

// TestForwardedThaw kills the target before it is active: nothing is forwarded, and
// nothing else is left of the attempt.
func TestForwardedThaw(t *testing.T) {
	undisturbed(func() outcome {
		o := outcome{t: t}
		f := newSharing(t, "lossless", func(g *gateway) {
			if g.Name == "sg2" {
				g.fault = "target-activating"
			}
		})
		l, here, there := linkOf(sharedCase), f.gateways[0], f.gateways[1]
		f.install(l, here, faultySession)
		w := f.watch()
		ordered := f.order(here)
		f.dies(there, ordered)
		f.must(f.start(there))
		if at := f.settled(); at != here {
			t.Fatalf("the session is at %s", at.Name)
		}
		ordered.end()
		if f.forwarded(here, l.spiUp)+f.forwarded(there, l.spiUp) != 0 {
			t.Error("what is here is forwarded")
		}
		f.awaitHolder(here, false)
		o.also("at rest", f.steady(l), false)
		f.handover(here, faultySession)
		f.awaitHolder(there, false)
		o.also("at rest", f.steady(l), false)
		f.judge(w, l)
		f.stop()
		return o
	})
}

// powerOff is a gateway without power: its daemon is dead, and its links are down.
func (f *fleet) powerOff(g *gateway) {
	f.t.Helper()
	g.kill()
	for _, link := range []string{topology.Outer, topology.Inner, topology.Sync} {
		f.shell(g.Node, "ip", "link", "set", link, "down")
	}
}

// TestInherit has a standby take over the session and the address of a holder whose
// power is off. When that comes back, it lets the address be.
func TestInherit(t *testing.T) {
	undisturbed(func() outcome {
		o := outcome{t: t}
		f, l := newSharing(t, "lossless"), linkOf(sharedCase)
		here, there := f.gateways[0], f.gateways[1]
		f.install(l, here, faultySession)
		_, err := f.cxtp(here, "standby", faultySession.String(), "--at", there.Name)
		f.must(err)
		w := f.watch()
		o.also("at rest", f.steady(l), false)
		time.Sleep(1500 * time.Millisecond) // a renewal
		f.powerOff(here)
		if _, err := f.cxtp(there, "resolve", faultySession.String(), "--fenced", here.Name); err != nil {
			t.Fatal(err)
		}
		f.stands(there, faultySession, "active")
		f.awaitInherited(there)
		o.also("at rest", f.steady(l), false)
		f.judge(w, l)

		// The power is back, and the address configured as it was.
		for _, link := range []string{topology.Outer, topology.Inner, topology.Sync} {
			f.shell(here.Node, "ip", "link", "set", link, "up")
		}
		f.shell(here.Node, "ip", "xfrm", "state", "flush")
		f.must(f.start(here))
		f.awaitHolder(there, false)
		o.also("at rest", f.steady(l), false)
		f.stop()
		return o
	})
}
