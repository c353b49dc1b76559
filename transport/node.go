package transport

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cxtp/cxtp/transport/icmp"
)

// MaxNodeMessage is the largest message to or from a mobile node, in octets: it
// fits IPv6's smallest MTU of 1,280 with the header of IPv6, and that of UDP or
// ICMP, so it is one packet and never fragmented.
const MaxNodeMessage = 1280 - 40 - icmp.HeaderSize

// NodeConfig says how a router and its mobile nodes reach each other.
type NodeConfig struct {
	// Listen is the UDP address; empty for none.
	Listen string
	// ICMP is whether messages also come and go by ICMP (RFC 4067 section 3.2), at
	// every address of this host. It takes CAP_NET_RAW, or root.
	ICMP bool
	// Handler takes each message of 1 to MaxNodeMessage octets; others are dropped.
	// It is called for one message at a time by UDP, by ICMP and by ICMPv6, each.
	Handler func(NodeMessage)
}

// NodeMessage is a message from a node.
type NodeMessage struct {
	From   netip.AddrPort // IPv4 addresses never in their IPv6 form; by ICMP, port 0
	At     netip.Addr     // the address of ours that it was sent to; not valid by UDP that listens at one, or where the system does not tell
	Octets []byte         // the handler's to keep
}

// NodeConn carries messages between a router and its mobile nodes, each in one
// packet, an ICMP packet or a UDP datagram. An endpoint with port 0 is one that is
// reached by ICMP. Nothing here is authenticated or confidential: the messages'
// own authorization tokens are what protects them, and the sender's address proves
// nothing but, by ICMP, that it is on the link.
type NodeConn struct {
	udp       *udpSocket           // nil = none
	raw       map[string]rawSocket // by family; empty = no ICMP
	handler   func(NodeMessage)
	readers   sync.WaitGroup
	discarded atomic.Uint64
}

// ListenNodes opens the sockets that a configuration asks for, and calls its
// handler for what comes.
func ListenNodes(c NodeConfig) (*NodeConn, error) {
	if c.Handler == nil {
		return nil, errors.New("failed to open the node link: no handler")
	}
	n := &NodeConn{handler: c.Handler}
	var err error
	if c.Listen != "" {
		n.udp, err = listenUDP(c.Listen)
	}
	if err == nil && c.ICMP {
		n.raw, err = listenRaw()
	}
	if err != nil {
		n.closeSockets()
		return nil, fmt.Errorf("failed to open the node link: %w", err)
	}
	n.start()
	return n, nil
}

// ListenNode is ListenNodes for UDP alone.
func ListenNode(addr string, handler func(from netip.AddrPort, msg []byte)) (*NodeConn, error) {
	c := NodeConfig{Listen: addr}
	if handler != nil {
		c.Handler = func(m NodeMessage) { handler(m.From, m.Octets) }
	}
	return ListenNodes(c)
}

// start starts a reader for each socket.
func (n *NodeConn) start() {
	if n.udp != nil {
		n.readers.Go(func() {
			n.udp.readDatagrams(MaxNodeMessage, func(from netip.AddrPort, by arrival, datagram []byte) {
				n.handler(NodeMessage{from, by.destination(), append([]byte(nil), datagram...)})
			})
		})
	}
	for _, s := range n.raw {
		n.readers.Go(func() { n.readPackets(s) })
	}
}

// Send sends one message of 1 to MaxNodeMessage octets; otherwise ErrMessageSize.
// It may get lost, like any packet.
func (n *NodeConn) Send(to netip.AddrPort, msg []byte) error {
	return n.SendFrom(netip.Addr{}, to, msg)
}

// SendFrom is Send from an address of ours, which is what a node that asked there
// takes for an answer. From one that is not valid, and by UDP from one that is not
// ours any more, the system chooses.
func (n *NodeConn) SendFrom(from netip.Addr, to netip.AddrPort, msg []byte) error {
	if len(msg) == 0 || len(msg) > MaxNodeMessage {
		return fmt.Errorf("%w: %d octets, a node takes 1 to %d", ErrMessageSize, len(msg), MaxNodeMessage)
	}
	var err error
	switch {
	case to.Port() == 0:
		err = n.sendPacket(from, to.Addr(), msg)
	case n.udp == nil:
		err = errors.New("there is no UDP socket")
	default:
		err = n.udp.send(source(from), to, msg)
	}
	switch {
	case errors.Is(err, net.ErrClosed):
		return ErrClosed
	case err != nil:
		return fmt.Errorf("failed to send to node: %w", err)
	}
	return nil
}

// LocalAddr is the UDP address that is listened on; not valid without.
func (n *NodeConn) LocalAddr() netip.AddrPort {
	if n.udp == nil {
		return netip.AddrPort{}
	}
	return n.udp.localAddr()
}

// DiscardedICMP counts the ICMP packets that were dropped: with a wrong checksum,
// not from the link, too large. Where the kernel drops what is not from the link,
// that is not counted.
func (n *NodeConn) DiscardedICMP() uint64 { return n.discarded.Load() }

// Close ends the readers and waits for handlers that are running, which must not
// call it.
func (n *NodeConn) Close() error {
	err := n.closeSockets()
	n.readers.Wait()
	return err
}

func (n *NodeConn) closeSockets() error {
	var all []error
	if n.udp != nil {
		all = append(all, n.udp.Close())
	}
	for _, s := range n.raw {
		all = append(all, s.Close())
	}
	return errors.Join(all...)
}

// untilClosed reads until the socket is closed. Whatever other error the network
// reports (an ICMP unreachable becomes a read error on some systems) is no reason
// to stop.
func untilClosed(read func() error) {
	pause := time.Duration(0)
	for {
		switch err := read(); {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			// An error that stays must not become a busy loop.
			time.Sleep(pause)
			pause = min(pause+time.Millisecond, 100*time.Millisecond)
		default:
			pause = 0
		}
	}
}
