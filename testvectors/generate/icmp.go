package main

import (
	"encoding/binary"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/cxtp/cxtp/testvectors"
)

// Rows of the envelope, beside those that chapters have: what every packet shows.
var (
	envelopeRows = []string{"rfc4067-3.2-5", "rfc4067-3.2-6", "rfc4067-3.2-7", "rfc4067-3.2-8", "rfc4067-3.2-9", "rfc4067-3.2-10", "rfc4067-3.2-14",
		"rfc4065-8-1", "rfc4065-8-2", "rfc4065-8-4", "rfc4065-8-6"}
	typeRow     = map[string]string{"IPv4": "rfc4065-3-1", "IPv6": "rfc4065-4-1"}
	checksumRow = "rfc4065-8-3"
)

// packets are the vectors of the ICMP packet around a message of a node.
func packets() []testvectors.Vector {
	c := chapter{kind: "ICMP packet", section: "3.2"}
	request := message{Message: testvectors.Message{Type: "CTAR", Ack: true, Previous: node4, Router: other4, Sequence: 0x01020304, Token: "deadbeef"}}
	answer := message{Message: testvectors.Message{Type: "CTAA", Previous: node4}}
	request6, answer6 := request, answer
	request6.Previous, request6.Router, answer6.Previous = node6, other6, node6
	four, six := envelope(node4, router4, "", request), envelope(node6, router6, "", request6)

	c.packet("IPv4, a CTAR", four)
	c.packet("IPv4, a CTAA", envelope(router4, node4, "", answer))
	c.packet("IPv6, a CTAR", six)
	c.packet("IPv6, a CTAA", envelope(router6, node6, "", answer6))
	c.packet("IPv6, link-local addresses", envelope("fe80::10", "fe80::1", "", request6))
	c.packet("IPv4, an IP header with a router alert option", envelope(node4, router4, "94040000", request))
	for _, w := range []wire{four, six} {
		odd := w.with("Reserved", 0xff, 0xff, 0x01)
		c.packet(odd.family()+", reserved bits set: they are ignored", odd, "rfc4067-3.2-11", "rfc4065-8-5")
	}
	for _, w := range []wire{four, six} {
		c.spoilPacket(w)
	}
	noPseudo := four.clone()
	noPseudo.set("Checksum", noPseudo.checksum(pseudo(four), sent)...)
	c.refused("IPv4, a checksum with a pseudo-header, which ICMP for IPv4 has not", noPseudo, "Checksum", checksumRow)
	noPseudo = six.clone()
	noPseudo.set("Checksum", noPseudo.checksum(nil, sent)...)
	c.refused("IPv6, a checksum without the pseudo-header", noPseudo, "Checksum", checksumRow)
	return c.vectors
}

// spoilPacket adds what is wrong with a packet of either family.
func (c *chapter) spoilPacket(w wire) {
	family := w.family()
	c.refused(family+", an echo request", w.with("Type", map[string]byte{"IPv4": 8, "IPv6": 128}[family]), "Type", "rfc4067-3.2-6", typeRow[family])
	c.refused(family+", the type of the other family", w.with("Type", w.octet("Type")^41^150), "Type", "rfc4067-3.2-6", typeRow[family])
	c.refused(family+", sub-type 0: CARD", w.with("Sub-type", 0), "Sub-type", "rfc4067-3.2-8", "rfc4065-8-7")
	c.refused(family+", a sub-type that nothing has", w.with("Sub-type", 2), "Sub-type", "rfc4067-3.2-8")
	c.refused(family+", code 1", w.with("Code", 1), "Code", "rfc4067-3.2-7", "rfc4065-8-2")
	c.refused(family+", hop limit 254: not from the link", w.with("Hop Limit", 254), "Hop Limit", "rfc4067-3.2-14")
	wrong := w.clone()
	wrong.set("Checksum", wrong.octet("Checksum"), wrong[wrong.index("Checksum")].octets[1]^1)
	c.refused(family+", one bit of the checksum is wrong", wrong, "Checksum", "rfc4067-3.2-9", checksumRow)
	none := w.clone()
	none.set("Checksum", 0, 0)
	c.refused(family+", no checksum", none, "Checksum", "rfc4067-3.2-9", checksumRow)
	short := w[:w.index("Reserved")].clone()
	short.sum()
	c.refused(family+", the header breaks off", short, "header", "rfc4067-3.2-5")
	empty := w[:w.index("Message")].clone()
	empty.sum()
	c.refused(family+", no message", empty, "Message", "rfc4067-3.2-5")
}

// packet adds a packet whose message is taken.
func (c *chapter) packet(name string, w wire, rows ...string) {
	family := w.family()
	rows = append(slices.Concat(envelopeRows, []string{typeRow[family]}), rows...)
	if family == "IPv6" {
		rows = append(rows, checksumRow)
	}
	fields := w.shown()
	maps.DeleteFunc(fields, func(_, value string) bool { return value == "" })
	v := testvectors.Vector{Name: name, Section: "RFC 4067 section 3.2", Rows: unique(rows), Type: c.kind,
		Hex: w.digits(sent), Valid: true, Fields: fields, Answer: "its message is taken"}
	if canonical := w.digits(clean); canonical != v.Hex {
		v.Canonical = canonical
	}
	c.vectors = append(c.vectors, v)
}

