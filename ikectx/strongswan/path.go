package strongswan

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// path carries IKE messages between a client and this gateway's IKE port. charon
// has that port, so a path lies below UDP: it makes datagrams that come from the
// port, and reads copies of those that come for it. Of its own the copies take
// nothing from charon, which sees every message too, and ignores a response to what
// it has not asked.
type path struct {
	*net.IPConn
	local, remote netip.AddrPort
	buffer        []byte
}

// udpHeader is the length of a UDP header in octets, and at checksumAt is its
// checksum.
const (
	udpHeader  = 8
	checksumAt = 6
)

// openPath opens the path between two endpoints. It takes the right to open raw
// sockets.
func openPath(local, remote netip.AddrPort) (*path, error) {
	network := "ip4:udp"
	if remote.Addr().Is6() {
		network = "ip6:udp"
	}
	conn, err := net.DialIP(network, &net.IPAddr{IP: local.Addr().AsSlice()}, &net.IPAddr{IP: remote.Addr().AsSlice()})
	if err == nil && remote.Addr().Is6() {
		err = sumUp(conn)
	}
	switch {
	case errors.Is(err, unix.EPERM):
		return nil, fmt.Errorf("only a process with CAP_NET_RAW may tell %s of its gateway, give it to the daemon: %w", remote, err)
	case err != nil:
		return nil, fmt.Errorf("failed to reach %s from %s: %w", remote, local, err)
	}
	return &path{IPConn: conn, local: local, remote: remote, buffer: make([]byte, 1<<16)}, nil
}

// sumUp has the kernel write the checksums that IPv6 wants. In IPv4 there need not
// be any.
func sumUp(conn *net.IPConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var set error
	err = raw.Control(func(fd uintptr) {
		set = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_CHECKSUM, checksumAt)
	})
	return errors.Join(err, set)
}

// Write sends a message.
func (p *path) Write(message []byte) (int, error) {
	if _, err := p.IPConn.Write(p.datagram(message)); err != nil && !errors.Is(err, syscall.ECONNREFUSED) {
		return 0, err
	}
	return len(message), nil
}

// datagram is the UDP datagram of a message.
func (p *path) datagram(message []byte) []byte {
	b := binary.BigEndian.AppendUint16(nil, p.local.Port())
	b = binary.BigEndian.AppendUint16(b, p.remote.Port())
	b = binary.BigEndian.AppendUint16(b, uint16(udpHeader+len(p.marker())+len(message)))
	b = append(b, 0, 0) // the checksum
	return slices.Concat(b, p.marker(), message)
}

// Read reads the next message.
func (p *path) Read(message []byte) (int, error) {
	for {
		n, _, err := p.ReadFromIP(p.buffer)
		if errors.Is(err, syscall.ECONNREFUSED) {
			continue // of something that was sent; the client may be there a moment later
		}
		if err != nil {
			return 0, err
		}
		if m, ok := p.message(p.buffer[:n]); ok {
			return copy(message, m), nil
		}
	}
}

// marker is what tells IKE messages from ESP where they share a port (RFC 3948
// section 2.2).
func (p *path) marker() []byte {
	const ikePort = 500
	if p.local.Port() == ikePort {
		return nil
	}
	return make([]byte, 4)
}

// message is the IKE message in a UDP datagram, if it is of this path and has one.
func (p *path) message(datagram []byte) ([]byte, bool) {
	marker := p.marker()
	if len(datagram) < udpHeader+len(marker) ||
		binary.BigEndian.Uint16(datagram) != p.remote.Port() || binary.BigEndian.Uint16(datagram[2:]) != p.local.Port() {
		return nil, false
	}
	content := datagram[udpHeader:]
	for _, b := range content[:len(marker)] {
		if b != 0 {
			return nil, false // ESP
		}
	}
	return content[len(marker):], true
}
