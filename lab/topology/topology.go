//go:build linux

// Package topology builds the network of the lab out of namespaces:
//
//	         access link        outer segment        inner segment
//	[ mn  ]----------------+
//	[ mn2 ]--------------+ |           +---[ sg1 ]---+
//	                     [ router ]----+     | sync  +---[ host ]
//	                   (NAT, if asked) +---[ sg2 ]---+
//
// mn and mn2 are mobile nodes, each behind a link of its own to the router;
// sg1 and sg2 are the security gateways, between the outer segment, which is a
// bridge in the router, and the inner one, a bridge in the host. The sync link
// is the gateways' own. Everything has IPv4 and IPv6 addresses. A node's inner
// addresses are on its loopback interface; the host reaches them through the
// gateway that [Topology.RouteInner] names.
//
// It needs root and the network of a machine that nobody minds: it is for the
// guest of package uml.
package topology

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Pair is an IPv4 and an IPv6 address of the same thing.
type Pair struct{ V4, V6 netip.Addr }

// Of returns the address of the family.
func (p Pair) Of(ipv6 bool) netip.Addr {
	if ipv6 {
		return p.V6
	}
	return p.V4
}

func pair(v4, v6 string) Pair { return Pair{netip.MustParseAddr(v4), netip.MustParseAddr(v6)} }

// Addresses of the lab.
var (
	SG1     = pair("192.0.2.11", "2001:db8:2::11") // on the outer segment
	SG2     = pair("192.0.2.12", "2001:db8:2::12")
	Virtual = pair("192.0.2.10", "2001:db8:2::10") // of whichever gateway has taken it; see MoveVirtual
	MN      = pair("198.51.100.2", "2001:db8:100::2")
	MN2     = pair("198.51.101.2", "2001:db8:101::2")

	SG1Inner = pair("10.2.0.11", "fd00:2::11") // on the inner segment
	SG2Inner = pair("10.2.0.12", "fd00:2::12")
	Host     = pair("10.2.0.1", "fd00:2::1")

	SG1Sync = pair("203.0.113.1", "2001:db8:3::1") // on the sync link
	SG2Sync = pair("203.0.113.2", "2001:db8:3::2")

	MNInner  = pair("10.1.0.2", "fd00:1::2") // the nodes' inner addresses
	MN2Inner = pair("10.1.0.3", "fd00:1::3")

	routerOuter = pair("192.0.2.1", "2001:db8:2::1")
	routerMN    = pair("198.51.100.1", "2001:db8:100::1")
	routerMN2   = pair("198.51.101.1", "2001:db8:101::1")
)

// Prefix lengths of the segments; inner addresses of nodes are /32 and /128.
const (
	bitsV4 = 24
	bitsV6 = 64
)

// Interface names, as each namespace has them.
const (
	Outer  = "outer"  // mn, mn2, sg1, sg2: towards the router
	Inner  = "inner"  // sg1, sg2: towards the host; the bridge of host
	Sync   = "sync"   // sg1, sg2: towards each other
	bridge = "bridge" // the router's bridge of the outer segment

	Attached = "lan" // of a node that is attached to it
)

// Topology is the network. Its nodes are to be used while it is open.
type Topology struct {
	MN, MN2, SG1, SG2, Host, Router *Node
	nodes                           []*Node
}

// New builds the network. Close takes it down.
func New() (*Topology, error) {
	t := &Topology{}
	if err := t.build(); err != nil {
		return nil, errors.Join(fmt.Errorf("failed to build the lab's network: %w", err), t.Close())
	}
	return t, nil
}

// Close forgets the namespaces; the kernel removes each with the last process
// and socket in it.
func (t *Topology) Close() error {
	var failed []error
	for _, n := range t.nodes {
		failed = append(failed, n.close())
	}
	t.nodes = nil
	return errors.Join(failed...)
}

