package main

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/cxtp/cxtp/testvectors"
)

// What a correct implementation answers to octets that cannot be read: no document
// has an answer to them.
const dropped = "none: the message is dropped"

// The parties of the examples.
const (
	node4, node6   = "192.0.2.10", "2001:db8::10"
	other4, other6 = "198.51.100.1", "2001:db8:1::1"

	router4, router6 = "192.0.2.1", "2001:db8::1" // on the node's link
)

// chapter makes the vectors of one message type.
type chapter struct {
	kind    string
	section string // of RFC 4067: "2.5.1"
	about   string // what its valid vectors are about, if that is another section
	// The numbers of the rows that each message of the type shows: its type, its V,
	// its Length and its layout; and those about reserved bits.
	rows     []int
	reserved []int
	vectors  []testvectors.Vector
}

// row is a requirement's id.
func row(section string, number int) string { return fmt.Sprintf("rfc4067-%s-%d", section, number) }

// own are ids of rows of the chapter's section.
func (c *chapter) own(numbers ...int) (ids []string) {
	for _, n := range numbers {
		ids = append(ids, row(c.section, n))
	}
	return ids
}

// framed are the rows that a message with blocks shows.
func framed(m message) (ids []string) {
	for _, b := range m.Blocks {
		ids = append(ids, "rfc4067-2.4-1", "rfc4067-2.4-2", "rfc4067-2.3-1")
		if b.Presence != "" {
			ids = append(ids, "rfc4067-2.4-4")
		}
		if len(b.Data)%16 != 8 && (b.Data != "" || b.Presence != "") {
			ids = append(ids, "rfc4067-2.4-7")
		}
		if b.Presence == "" && b.Data == "" {
			ids = append(ids, "rfc4067-2.4-8")
		}
	}
	return ids
}

// valid adds a message that can be read. rows are those that it shows beside the
// type's.
func (c *chapter) valid(name, answer string, m message, rows ...string) {
	m.Type = c.kind
	w := lay(m)
	rows = append(c.own(c.rows...), append(rows, framed(m)...)...)
	if m.reserved != 0 || m.statusReserved != 0 {
		rows = append(rows, c.own(c.reserved...)...)
	}
	if m.blockReserved != 0 {
		rows = append(rows, "rfc4067-2.4-3")
	}
	v := testvectors.Vector{
		Name: c.kind + ", " + name, Section: "RFC 4067 section " + cmp.Or(c.about, c.section), Rows: unique(rows),
		Type: c.kind, Hex: w.digits(sent), Valid: true, Fields: w.shown(), Message: &m.Message, Answer: answer,
	}
	if canonical := w.digits(clean); canonical != v.Hex {
		v.Canonical = canonical
	}
	c.vectors = append(c.vectors, v)
}

// unique are the ids once each, in their order.
func unique(ids []string) []string {
	var once []string
	for _, id := range ids {
		if !slices.Contains(once, id) {
			once = append(once, id)
		}
	}
	return once
}

// invalid adds octets that nobody can read, and the field that is to blame.
func (c *chapter) invalid(name string, w wire, blame string, rows ...string) {
	c.blamed(name, w.digits(sent), blame, w.offsetOrEnd(blame), rows...)
}

// offsetOrEnd is where a field starts, or would.
func (w wire) offsetOrEnd(name string) int {
	if slices.ContainsFunc(w, func(f field) bool { return f.name == name }) {
		return w.offset(name)
	}
	return w.size()
}

func (c *chapter) blamed(name, digits, blame string, offset int, rows ...string) {
	e := testvectors.Error{Layer: testvectors.LayerMessage, Field: blame, Offset: offset}
	section := c.section
	if strings.HasPrefix(blame, "CDB ") {
		e.Layer, section = testvectors.LayerBlock, "2.4"
	}
	if blame == "Vers." {
		section = "2.2"
	}
	c.vectors = append(c.vectors, testvectors.Vector{
		Name: c.nameOf(name), Section: "RFC 4067 section " + section, Rows: unique(rows),
		Type: c.kind, Hex: digits, Error: &e, Answer: dropped,
	})
}

// isList says which fields begin an entry of a list that may end before it.
func isList(name string) bool {
	return strings.HasSuffix(name, " FPT")
}

// blockFields after the FPT are blamed together: a block that is not whole announces
// more octets than are left.
func blamedFor(name string) string {
	if prefix, part, found := strings.Cut(name, " Presence Vector"); found && part == "" {
		return prefix + " Length"
	}
	if prefix, part, found := strings.Cut(name, " Data"); found && part == "" {
		return prefix + " Length"
	}
	return name
}

