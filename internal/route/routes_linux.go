package route

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Config says where a gateway's two sides are.
type Config struct {
	Outside string // interface towards the nodes
	Inside  string // interface to the protected side
	// Answer makes the gateway answer ARP and neighbour solicitations for nodes'
	// inner addresses on the inside, and announce them: for a LAN whose own
	// addresses the nodes have.
	Answer bool
}

// Routes are the routes of nodes' inner addresses, in the network namespace that
// [New] was called in.
type Routes struct {
	cfg     Config
	kernel  *netlink.Handle
	outside netlink.Link
	inside  netlink.Link
}

// New looks the interfaces up.
func New(cfg Config) (*Routes, error) {
	kernel, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("failed to open a routing socket: %w", err)
	}
	r := &Routes{cfg: cfg, kernel: kernel}
	if r.outside, err = link(kernel, cfg.Outside); err == nil {
		r.inside, err = link(kernel, cfg.Inside)
	}
	if err == nil && cfg.Answer {
		err = answerIPv6(cfg.Inside)
	}
	if err != nil {
		kernel.Close()
		return nil, err
	}
	return r, nil
}

func link(kernel *netlink.Handle, name string) (netlink.Link, error) {
	l, err := kernel.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("interface %q: %w", name, err)
	}
	return l, nil
}

// answerIPv6 lets an interface answer neighbour solicitations for addresses that
// are not this machine's. For ARP there is no such switch.
func answerIPv6(name string) error {
	path := "/proc/sys/net/ipv6/conf/" + name + "/proxy_ndp"
	err := os.WriteFile(path, []byte("1\n"), 0)
	if err != nil && !errors.Is(err, os.ErrNotExist) { // without IPv6 there is nothing to answer
		return fmt.Errorf("failed to answer neighbour solicitations on %s: %w", name, err)
	}
	return nil
}

// Close closes the socket. The routes stay.
func (r *Routes) Close() { r.kernel.Close() }

// InsideIndex is the interface number of the protected side.
func (r *Routes) InsideIndex() int { return r.inside.Attrs().Index }

// Prepare routes inner prefixes to the outside, where policies protect them or
// hold them back, and tells nobody.
func (r *Routes) Prepare(inner []netip.Prefix) error { return r.outward(inner, ProtocolPassing) }

func (r *Routes) outward(inner []netip.Prefix, protocol netlink.RouteProtocol) error {
	for _, p := range inner {
		err := r.replace(p, netlink.Route{LinkIndex: r.outside.Attrs().Index, Scope: netlink.SCOPE_LINK, Protocol: protocol})
		if err != nil {
			return err
		}
	}
	return nil
}

// Attract is Prepare for a session that is here from now on: others may know.
func (r *Routes) Attract(inner []netip.Prefix) error {
	if err := r.outward(inner, ProtocolHere); err != nil {
		return err
	}
	for _, p := range inner {
		if err := r.answer(p); err != nil {
			return err
		}
	}
	return nil
}

// Redirect routes inner prefixes to another gateway's inside address.
func (r *Routes) Redirect(inner []netip.Prefix, to netip.Addr) error {
	for _, p := range inner {
		if p.Addr().Is4() != to.Is4() {
			return fmt.Errorf("failed to redirect %s: %s is of the other family", p, to)
		}
		if err := r.replace(p, netlink.Route{LinkIndex: r.inside.Attrs().Index, Gw: to.AsSlice(), Protocol: ProtocolPassing}); err != nil {
			return err
		}
		if err := r.stopAnswering(p); err != nil {
			return err
		}
	}
	return nil
}

// Forget takes the routes of inner prefixes away.
func (r *Routes) Forget(inner []netip.Prefix) error {
	var errs []error
	for _, p := range inner {
		for _, protocol := range []netlink.RouteProtocol{ProtocolHere, ProtocolPassing} {
			// Of any scope: a route to a node here has another than one by a gateway.
			err := r.kernel.RouteDel(&netlink.Route{Dst: network(p), Protocol: protocol, Scope: netlink.SCOPE_NOWHERE})
			if err != nil && !errors.Is(err, unix.ESRCH) {
				errs = append(errs, fmt.Errorf("failed to remove the route of %s: %w", p, err))
			}
		}
		errs = append(errs, r.stopAnswering(p))
	}
	return errors.Join(errs...)
}

