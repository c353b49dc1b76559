package capture

import (
	"encoding/binary"
	"slices"
)

// maxAssociations bounds what is kept of the associations straight over IP between
// a pair of addresses: four, of two sides each.
const maxAssociations = 8

// association is what one side sends in an SCTP association that is straight over
// IP. The verification tag tells it from others between the same ports: a router
// that restarts has another one, and when two dial each other at once, it is that
// of the association that comes about (RFC 9260 sections 5.2.1 and 5.2.2). What INIT
// says of the TSNs may be of one that does not.
type association struct {
	side int
	tag  uint32
	end
}

// straight takes an SCTP packet that is straight over IP. Its checksum is not
// looked at: many captures have packets whose checksum is for the network card to
// fill in.
func (d *decoder) straight(f frame, g datagram) error {
	switch {
	case d.link(g) != Router:
		d.summary.Foreign++
	case g.cut:
		d.summary.Cut++
	case opens(g.octets[sctpHeaderSize:]):
		d.summary.Control++
	default:
		p, side := pairOf(g)
		from := d.routes.of(p, d.summary.Packets).association(side, binary.BigEndian.Uint32(g.octets[4:]))
		return d.packet(f, g, &from.end, g.octets)
	}
	return nil
}

// opens reports whether the chunks are an INIT or INIT ACK, which is alone in its
// packet and has the tag of no association yet, or one that may come to nothing.
func opens(chunks []byte) bool {
	const init, initAck = 1, 2
	return len(chunks) > 0 && (chunks[0] == init || chunks[0] == initAck)
}

// association returns what a side sends with a tag. If there are too many, it
// takes the place of the oldest.
func (r *route) association(side int, tag uint32) *association {
	same := func(a *association) bool { return a.side == side && a.tag == tag }
	if i := slices.IndexFunc(r.associations, same); i >= 0 {
		return r.associations[i]
	}
	if len(r.associations) >= maxAssociations {
		r.among.leave(&r.associations[0].arrived)
		r.associations = slices.Delete(r.associations, 0, 1)
	}
	a := &association{side, tag, end{arrived: assembler{budget: &r.among.waiting}}}
	r.associations = append(r.associations, a)
	return a
}