// refused adds a packet whose message is not taken, and the field that is to blame.
func (c *chapter) refused(name string, w wire, blame string, rows ...string) {
	c.vectors = append(c.vectors, testvectors.Vector{
		Name: name, Section: "RFC 4067 section 3.2", Rows: rows, Type: c.kind, Hex: w.digits(sent),
		Error: &testvectors.Error{Layer: testvectors.LayerPacket, Field: blame, Offset: w.offsetOrEnd(blame)}, Answer: "none: the packet is dropped",
	})
}

// envelope lays a message out in its ICMP packet, with the IP header before it.
func envelope(from, to, options string, m message) wire {
	w, text := wire{}, strings.ReplaceAll(lay(m).digits(sent), " ", "")
	kind := byte(150)
	if netip.MustParseAddr(from).Is4() {
		kind = 41
		header := 20 + len(octets(options))
		w.add("IP version and header length", "", []byte{0x40 | byte(header/4), 0})
		w.join("IP length", "", nil)
		w.join("Identification", "", make([]byte, 4))
		w.join("Hop Limit", "255", []byte{255})
		w.join("Protocol", "", []byte{1})
		w.join("IP checksum", "", make([]byte, 2))
	} else {
		w.add("IP version", "", []byte{0x60, 0, 0, 0})
		w.join("IP length", "", nil)
		w.join("Next Header", "", []byte{58})
		w.join("Hop Limit", "255", []byte{255})
	}
	w.address("Source Address", from)
	w.address("Destination Address", to)
	if options != "" {
		w.add("IP options", "", octets(options))
	}
	w.add("Type", fmt.Sprint(kind), []byte{kind})
	w.join("Code", "0", []byte{0})
	w.join("Checksum", "", nil)
	w.join("Sub-type", "1", []byte{1})
	w.join("Reserved", "0", make([]byte, 3)).clean = make([]byte, 3)
	w.add("Message", text, octets(text))
	w.sum()
	return w
}

func (w wire) family() string {
	if w[0].octets[0]>>4 == 4 {
		return "IPv4"
	}
	return "IPv6"
}

// index is a field's place.
func (w wire) index(name string) int {
	return slices.IndexFunc(w, func(f field) bool { return f.name == name })
}

// octet is the first octet of a field.
func (w wire) octet(name string) byte { return w[w.index(name)].octets[0] }

func (w wire) set(name string, octets ...byte) { w[w.index(name)].octets = octets }

// with is the packet with another value in a field, and lengths and checksums that
// are right for it.
func (w wire) with(name string, octets ...byte) wire {
	other := w.clone()
	other.set(name, octets...)
	if name == "Reserved" {
		other[other.index(name)].shown = fmt.Sprint(uint32(octets[0])<<16 | uint32(octets[1])<<8 | uint32(octets[2]))
	}
	other.sum()
	return other
}

// sum fills in the lengths and checksums of a packet.
func (w wire) sum() {
	length := w.index("IP length")
	w[length].octets = make([]byte, 2)
	w.set("Checksum", 0, 0)
	w[w.index("Checksum")].clean = []byte{0, 0}
	var before []byte
	if w.family() == "IPv4" {
		w[length].octets = big(uint64(w.size()), 2)
		w.set("IP checksum", 0, 0)
		w.set("IP checksum", internet(w[:w.index("Type")].octets(sent))...)
	} else {
		w[length].octets = big(uint64(w.size()-40), 2)
		before = pseudo(w)
	}
	sum := w.index("Checksum")
	ofSent, ofClean := w.checksum(before, sent), w.checksum(before, clean)
	w[sum].octets, w[sum].clean, w[sum].shown = ofSent, ofClean, fmt.Sprintf("%#04x", ofSent)
}

// octets are the fields' octets.
func (w wire) octets(of func(field) []byte) (all []byte) {
	for _, f := range w {
		all = append(all, of(f)...)
	}
	return all
}

// pseudo is the pseudo-header of RFC 8200 section 8.1, with the protocol number of
// the packet's own family.
func pseudo(w wire) []byte {
	protocol := map[string]byte{"IPv4": 1, "IPv6": 58}[w.family()]
	ends := w[w.index("Source Address") : w.index("Destination Address")+1].octets(sent)
	return append(ends, append(big(uint64(w[w.index("Type"):].size()), 4), 0, 0, 0, protocol)...)
}

// checksum is that of the ICMP part, in which it counts as zero, with octets before it.
func (w wire) checksum(before []byte, of func(field) []byte) []byte {
	part := w[w.index("Type"):].clone()
	part.set("Checksum", 0, 0)
	part[part.index("Checksum")].clean = nil
	return internet(append(slices.Clone(before), part.octets(of)...))
}

// internet is the Internet checksum of RFC 1071.
func internet(octets []byte) []byte {
	if len(octets)%2 == 1 {
		octets = append(octets, 0)
	}
	sum := uint32(0)
	for ; len(octets) > 0; octets = octets[2:] {
		sum += uint32(binary.BigEndian.Uint16(octets))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return big(uint64(^uint16(sum)), 2)
}
