package route

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Address is an outer address that gateways share: one of them answers for it, on
// an interface. The others may have it on their loopback interface beforehand, so
// that sockets and SAs with it exist already.
type Address struct {
	kernel *netlink.Handle
	link   netlink.Link
	addr   *netlink.Addr
	ip     netip.Addr
}

// NewAddress prepares for an address, with the length of its subnet, on an
// interface of the network namespace that it is called in.
func NewAddress(on string, p netip.Prefix) (*Address, error) {
	kernel, err := netlink.NewHandle(unix.NETLINK_ROUTE)
	if err != nil {
		return nil, fmt.Errorf("failed to open a routing socket: %w", err)
	}
	l, err := link(kernel, on)
	if err != nil {
		kernel.Close()
		return nil, err
	}
	subnet := network(p)
	subnet.IP = p.Addr().AsSlice()
	// Without duplicate address detection: whoever had it may not have let go yet.
	return &Address{kernel: kernel, link: l, ip: p.Addr(), addr: &netlink.Addr{IPNet: subnet, Flags: unix.IFA_F_NODAD}}, nil
}

// Close closes the socket. The address stays where it is.
func (a *Address) Close() { a.kernel.Close() }

// Take puts the address on the interface and tells the neighbours.
func (a *Address) Take() error {
	if err := a.kernel.AddrReplace(a.link, a.addr); err != nil {
		return fmt.Errorf("failed to take %s: %w", a.ip, err)
	}
	return Announce(a.link.Attrs(), a.ip)
}

// Give takes the address off the interface.
func (a *Address) Give() error {
	if err := a.kernel.AddrDel(a.link, a.addr); err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
		return fmt.Errorf("failed to give %s up: %w", a.ip, err)
	}
	return nil
}
