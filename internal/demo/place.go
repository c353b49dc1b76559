package demo

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"github.com/cxtp/cxtp/ipsecctx/soft"
)

// place is where everything is: addresses by family, UDP sockets and ports.
type place struct {
	loopback netip.Addr
	routers  [2]netip.Addr  // what CXTP messages call the gateways
	previous netip.Addr     // and the node in its first session
	node     netip.AddrPort // inner endpoints: the node's in its first session
	nodes    netip.Prefix   // and where those of all sessions are
	host     netip.AddrPort
	behind   netip.Prefix // what lies behind the gateways
	port     int          // the next fixed port; 0 = any
}

// nth is the address that comes n after a.
func nth(a netip.Addr, n int) netip.Addr {
	for range n {
		a = a.Next()
	}
	return a
}

// gatewayPorts and ownPorts are how many UDP sockets a gateway has, and this
// process.
const (
	gatewayPorts = 4         // transport, node, outside, inside
	ownPorts     = 6 + 2 + 3 // the tap's face and sides, the node's ESP and agent, the host; two wires
)

func newPlace(ipv6 bool, port int) *place {
	a := netip.MustParseAddr
	if ipv6 {
		return &place{
			loopback: netip.IPv6Loopback(),
			routers:  [2]netip.Addr{a("2001:db8::1"), a("2001:db8::2")}, previous: a("2001:db8::100"),
			node:   netip.MustParseAddrPort("[2001:db8:10::100]:5000"),
			nodes:  netip.MustParsePrefix("2001:db8:10::/64"),
			host:   netip.MustParseAddrPort("[2001:db8:20::1]:7000"),
			behind: netip.MustParsePrefix("2001:db8:20::/64"), port: port,
		}
	}
	return &place{
		loopback: a("127.0.0.1"),
		routers:  [2]netip.Addr{a("192.0.2.1"), a("192.0.2.2")}, previous: a("192.0.2.100"),
		node:   netip.MustParseAddrPort("198.51.100.100:5000"),
		nodes:  netip.MustParsePrefix("198.51.100.0/24"),
		host:   netip.MustParseAddrPort("203.0.113.1:7000"),
		behind: netip.MustParsePrefix("203.0.113.0/24"), port: port,
	}
}

// socketBuffer is asked for in octets: a busy machine may keep a reader waiting,
// and what a full buffer drops would look like a broken promise.
const socketBuffer = 4 << 20

// listen opens the next UDP socket.
func (p *place) listen() (*net.UDPConn, error) {
	conn, err := listenAt(netip.AddrPortFrom(p.loopback, uint16(p.port)))
	if err == nil && p.port != 0 {
		p.port++
	}
	return conn, err
}

// listenAt opens a UDP socket at an endpoint.
func listenAt(at netip.AddrPort) (*net.UDPConn, error) {
	conn, err := soft.ListenUDP(at)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("UDP port %d of %s is taken: choose another --port (%d ports upwards of it are used), or leave it out to have free ones found", at.Port(), at.Addr(), Ports)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("this machine has no address %s: switch that family on for the loopback interface, or try the other one with or without --ipv6", at.Addr())
	case err != nil:
		return nil, err
	}
	conn.SetReadBuffer(socketBuffer) // as much of it as the system allows
	return conn, nil
}

// reserve finds endpoints for sockets that somebody else will open. Each is open
// until release, so that none is given twice.
type reserved struct{ conns []*net.UDPConn }

func (r *reserved) endpoint(p *place) (netip.AddrPort, error) {
	conn, err := p.listen()
	if err != nil {
		return netip.AddrPort{}, err
	}
	r.conns = append(r.conns, conn)
	return localAddr(conn), nil
}

func (r *reserved) release() {
	for _, c := range r.conns {
		c.Close()
	}
	r.conns = nil
}