// older are names that some vectors had before they were generated, and keep.
var older = map[string]string{
	"CTAR, IPv4, no MN's Previous IP Address":             "CTAR, cut after the header",
	"CTAR, IPv4, a Length that is one octet too large":    "CTAR, Length one above the octets that came",
	"CTAR, IPv4, version 2":                               "CTAR, version 2",
	"CTAR, IPv4, version 0":                               "CTAR, version 0",
	"CTAR, IPv6, an IPv4-mapped MN's Previous IP Address": "CTAR, an IPv4-mapped address",
	"CTAA, IPv4, no Status 1 Status code":                 "CTAA, half a status",
	"PCTD, IPv4, no Key padding":                          "PCTD, a key without its padding",
	"CTDR, IPv4, no Status 1 Reserved":                    "CTDR, a status of three octets",
	"CT-Req, IPv4, no MN Authorization Token":             "CT-Req, no token",
}

// nameOf is a vector's name.
func (c *chapter) nameOf(name string) string {
	name = c.kind + ", " + name
	if old, ok := older[name]; ok {
		return old
	}
	return name
}

// spoil adds what is wrong with any message: its version and its Length, and an end
// before and inside each of its fields, with a Length that agrees. family is "IPv4"
// or "IPv6".
func (c *chapter) spoil(family string, m message) {
	m.Type = c.kind
	whole := lay(m)
	layout := c.own(c.rows...)
	for _, version := range []byte{0, 2, 7} {
		w := whole.clone()
		w[0].octets = []byte{version<<5 | types[c.kind].number}
		c.invalid(fmt.Sprintf("%s, version %d", family, version), w, "Vers.", "rfc4067-2.2-2", "rfc4067-2.2-4")
	}
	for _, wrong := range []struct {
		name   string
		length int
	}{{"0", 0}, {"one octet too small", whole.size() - 1}, {"one octet too large", whole.size() + 1}, {"65535", 65535}} {
		w := whole.clone()
		w.setLength(wrong.length)
		c.invalid(fmt.Sprintf("%s, a Length that is %s", family, wrong.name), w, "Length", layout...)
	}
	for i, f := range whole {
		if len(f.octets) == 0 {
			continue
		}
		if i > 0 && !isList(f.name) {
			w := whole[:i].clone()
			w.setLength(w.size())
			c.invalid(fmt.Sprintf("%s, no %s", family, f.name), w, blamedFor(f.name), layout...)
		}
		if len(f.octets) > 1 {
			w := append(whole[:i].clone(), field{name: f.name, group: f.group, octets: f.octets[:len(f.octets)-1]})
			w.setLength(w.size())
			c.invalid(fmt.Sprintf("%s, the last octet of %s is missing", family, f.name), w, blamedFor(f.name), layout...)
		}
	}
	switch family {
	case "IPv4":
		c.blamed("no octets", "", "Vers.", 0, "rfc4067-2.2-2")
		longer := whole.clone()
		longer.add("", "", []byte{0})
		c.invalid("one octet after Length", longer, "Length", layout...)
	case "IPv6":
		c.mapped(m, layout)
	}
}

// mapped adds messages with an IPv4 address in 16 octets, in place of each address.
func (c *chapter) mapped(m message, layout []string) {
	whole := lay(m)
	for i, f := range whole {
		if address, isAddress := netip.AddrFromSlice(f.octets); isAddress && address.Is6() && strings.HasSuffix(f.name, "Address") {
			w := whole.clone()
			w[i].octets = netip.MustParseAddr("::ffff:192.0.2.10").AsSlice()
			c.invalid("IPv6, an IPv4-mapped "+f.name, w, f.name, layout...)
		}
	}
}

// otherFamily adds a message with the octets of IPv4 addresses and the V of IPv6. It
// has to be so short that 16 octets for the first address are not there.
func (c *chapter) otherFamily(m message, without string) {
	m.Type = c.kind
	w := lay(m)
	for i, f := range w {
		switch f.name {
		case "V":
			w[i].octets = []byte{f.octets[0] &^ 0x80}
		case without:
			w = w[:i]
			w.setLength(w.size())
		}
	}
	c.invalid("IPv6 with the octets of IPv4 addresses", w, "MN's Previous IP Address", c.own(c.rows[1])...)
}
