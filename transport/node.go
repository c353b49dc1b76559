package transport

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"
)

// MaxNodeMessage is the largest message to or from a mobile node, in octets: it
// fits IPv6's smallest MTU of 1,280 with the IPv6 and UDP headers, so it is
// never fragmented.
const MaxNodeMessage = 1280 - 40 - 8

// NodeConn carries messages between a router and its mobile nodes in plain UDP
// datagrams, one message each, in place of ICMP (RFC 4067 section 3.2 allows it
// for prototypes). Nothing here is authenticated or confidential: the
// messages' own authorization tokens are what protects them, and the sender's
// address proves nothing.
type NodeConn struct {
	conn *net.UDPConn
	done chan struct{}
}

// ListenNode listens on a UDP address and calls the handler for each datagram
// of 1 to MaxNodeMessage octets, one at a time; others are dropped. The message
// is the handler's to keep. IPv4 addresses are never given in their IPv6 form.
func ListenNode(addr string, handler func(from netip.AddrPort, msg []byte)) (*NodeConn, error) {
	if handler == nil {
		return nil, errors.New("failed to listen for nodes: no handler")
	}
	conn, err := listenUDP(addr)
	if err != nil {
		return nil, fmt.Errorf("failed to listen for nodes: %w", err)
	}
	n := &NodeConn{conn: conn, done: make(chan struct{})}
	go func() {
		defer close(n.done)
		readDatagrams(conn, MaxNodeMessage, func(from netip.AddrPort, datagram []byte) {
			handler(from, append([]byte(nil), datagram...))
		})
	}()
	return n, nil
}

// Send sends one message of 1 to MaxNodeMessage octets; otherwise ErrMessageSize.
// It may get lost, like any datagram.
func (n *NodeConn) Send(to netip.AddrPort, msg []byte) error {
	if len(msg) == 0 || len(msg) > MaxNodeMessage {
		return fmt.Errorf("%w: %d octets, a node takes 1 to %d", ErrMessageSize, len(msg), MaxNodeMessage)
	}
	_, err := n.conn.WriteToUDPAddrPort(msg, to)
	switch {
	case errors.Is(err, net.ErrClosed):
		return ErrClosed
	case err != nil:
		return fmt.Errorf("failed to send to node: %w", err)
	}
	return nil
}

// LocalAddr is the address that the nodes send to.
func (n *NodeConn) LocalAddr() netip.AddrPort { return localAddr(n.conn) }

// Close ends the reader and waits for a handler that is running. The handler
// must not call it.
func (n *NodeConn) Close() error {
	err := n.conn.Close()
	<-n.done
	return err
}

// readDatagrams calls take for each datagram of 1 to limit octets, until the
// socket is closed. Whatever error the network reports (an ICMP unreachable
// becomes a read error on some systems) is no reason to stop.
func readDatagrams(conn *net.UDPConn, limit int, take func(from netip.AddrPort, datagram []byte)) {
	buf := make([]byte, limit+1)
	pause := time.Duration(0)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			// An error that stays must not become a busy loop.
			time.Sleep(pause)
			pause = min(pause+time.Millisecond, 100*time.Millisecond)
			continue
		}
		pause = 0
		if n > 0 && n <= limit {
			take(unmap(from), buf[:n])
		}
	}
}
