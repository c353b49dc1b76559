//go:build linux

package topology

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Tunnel is a network interface whose packets a program handles: what the
// kernel routes to it is read, bare IP packets one by one, and what is written
// arrives from it. As a gateway in user space it is the wire to the protected
// side.
type Tunnel struct{ *os.File }

// nowhere is who a tunnel's packets come from.
var nowhere = netip.AddrPortFrom(netip.IPv4Unspecified(), 1)

// NextHop is the address to write packets to, for who wants one.
func (t Tunnel) NextHop() netip.AddrPort { return nowhere }

// ReadFromUDPAddrPort reads a packet.
func (t Tunnel) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	n, err := t.Read(b)
	return n, nowhere, err
}

// WriteToUDPAddrPort writes a packet; the address does not matter.
func (t Tunnel) WriteToUDPAddrPort(b []byte, _ netip.AddrPort) (int, error) { return t.Write(b) }

// Tunnel makes such an interface, which goes when it is closed, and routes the
// addresses to it.
func (n *Node) Tunnel(name string, addresses ...netip.Addr) (Tunnel, error) {
	var fd int
	err := n.Do(func() (err error) {
		// Opened here: the interface comes to the namespace of the caller.
		if fd, err = unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0); err != nil {
			return err
		}
		request, err := unix.NewIfreq(name)
		if err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		request.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, request); err != nil {
			return errors.Join(err, unix.Close(fd))
		}
		return nil
	})
	if err != nil {
		return Tunnel{}, fmt.Errorf("failed to make the tunnel %s of %s: %w", name, n.Name, err)
	}
	tunnel := Tunnel{os.NewFile(uintptr(fd), "/dev/net/tun")}
	if err := n.routeTo(name, addresses); err != nil {
		return Tunnel{}, errors.Join(err, tunnel.Close())
	}
	return tunnel, nil
}

// routeTo starts an interface and sends what is for the addresses there.
func (n *Node) routeTo(name string, addresses []netip.Addr) error {
	if err := n.up(name); err != nil {
		return err
	}
	link, err := n.links.LinkByName(name)
	if err != nil {
		return err
	}
	for _, a := range addresses {
		route := &netlink.Route{LinkIndex: link.Attrs().Index, Dst: ipNet(netip.PrefixFrom(a, a.BitLen()))}
		if err := n.links.RouteReplace(route); err != nil {
			return fmt.Errorf("failed to route %v to %s in %s: %w", a, name, n.Name, err)
		}
	}
	return nil
}
