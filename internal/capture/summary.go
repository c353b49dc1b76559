package capture

import (
	"fmt"
	"net/netip"
	"strings"
)

// Summary counts what a capture has. Each packet, and what is in it, is counted
// where it turned out not to be a message.
type Summary struct {
	Packets        uint64
	RouterMessages uint64
	NodeMessages   uint64

	Foreign    uint64 // packets of other ports or protocols
	NotCXTP    uint64 // datagrams of the node link that are of no type or version that we know
	NotDTLS    uint64 // datagrams of the router link that are not DTLS 1.2
	Handshake  uint64 // DTLS records without application data
	Control    uint64 // SCTP packets without user data
	Keepalives uint64 // of package transport
	Repeated   uint64 // chunks that were there already
	// OtherPayload counts what SCTP carries under other payload protocol
	// identifiers than ours.
	OtherPayload uint64

	Cut            uint64 // packets whose end was not captured
	Fragments      uint64 // IP packets in parts, which are not put together
	Unreadable     uint64 // packets with headers that make no sense
	OtherLinkTypes uint64 // packets of link types that we do not know
	BadICMP        uint64 // ICMP packets of CXTP that are damaged, or have crossed a router
	BadSCTP        uint64 // SCTP packets that are damaged, and what follows in them is lost
	Incomplete     uint64 // SCTP fragments whose message is not all there

	// Sealed says which records could not be decrypted, ordered by address.
	Sealed []Sealed
}

// Sealed counts encrypted records between two addresses that were not read. The
// addresses are not valid for those of many pairs together, which were too many
// to be followed each.
type Sealed struct {
	A, B    netip.AddrPort
	Why     Reason
	Records uint64
}

// Reason says why records were not read.
type Reason int

const (
	NoKeyLog    Reason = iota + 1 // none was given
	NoHandshake                   // a hello is not in the capture
	NoSecret                      // the key log does not have it
	OtherSuite                    // a cipher suite that package transport does not take
	WrongSecret                   // none of the secrets opens it
)

func (r Reason) String() string {
	switch r {
	case NoKeyLog:
		return "no key log was given (--keylog)"
	case NoHandshake:
		return "the handshake is not in the capture, which must begin before the routers connect"
	case NoSecret:
		return "the key log does not have the connection's secret"
	case OtherSuite:
		return "the connection has a cipher suite that routers do not take"
	case WrongSecret:
		return "no secret that the key log has for these addresses fits"
	}
	return fmt.Sprintf("reason %d", int(r))
}

// addSealed counts records that belong to no pair of addresses in particular.
func (s *Summary) addSealed(more Sealed) {
	for i := range s.Sealed {
		if have := &s.Sealed[i]; have.A == more.A && have.B == more.B && have.Why == more.Why {
			have.Records += more.Records
			return
		}
	}
	s.Sealed = append(s.Sealed, more)
}

// Sentences tells the summary to people.
func (s *Summary) Sentences() []string {
	sentences := []string{fmt.Sprintf("packets: %d; messages between routers: %d, between nodes and routers: %d",
		s.Packets, s.RouterMessages, s.NodeMessages)}
	if other := counts(", ", []counted{
		{s.Foreign, "packets of other ports or protocols"},
		{s.NotCXTP, "datagrams at a node port that are not CXTP"},
		{s.NotDTLS, "datagrams at a router port that are not DTLS 1.2"},
		{s.Handshake, "DTLS records of handshakes and alerts"},
		{s.Control, "SCTP packets without data"},
		{s.Keepalives, "keepalives"},
		{s.Repeated, "SCTP chunks seen before"},
		{s.OtherPayload, "SCTP messages of other protocols"},
	}); other != "" {
		sentences = append(sentences, "no messages: "+other)
	}
	for _, sealed := range s.Sealed {
		between := "between other addresses"
		if sealed.A.IsValid() {
			between = fmt.Sprintf("between %s and %s", sealed.A, sealed.B)
		}
		sentences = append(sentences, fmt.Sprintf("encrypted records %s that are not read: %d, because %s", between, sealed.Records, sealed.Why))
	}
	if missing := counts("; ", []counted{
		{s.Cut, "packets whose end was not captured (a larger snap length captures it)"},
		{s.Fragments, "IP fragments, which are not put together"},
		{s.Unreadable, "packets with headers that make no sense"},
		{s.OtherLinkTypes, "packets of a link type that is not supported"},
		{s.BadICMP, "ICMP packets with a wrong code or checksum, or with a hop limit below 255"},
		{s.BadSCTP, "damaged SCTP packets"},
		{s.Incomplete, "SCTP fragments without the rest of their message"},
	}); missing != "" {
		sentences = append(sentences, "not read: "+missing)
	}
	return sentences
}

// counted is a number of things.
type counted struct {
	n    uint64
	what string
}

// counts lists the things of which there are any.
func counts(separator string, things []counted) string {
	var parts []string
	for _, c := range things {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%s: %d", c.what, c.n))
		}
	}
	return strings.Join(parts, separator)
}
