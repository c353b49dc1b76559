package transport

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// socketBuffer is asked of the kernel for each direction, in octets; it may
// give less.
const socketBuffer = 4 << 20

// listenUDP opens a UDP socket and says what to do when it cannot.
func listenUDP(addr string) (*net.UDPConn, error) {
	udpAddr, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		return nil, fmt.Errorf("%q is no UDP address such as 0.0.0.0:5091: %w", addr, err)
	}
	conn, err := net.ListenUDP("udp", udpAddr)
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return nil, fmt.Errorf("another program has UDP %s: stop it or choose another port: %w", addr, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return nil, fmt.Errorf("this host does not have the address of %s: add it or listen on another: %w", addr, err)
	case errors.Is(err, syscall.EACCES):
		return nil, fmt.Errorf("not allowed to listen on UDP %s: use a port above 1023 or grant the right: %w", addr, err)
	case err != nil:
		return nil, err
	}
	// A smaller buffer than asked for costs speed, not correctness.
	_ = conn.SetReadBuffer(socketBuffer)
	_ = conn.SetWriteBuffer(socketBuffer)
	return conn, nil
}

func localAddr(conn *net.UDPConn) netip.AddrPort {
	return unmap(conn.LocalAddr().(*net.UDPAddr).AddrPort())
}

// unmap gives an IPv4 address that came in its IPv6 form back as IPv4, so that
// one remote has one name.
func unmap(addr netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}
