package transport

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// socketBuffer is asked of the kernel for each direction, in octets; it may
// give less.
const socketBuffer = 4 << 20

// udpSocket is a UDP socket. At a wildcard it tells at which address of ours each
// datagram came, and sends from a given one: who asks at one address does not know
// an answer from another, which the system might choose.
type udpSocket struct {
	*net.UDPConn
	controls []byte // room for the control messages of a datagram; empty = at one address
}

// listenUDP opens a UDP socket and says what to do when it cannot.
func listenUDP(addr string) (*udpSocket, error) {
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
	s := &udpSocket{UDPConn: conn}
	s.askDestinations()
	return s, nil
}

// askDestinations asks the system for the address of ours that a datagram came to.
// Where it cannot tell, it goes on choosing the one that an answer leaves from.
func (s *udpSocket) askDestinations() {
	const of4, of6 = ipv4.FlagDst, ipv6.FlagDst | ipv6.FlagInterface
	at := s.localAddr().Addr()
	switch {
	case !at.IsUnspecified():
	case at.Is4():
		if ipv4.NewPacketConn(s.UDPConn).SetControlMessage(of4, true) == nil {
			s.controls = ipv4.NewControlMessage(of4)
		}
	default: // of IPv4, too: the address is in its IPv6 form then
		if ipv6.NewPacketConn(s.UDPConn).SetControlMessage(of6, true) == nil {
			s.controls = ipv6.NewControlMessage(of6)
		}
	}
}

// arrival is what the system says of a datagram that has come, until the next one is
// read: its control messages.
type arrival []byte

// readDatagrams calls take for each datagram of 1 to limit octets, until the socket
// is closed.
func (s *udpSocket) readDatagrams(limit int, take func(from netip.AddrPort, by arrival, datagram []byte)) {
	buf := make([]byte, limit+1)
	untilClosed(func() error {
		n, controls, _, from, err := s.ReadMsgUDPAddrPort(buf, s.controls)
		if err == nil && n > 0 && n <= limit {
			take(unmap(from), s.controls[:controls], buf[:n])
		}
		return err
	})
}

// destination is the address of ours that the datagram came to. It is not valid where
// the socket has one address only, where the system does not tell, and where an answer
// cannot leave from it.
func (a arrival) destination() netip.Addr {
	var of4 ipv4.ControlMessage
	var of6 ipv6.ControlMessage
	if len(a) == 0 || of4.Parse(a) != nil || of6.Parse(a) != nil {
		return netip.Addr{}
	}
	at := addrOf(of4.Dst)
	if !at.IsValid() {
		at = zoned(addrOf(of6.Dst), of6.IfIndex)
	}
	if at.IsMulticast() {
		return netip.Addr{}
	}
	return at
}

// source are the control messages that have a datagram leave from an address of
// ours; none = the system chooses, as for an address that is not valid.
func source(from netip.Addr) []byte {
	if from.Is4() {
		return (&ipv4.ControlMessage{Src: from.AsSlice()}).Marshal()
	}
	cm, err := source6(from)
	if err != nil {
		return nil
	}
	return cm.Marshal()
}

// send sends a datagram from a source. Where that is no address of ours any more,
// the system chooses.
func (s *udpSocket) send(source []byte, to netip.AddrPort, datagram []byte) error {
	if len(source) > 0 {
		_, _, err := s.WriteMsgUDPAddrPort(datagram, source, to)
		if err == nil || errors.Is(err, net.ErrClosed) {
			return err
		}
	}
	_, err := s.WriteToUDPAddrPort(datagram, to)
	return err
}

func (s *udpSocket) localAddr() netip.AddrPort {
	return unmap(s.LocalAddr().(*net.UDPAddr).AddrPort())
}

// unmap gives an IPv4 address that came in its IPv6 form back as IPv4, so that
// one remote has one name.
func unmap(addr netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}