// Keep takes away the routes of this package but those of the inner prefixes given:
// what a gateway left whose daemon ended before it could.
func (r *Routes) Keep(inner []netip.Prefix) error {
	kept := map[netip.Prefix]bool{}
	for _, p := range inner {
		kept[p.Masked()] = true
	}
	var left []netip.Prefix
	for _, family := range []int{unix.AF_INET, unix.AF_INET6} {
		for _, protocol := range []netlink.RouteProtocol{ProtocolHere, ProtocolPassing} {
			routes, err := r.kernel.RouteListFiltered(family, &netlink.Route{Protocol: protocol}, netlink.RT_FILTER_PROTOCOL)
			if err != nil {
				return fmt.Errorf("failed to read the routes of nodes: %w", err)
			}
			for _, route := range routes {
				if p, ok := prefix(route.Dst); ok && !kept[p] {
					left = append(left, p)
				}
			}
		}
	}
	return r.Forget(left)
}

// Answered reports whether another gateway answers for an inner address on the inside.
func (r *Routes) Answered(ctx context.Context, inner netip.Addr) (bool, error) {
	who, err := (&Addresses{link: r.inside}).Ask(ctx, inner)
	return len(who) > 0, err
}

// Overridden is the routing table that the kernel takes the route of an inner prefix
// from in place of this package's; 0 = it takes that, or has none.
func (r *Routes) Overridden(p netip.Prefix) (table int, err error) {
	routes, err := r.kernel.RouteGetWithOptions(p.Addr().AsSlice(), &netlink.RouteGetOptions{FIBMatch: true})
	if errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("failed to look for the route of %s: %w", p, err)
	}
	for _, route := range routes {
		if route.Protocol != ProtocolHere && route.Protocol != ProtocolPassing && route.Table != unix.RT_TABLE_MAIN {
			return route.Table, nil
		}
	}
	return 0, nil
}

func (r *Routes) replace(p netip.Prefix, route netlink.Route) error {
	route.Dst = network(p)
	if err := r.kernel.RouteReplace(&route); err != nil {
		return fmt.Errorf("failed to route %s: %w", p, err)
	}
	return nil
}

// answer answers for a single inner address on the inside. A longer range is a
// subnet of its own, and nobody asks for its addresses there.
func (r *Routes) answer(p netip.Prefix) error {
	if !r.cfg.Answer || !p.IsSingleIP() {
		return nil
	}
	if err := r.kernel.NeighSet(r.proxy(p)); err != nil {
		return fmt.Errorf("failed to answer for %s on %s: %w", p.Addr(), r.cfg.Inside, err)
	}
	return Announce(r.inside.Attrs(), p.Addr())
}

func (r *Routes) stopAnswering(p netip.Prefix) error {
	if !r.cfg.Answer || !p.IsSingleIP() {
		return nil
	}
	if err := r.kernel.NeighDel(r.proxy(p)); err != nil && !errors.Is(err, unix.ENOENT) {
		return fmt.Errorf("failed to stop answering for %s on %s: %w", p.Addr(), r.cfg.Inside, err)
	}
	return nil
}

func (r *Routes) proxy(p netip.Prefix) *netlink.Neigh {
	return &netlink.Neigh{LinkIndex: r.inside.Attrs().Index, Family: family(p.Addr()), Flags: netlink.NTF_PROXY, IP: p.Addr().AsSlice()}
}

func family(a netip.Addr) int {
	if a.Is4() {
		return unix.AF_INET
	}
	return unix.AF_INET6
}

func network(p netip.Prefix) *net.IPNet {
	p = p.Masked()
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// prefix is the inverse of network.
func prefix(n *net.IPNet) (netip.Prefix, bool) {
	if n == nil {
		return netip.Prefix{}, false
	}
	a, ok := netip.AddrFromSlice(n.IP)
	bits, _ := n.Mask.Size()
	return netip.PrefixFrom(a.Unmap(), bits), ok
}
