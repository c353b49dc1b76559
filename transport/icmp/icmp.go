// Package icmp is the envelope that RFC 4067 section 3.2 puts around messages
// between a mobile node and a router: an ICMP packet of the Experimental Mobility
// type (RFC 4065 section 8), one packet a message.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+---------------+---------------+-------------------------------+
//	|     Type      |     Code      |           Checksum            |
//	+---------------+---------------+-------------------------------+
//	|   Sub-type    |                   Reserved                    |
//	+---------------+-----------------------------------------------+
//	~                  Message, with its own header                 ~
//	+---------------------------------------------------------------+
//
// The IP header around it has hop limit (or TTL) 255. Each router on the way takes
// one off, so a packet that arrives with 255 comes from the link itself, and
// whoever is farther away cannot make one. ICMP has no ports: a packet belongs to
// the address that it comes from.
//
// The sockets are in package transport.
package icmp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// Numbers of RFC 4065 sections 3, 4 and 8, and of RFC 4067 section 3.2.
const (
	TypeIPv4 = 41  // Experimental Mobility in ICMP for IPv4
	TypeIPv6 = 150 // and in ICMPv6
	Code     = 0
	Subtype  = 1 // CXTP, among the protocols of the type
	HopLimit = 255

	// ProtocolIPv4 and ProtocolIPv6 are the IP protocol numbers of ICMP itself.
	ProtocolIPv4 = 1
	ProtocolIPv6 = 58

	// HeaderSize is what precedes the message, in octets.
	HeaderSize = 8
)

// ErrForeign says that a packet is no damaged one of ours, but of another type
// of ICMP, or of another protocol of the same type, such as CARD (RFC 4066).
var ErrForeign = errors.New("not CXTP")

// Error is what makes a packet none that may be taken.
type Error struct {
	Field  string // in the words of RFC 4067 section 3.2
	Offset int    // octets from the start of the ICMP header; -1 is in the IP header
	Reason string
	Err    error // ErrForeign or nil
}

func (e *Error) Error() string {
	if e.Offset < 0 {
		return fmt.Sprintf("ICMP: %s: %s", e.Field, e.Reason)
	}
	return fmt.Sprintf("ICMP: %s at octet %d: %s", e.Field, e.Offset, e.Reason)
}

func (e *Error) Unwrap() error { return e.Err }

// Packet is an ICMP packet as it was received.
type Packet struct {
	From, To netip.Addr // of one family, and IPv4 addresses in no other form
	HopLimit uint8      // IPv4's TTL
	Octets   []byte     // from the ICMP header on
}

// typeOf is the type in the family of an address.
func typeOf(a netip.Addr) byte {
	if a.Is4() {
		return TypeIPv4
	}
	return TypeIPv6
}

// Append appends the ICMP packet of a message. In ICMPv6 the checksum covers the
// addresses. Where it is the kernel that chooses the one to send from, the kernel
// also fills in the checksum: it stays zero when from is not valid.
func Append(dst []byte, from, to netip.Addr, message []byte) []byte {
	start := len(dst)
	dst = append(dst, typeOf(to), Code, 0, 0, Subtype, 0, 0, 0)
	dst = append(dst, message...)
	if from.IsValid() || to.Is4() {
		binary.BigEndian.PutUint16(dst[start+2:], checksum(from, to, dst[start:]))
	}
	return dst
}

// Message checks a packet and returns the message in it, which aliases the
// packet's octets. Any error is an [*Error]; it is an [ErrForeign] when the packet
// is nobody's mistake. Reserved is ignored.
func (p Packet) Message() ([]byte, error) {
	fail := func(field string, offset int, err error, format string, args ...any) ([]byte, error) {
		return nil, &Error{field, offset, fmt.Sprintf(format, args...), err}
	}
	switch want := typeOf(p.To); {
	case len(p.Octets) > 0 && p.Octets[0] != want:
		return fail("Type", 0, ErrForeign, "%d, Experimental Mobility is %d here", p.Octets[0], want)
	case len(p.Octets) < HeaderSize:
		return fail("header", len(p.Octets), nil, "%d octets, it has %d", len(p.Octets), HeaderSize)
	case p.Octets[4] != Subtype:
		return fail("Sub-type", 4, ErrForeign, "%d, CXTP is %d", p.Octets[4], Subtype)
	case p.Octets[1] != Code:
		return fail("Code", 1, nil, "%d, it is %d", p.Octets[1], Code)
	case checksum(p.From, p.To, p.Octets) != 0:
		return fail("Checksum", 2, nil, "%#04x does not fit the packet", binary.BigEndian.Uint16(p.Octets[2:]))
	case p.HopLimit != HopLimit:
		return fail("Hop Limit", -1, nil, "%d, only a neighbour's packet has %d", p.HopLimit, HopLimit)
	case len(p.Octets) == HeaderSize:
		return fail("Message", HeaderSize, nil, "it is empty")
	}
	return p.Octets[HeaderSize:], nil
}

// checksum is the Internet checksum (RFC 1071): of a packet whose checksum field
// is zero, what belongs there; of a whole one, zero. ICMPv6's also covers the
// pseudo-header of RFC 8200 section 8.1.
func checksum(from, to netip.Addr, packet []byte) uint16 {
	var sum uint64
	if to.Is6() {
		source, destination := from.As16(), to.As16()
		sum = add(add(uint64(len(packet))+ProtocolIPv6, source[:]), destination[:])
	}
	for sum = add(sum, packet); sum > 0xffff; {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// add adds octets to a sum, two at a time; an odd one at the end has a zero behind it.
func add(sum uint64, octets []byte) uint64 {
	for ; len(octets) > 1; octets = octets[2:] {
		sum += uint64(octets[0])<<8 | uint64(octets[1])
	}
	if len(octets) == 1 {
		sum += uint64(octets[0]) << 8
	}
	return sum
}