func (t *Topology) build() error {
	for _, n := range []struct {
		name string
		to   **Node
	}{
		{"mn", &t.MN}, {"mn2", &t.MN2}, {"sg1", &t.SG1}, {"sg2", &t.SG2}, {"host", &t.Host}, {"router", &t.Router},
	} {
		node, err := newNode(n.name)
		if err != nil {
			return err
		}
		*n.to = node
		t.nodes = append(t.nodes, node)
	}
	steps := []func() error{
		func() error { return t.Router.AddBridge(bridge, routerOuter) },
		func() error { return t.Host.AddBridge(Inner, Host) },
		func() error { return t.access(t.MN, MN, MNInner, routerMN) },
		func() error { return t.access(t.MN2, MN2, MN2Inner, routerMN2) },
		func() error { return t.gateway(t.SG1, SG1, SG1Inner) },
		func() error { return t.gateway(t.SG2, SG2, SG2Inner) },
		func() error { return t.Link(t.SG1, Sync, t.SG2, Sync) },
		func() error { return t.SG1.AddAddress(Sync, SG1Sync) },
		func() error { return t.SG2.AddAddress(Sync, SG2Sync) },
		t.Router.forward,
		func() error { return t.RouteInner(MNInner, SG1Inner) },
		func() error { return t.RouteInner(MN2Inner, SG1Inner) },
	}
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// access connects a mobile node to the router.
func (t *Topology) access(node *Node, outer, inner, router Pair) error {
	if err := t.Link(node, Outer, t.Router, node.Name); err != nil {
		return err
	}
	if err := errors.Join(
		node.AddAddress(Outer, outer), t.Router.AddAddress(node.Name, router), node.addHostAddress("lo", inner)); err != nil {
		return err
	}
	return errors.Join(
		node.Route(netip.PrefixFrom(netip.IPv4Unspecified(), 0), router.V4, netip.Addr{}),
		node.Route(netip.PrefixFrom(netip.IPv6Unspecified(), 0), router.V6, netip.Addr{}),
		// What is for the protected side is to leave with the inner address, for
		// the SPD to find it.
		node.Route(netip.PrefixFrom(Host.V4, bitsV4).Masked(), router.V4, inner.V4),
		node.Route(netip.PrefixFrom(Host.V6, bitsV6).Masked(), router.V6, inner.V6))
}

// gateway connects a gateway to both segments. What is for nodes' inner
// addresses leaves through the outer segment, where the SPD is to take it.
func (t *Topology) gateway(node *Node, outer, inner Pair) error {
	if err := t.Link(node, Outer, t.Router, node.Name); err != nil {
		return err
	}
	if err := t.Link(node, Inner, t.Host, node.Name); err != nil {
		return err
	}
	return errors.Join(
		t.Router.Join(node.Name, bridge), t.Host.Join(node.Name, Inner),
		node.AddAddress(Outer, outer), node.AddAddress(Inner, inner), node.forward(),
		node.Route(netip.PrefixFrom(netip.IPv4Unspecified(), 0), routerOuter.V4, netip.Addr{}),
		node.Route(netip.PrefixFrom(netip.IPv6Unspecified(), 0), routerOuter.V6, netip.Addr{}))
}

// Attach connects a node to the outer segment itself, beside what it has: what
// reaches the gateways that way has crossed no router.
func (t *Topology) Attach(node *Node, address Pair) error {
	port := node.Name + "-" + Attached
	if err := t.Link(node, Attached, t.Router, port); err != nil {
		return err
	}
	return errors.Join(t.Router.Join(port, bridge), node.AddAddress(Attached, address))
}

// Link connects two nodes by a virtual Ethernet.
func (t *Topology) Link(a *Node, nameA string, b *Node, nameB string) error {
	// Both ends are made where their names are free, in the first node, and the
	// second end moves with its name to the other.
	attributes := netlink.NewLinkAttrs()
	attributes.Name = nameA
	attributes.TxQLen = 1000
	veth := &netlink.Veth{LinkAttrs: attributes, PeerName: nameB, PeerNamespace: netlink.NsFd(b.ns)}
	if err := a.links.LinkAdd(veth); err != nil {
		return fmt.Errorf("failed to link %s and %s: %w", a.Name, b.Name, err)
	}
	return errors.Join(a.up(nameA), b.up(nameB))
}

// RouteInner makes the host reach a node's inner addresses through a gateway:
// the downlink's steering.
func (t *Topology) RouteInner(node, gateway Pair) error {
	return errors.Join(
		t.Host.Route(netip.PrefixFrom(node.V4, 32), gateway.V4, netip.Addr{}),
		t.Host.Route(netip.PrefixFrom(node.V6, 128), gateway.V6, netip.Addr{}))
}

// StageVirtual gives a gateway the virtual address without anybody noticing: it
// may send from it, and answers nobody who asks where it is.
func (t *Topology) StageVirtual(node *Node) error {
	if err := node.addHostAddress("lo", Virtual); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	return nil
}

// MoveVirtual gives the virtual outer address to a gateway and takes it from
// the other, and the router learns at once where it is, as an announcement
// would tell it: the uplink's steering without the node's help. At no instant
// has nobody the address.
func (t *Topology) MoveVirtual(to *Node) error {
	from := t.SG1
	if to == t.SG1 {
		from = t.SG2
	}
	if err := to.AddAddress(Outer, Virtual); err != nil && !errors.Is(err, unix.EEXIST) {
		return err
	}
	if err := t.announce(to, Virtual); err != nil {
		return err
	}
	if err := from.RemoveAddress(Outer, Virtual); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return err
	}
	return nil
}

// announce puts a gateway's hardware address into the router's neighbours.
func (t *Topology) announce(node *Node, address Pair) error {
	hardware, err := node.Hardware(Outer)
	if err != nil {
		return err
	}
	segment, err := t.Router.links.LinkByName(bridge)
	if err != nil {
		return err
	}
	for _, a := range []netip.Addr{address.V4, address.V6} {
		if err := t.Router.links.NeighSet(&netlink.Neigh{
			LinkIndex: segment.Attrs().Index, IP: a.AsSlice(), HardwareAddr: hardware,
			State: netlink.NUD_REACHABLE,
		}); err != nil {
			return fmt.Errorf("failed to tell the router where %v is: %w", a, err)
		}
	}
	return nil
}
