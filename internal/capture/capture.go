// Package capture finds the CXTP messages in a packet capture.
//
// A capture is read once, from its beginning to its end, and may be larger than
// memory, or not have ended yet:
//
//	pcap or pcapng file
//	packet: link layer, VLAN tags, IPv4 or IPv6, UDP, ICMP or SCTP
//	   node link:    one message a datagram, or an ICMP packet
//	   router link:  DTLS 1.2 record, SCTP packet, chunks, message
//	   the same, with the kernel's SCTP: SCTP packet, chunks, message
//
// The ports decide which link a datagram belongs to, and the sub-type of the
// Experimental Mobility type what is ours of ICMP. SCTP straight over IP has no
// protection of its own: it is read where IPsec does not hide it. What else travels
// between routers is encrypted, and is read with the key log that a router writes where
// its configuration asks for one (transport.insecure_key_log): it has the master
// secret of each connection, by the random of the ClientHello. The rest of what
// the keys come from, the server's random and the cipher suite, is in the
// handshake, which therefore has to be in the capture too.
//
// Two routers may have several connections at a time between one pair of
// addresses: they dial each other, or one restarts and comes back from the same
// port. Nothing in an encrypted record tells them apart, so it is tried with the
// keys of each, the newest first; AES-GCM knows which is right.
//
// SCTP repeats what is lost, and a capture taken on several interfaces has
// packets twice. A message between routers is reported once, when its last
// fragment is there. A datagram of the node link is reported each time: a node
// repeats its requests.
//
// # Bounds
//
// What is kept does not grow with the capture. Of what lies between two packets,
// 4 MiB are read, which also bounds a packet; 512 pairs of addresses are
// followed, with 4 handshakes, 4 connections and 4 associations each; fragments that wait for
// the rest of their messages have 8 MiB. The key log is held as a whole.
package capture

import (
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/transport/icmp"
)

// The ports of the reference configuration.
const (
	DefaultRouterPort = 5091 // RFC 4065 assigns it, for SCTP
	DefaultNodePort   = 5092
)

// Link is the kind of parties that a message travels between.
type Link int

const (
	// Node is between a mobile node and a router.
	Node Link = iota + 1
	// Router is between two routers.
	Router
)

func (l Link) String() string {
	switch l {
	case Node:
		return "node"
	case Router:
		return "router"
	}
	return fmt.Sprintf("link %d", int(l))
}

// Message is a CXTP message and how it was sent.
type Message struct {
	Packet   uint64         // the number, from 1, of the packet that completed it
	Time     time.Time      // of that packet; zero if the capture has no times
	From, To netip.AddrPort // with port 0: by ICMP
	Link     Link
	// Octets are what should be a CXTP message, and may be damaged. They are
	// overwritten when the function that takes the message has returned, because
	// they may contain keys.
	Octets []byte
}

// Options say where messages are.
type Options struct {
	// RouterPorts and NodePorts are the UDP ports of the two links, at either
	// end of it, and RouterPorts those of SCTP too. A port should not be in both.
	RouterPorts, NodePorts []uint16
	// KeyLog has the secrets of connections between routers; nil: none are known.
	KeyLog *KeyLog
}

// Read calls take for each message of a capture, in the order in which they are
// complete. The error is take's, or says why the capture cannot be read, or not
// to its end; the summary, which is never nil, is of what was read.
func Read(r io.Reader, options Options, take func(Message) error) (*Summary, error) {
	d := newDecoder(options, take)
	src, err := open(r)
	if err != nil {
		return d.finish(), err
	}
	for {
		f, err := src.next()
		switch {
		case errors.Is(err, io.EOF):
			return d.finish(), nil
		case err != nil:
			return d.finish(), fmt.Errorf("failed to read the capture after packet %d: %w", d.summary.Packets, err)
		}
		if err := d.frame(f); err != nil {
			return d.finish(), err
		}
	}
}

// decoder is the state of one Read.
type decoder struct {
	options Options
	take    func(Message) error
	summary *Summary

	dissector *dissector
	routes    *routes
}

func newDecoder(options Options, take func(Message) error) *decoder {
	summary := &Summary{}
	return &decoder{
		options:   options,
		take:      take,
		summary:   summary,
		dissector: newDissector(),
		routes:    newRoutes(options.KeyLog, summary),
	}
}

// frame takes one packet of the capture.
func (d *decoder) frame(f frame) error {
	d.summary.Packets++
	g, what := d.dissector.datagram(f)
	switch what {
	case isDatagram:
		return d.datagram(f, g)
	case isICMP:
		return d.icmp(f, g)
	case isSCTP:
		return d.straight(f, g)
	case isForeign:
		d.summary.Foreign++
	case isFragment:
		d.summary.Fragments++
	case isCut:
		d.summary.Cut++
	case isUnreadable:
		d.summary.Unreadable++
	case isOtherLinkType:
		d.summary.OtherLinkTypes++
	}
	return nil
}

func (d *decoder) datagram(f frame, g datagram) error {
	switch link := d.link(g); {
	case link == 0:
		d.summary.Foreign++
	case g.cut:
		d.summary.Cut++
	case link == Node:
		return d.node(f, g)
	default:
		return d.router(f, g)
	}
	return nil
}

// link is what a datagram's ports say, or zero.
func (d *decoder) link(g datagram) Link {
	has := func(ports []uint16) bool {
		return slices.Contains(ports, g.from.Port()) || slices.Contains(ports, g.to.Port())
	}
	switch {
	case has(d.options.RouterPorts):
		return Router
	case has(d.options.NodePorts):
		return Node
	}
	return 0
}

// icmp takes an ICMP packet. One that nobody on a link would take is none of the
// node link's.
func (d *decoder) icmp(f frame, g datagram) error {
	var err error
	packet := icmp.Packet{From: g.from.Addr(), To: g.to.Addr(), HopLimit: g.hops, Octets: g.octets}
	g.octets, err = packet.Message()
	switch {
	case errors.Is(err, icmp.ErrForeign):
		d.summary.Foreign++
	case g.cut:
		d.summary.Cut++
	case err != nil:
		d.summary.BadICMP++
	default:
		return d.node(f, g)
	}
	return nil
}

// node takes a datagram of the node link.
func (d *decoder) node(f frame, g datagram) error {
	_, err := cxtp.Decode(g.octets)
	if len(g.octets) == 0 || errors.Is(err, cxtp.ErrVersion) || errors.Is(err, cxtp.ErrUnknownType) {
		d.summary.NotCXTP++
		return nil
	}
	return d.message(f, g, Node, g.octets)
}

func (d *decoder) message(f frame, g datagram, link Link, octets []byte) error {
	if link == Node {
		d.summary.NodeMessages++
	} else {
		d.summary.RouterMessages++
	}
	err := d.take(Message{Packet: d.summary.Packets, Time: f.time, From: g.from, To: g.to, Link: link, Octets: octets})
	clear(octets)
	return err
}

// finish completes the summary.
func (d *decoder) finish() *Summary {
	d.routes.finish()
	return d.summary
}
