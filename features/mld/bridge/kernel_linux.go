package bridge

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features/mld"
)

// New makes Links of interfaces of this machine. What they are is read again each
// time: they may come and go.
func New(c Config) (*Links, error) {
	l := &Links{config: c, kernel: machine{}, joined: map[cxtp.SessionID][]mld.Context{}}
	if _, err := l.links(); err != nil {
		return nil, err
	}
	return l, nil
}

// machine is the kernel below.
type machine struct{}

func (machine) link(name string) (link, error) {
	is, err := netlink.LinkByName(name)
	if err != nil {
		return link{}, err
	}
	l := link{name: name, index: is.Attrs().Index}
	addrs, err := netlink.AddrList(is, netlink.FAMILY_V6)
	if err != nil {
		return link{}, err
	}
	for _, a := range addrs {
		ip, _ := netip.AddrFromSlice(a.IP)
		bits, _ := a.Mask.Size()
		if ip.IsLinkLocalUnicast() {
			continue
		}
		l.prefixes = append(l.prefixes, netip.PrefixFrom(ip, bits).Masked())
	}
	b, ok := is.(*netlink.Bridge)
	if !ok {
		return l, nil
	}
	l.snoops = b.MulticastSnooping == nil || *b.MulticastSnooping
	l.floods = !l.snoops
	others, err := netlink.LinkList()
	for _, o := range others {
		if o.Attrs().MasterIndex == l.index {
			l.ports = append(l.ports, o.Attrs().Index)
		}
	}
	return l, err
}

func (machine) port(bridge int, node netip.Addr) (int, error) {
	family := netlink.FAMILY_V6
	if node.Is4() {
		family = netlink.FAMILY_V4
	}
	neighbours, err := netlink.NeighList(bridge, family)
	if err != nil {
		return 0, fmt.Errorf("failed to read the neighbours: %w", err)
	}
	var hardware net.HardwareAddr
	for _, n := range neighbours {
		if a, _ := netip.AddrFromSlice(n.IP); a.Unmap() == node && len(n.HardwareAddr) > 0 {
			hardware = n.HardwareAddr
		}
	}
	if hardware == nil {
		return 0, nil
	}
	forwarding, err := netlink.NeighList(0, unix.AF_BRIDGE)
	if err != nil {
		return 0, fmt.Errorf("failed to read the forwarding table: %w", err)
	}
	for _, f := range forwarding {
		if f.MasterIndex == bridge && f.LinkIndex != bridge && bytes.Equal(f.HardwareAddr, hardware) {
			return f.LinkIndex, nil
		}
	}
	return 0, nil
}

func (machine) table(bridge int) (all []entry, err error) {
	q := nl.NewNetlinkRequest(unix.RTM_GETMDB, unix.NLM_F_DUMP)
	q.AddRawData(append([]byte{familyBridge, 0, 0, 0}, 0, 0, 0, 0))
	messages, err := q.Execute(unix.NETLINK_ROUTE, 0)
	if err != nil {
		return nil, err
	}
	for _, m := range messages {
		entries, err := parseTable(m, bridge)
		if err != nil {
			return nil, err
		}
		all = append(all, entries...)
	}
	return all, nil
}

func (machine) add(bridge int, e entry) error {
	// Kernels from 6.3 on start the timer again where they are told to replace; older
	// ones ignore that.
	err := set(unix.RTM_NEWMDB, unix.NLM_F_CREATE|unix.NLM_F_REPLACE, bridge, e)
	if errors.Is(err, unix.EEXIST) {
		return errThere
	}
	return err
}

func (machine) remove(bridge int, e entry) error {
	err := set(unix.RTM_DELMDB, 0, bridge, e)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) {
		return nil // it has ended meanwhile; some kernels say so by EINVAL
	}
	return err
}

func set(kind, flags, bridge int, e entry) error {
	q := nl.NewNetlinkRequest(kind, flags|unix.NLM_F_ACK)
	q.AddRawData(e.request(bridge))
	if _, err := q.Execute(unix.NETLINK_ROUTE, 0); err != nil {
		return fmt.Errorf("failed to change what port %d gets of %s: %w", e.port, e.group, err)
	}
	return nil
}

func (machine) report(index int, groups []netip.Addr) error {
	source, err := linkLocal(index)
	if err != nil {
		return fmt.Errorf("failed to report: %w", err)
	}
	fd, err := unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_ICMPV6)
	if err != nil {
		return fmt.Errorf("failed to open a socket to report: %w", err)
	}
	defer unix.Close(fd)
	err = errors.Join(
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, index),
		unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_HOPS, reportHopLimit),
		unix.SetsockoptString(fd, unix.IPPROTO_IPV6, unix.IPV6_HOPOPTS, string(routerAlert)),
		unix.Bind(fd, &unix.SockaddrInet6{Addr: source.As16(), ZoneId: uint32(index)}))
	if err != nil {
		return fmt.Errorf("failed to prepare a report: %w", err)
	}
	to := &unix.SockaddrInet6{Addr: reportTo.As16(), ZoneId: uint32(index)}
	for _, m := range reports(groups) {
		if err := unix.Sendto(fd, m, 0, to); err != nil {
			return fmt.Errorf("failed to report: %w", err)
		}
	}
	return nil
}

// linkLocal is the address that an interface reports from: routers pass over a Report
// from any other (RFC 3810 section 5.2.13).
func linkLocal(index int) (netip.Addr, error) {
	on, err := netlink.LinkByIndex(index)
	if err != nil {
		return netip.Addr{}, err
	}
	addrs, err := netlink.AddrList(on, netlink.FAMILY_V6)
	if err != nil {
		return netip.Addr{}, err
	}
	for _, a := range addrs {
		if ip, _ := netip.AddrFromSlice(a.IP); ip.IsLinkLocalUnicast() && a.Flags&unix.IFA_F_TENTATIVE == 0 {
			return ip, nil
		}
	}
	return netip.Addr{}, fmt.Errorf("%s has no link-local address", on.Attrs().Name)
}
