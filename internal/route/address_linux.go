package route

import (
	"errors"
	"fmt"
	"net/netip"
	"os"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Addresses are outer addresses that gateways share. Each of the gateways has them
// on its loopback interface, so that SAs and sockets with them work there. One of
// the gateways, the holder, also has such an address on the interface towards the
// nodes, and answers those who ask where it is.
type Addresses struct {
	kernel *netlink.Handle
	link   netlink.Link
	shared []netip.Addr
}

// NewAddresses puts shared addresses on the loopback interface, and sees to it
// that on the interface named nobody is told of them for that. It changes nothing
// about who holds them.
func NewAddresses(on string, shared []netip.Addr) (*Addresses, error) {
	kernel, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("failed to open a routing socket: %w", err)
	}
	a := &Addresses{kernel: kernel, shared: shared}
	if a.link, err = link(kernel, on); err == nil {
		err = errors.Join(tellNobody(on), a.prepare())
	}
	if err != nil {
		kernel.Close()
		return nil, err
	}
	return a, nil
}

// tellNobody keeps ARP on an interface to the addresses that this interface has:
// in answers, and in questions, from which others learn as well. IPv6 does so by
// itself. And an address that is taken off takes no other one of its subnet along.
func tellNobody(name string) error {
	for key, value := range map[string]string{"arp_ignore": "1", "arp_announce": "2", "promote_secondaries": "1"} {
		if err := os.WriteFile("/proc/sys/net/ipv4/conf/"+name+"/"+key, []byte(value+"\n"), 0); err != nil {
			return fmt.Errorf("failed to set how %s answers for addresses: %w", name, err)
		}
	}
	return nil
}

func (a *Addresses) prepare() error {
	loopback, err := link(a.kernel, "lo")
	if err != nil {
		return err
	}
	for _, ip := range a.shared {
		if err := a.kernel.AddrReplace(loopback, single(ip)); err != nil {
			return fmt.Errorf("failed to put %s on the loopback interface: %w", ip, err)
		}
	}
	return nil
}

// single is an address that is on nobody else's subnet and that nothing chooses
// as its source by itself. Duplicates are not looked for: whoever had it may not
// have let go yet.
func single(ip netip.Addr) *netlink.Addr {
	one := &netlink.Addr{IPNet: network(netip.PrefixFrom(ip, ip.BitLen()))}
	if ip.Is6() {
		const forever = 1<<32 - 1 // seconds (RFC 4861 section 4.6.2); 0 of them preferred
		one.Flags, one.ValidLft = unix.IFA_F_NODAD, forever
	}
	return one
}

// Close closes the socket. The addresses stay where they are.
func (a *Addresses) Close() { a.kernel.Close() }

// Shared reports whether an address is one of them.
func (a *Addresses) Shared(ip netip.Addr) bool { return slices.Contains(a.shared, ip) }

// All lists the addresses.
func (a *Addresses) All() []netip.Addr { return a.shared }

// Holds reports whether this gateway is the holder of an address.
func (a *Addresses) Holds(ip netip.Addr) (bool, error) {
	found, err := a.outside(ip)
	return len(found) > 0, err
}

// outside lists an address as the interface has it: with any length of subnet.
func (a *Addresses) outside(ip netip.Addr) ([]netlink.Addr, error) {
	all, err := a.kernel.AddrList(a.link, family(ip))
	if err != nil {
		return nil, fmt.Errorf("failed to read the addresses of %s: %w", a.link.Attrs().Name, err)
	}
	return slices.DeleteFunc(all, func(one netlink.Addr) bool { return !one.IP.Equal(ip.AsSlice()) }), nil
}

// Take makes this gateway the holder of an address and tells the neighbours.
func (a *Addresses) Take(ip netip.Addr) error {
	held, err := a.Holds(ip)
	if err != nil {
		return err
	}
	if !held {
		if err := a.kernel.AddrReplace(a.link, single(ip)); err != nil {
			return fmt.Errorf("failed to take %s: %w", ip, err)
		}
	}
	return a.Announce(ip)
}

// Announce tells the neighbours once more: an announcement may get lost.
func (a *Addresses) Announce(ip netip.Addr) error { return Announce(a.link.Attrs(), ip) }

// Give makes this gateway the holder of an address no more. What still arrives for
// it is taken.
func (a *Addresses) Give(ip netip.Addr) error {
	held, err := a.outside(ip)
	if err != nil {
		return err
	}
	for i := range held {
		if err := a.kernel.AddrDel(a.link, &held[i]); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			return fmt.Errorf("failed to give %s up: %w", ip, err)
		}
	}
	return nil
}
