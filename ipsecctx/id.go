package ipsecctx

import (
	"fmt"

	"github.com/cxtp/cxtp/cxtp"
)

// ID names one SA within a session. The outer destination that RFC 4301 section
// 4.1 adds is not part of it: it may change in the move.
type ID struct {
	Direction Direction
	Protocol  Protocol
	SPI       uint32
}

func (id ID) String() string {
	return fmt.Sprintf("%s %s SA %08x", id.Direction, id.Protocol, id.SPI)
}

// ID names the SA.
func (sa *SA) ID() ID { return ID{sa.Direction, sa.Protocol, sa.SPI} }

// ID names the SA that the state belongs to.
func (d *Dynamic) ID() ID { return ID{d.Direction, d.Protocol, d.SPI} }

func (d Direction) String() string {
	switch d {
	case Inbound:
		return "inbound"
	case Outbound:
		return "outbound"
	}
	return fmt.Sprintf("direction %d", uint8(d))
}

func (p Protocol) String() string {
	switch p {
	case ESP:
		return "ESP"
	case AH:
		return "AH"
	}
	return fmt.Sprintf("protocol %d", uint8(p))
}

func (m Mode) String() string {
	switch m {
	case Tunnel:
		return "tunnel"
	case Transport:
		return "transport"
	}
	return fmt.Sprintf("mode %d", uint8(m))
}

// Manifest lists the SAs of a session for the control block. The ceiling of an
// outbound SA is the last sequence number that it used according to dynamic, 0
// where dynamic does not name it; an inbound one has none.
func Manifest(s *Session, dynamic []Dynamic) []cxtp.ManifestEntry {
	last := map[ID]uint64{}
	for i := range dynamic {
		last[dynamic[i].ID()] = dynamic[i].Sequence
	}
	entries := make([]cxtp.ManifestEntry, 0, len(s.SAs))
	for i := range s.SAs {
		id := s.SAs[i].ID()
		entries = append(entries, id.manifest(last[id]))
	}
	return entries
}

// manifest is the SA's line in the control block when its last number is given.
func (id ID) manifest(sequence uint64) cxtp.ManifestEntry {
	entry := cxtp.ManifestEntry{
		FPT:       cxtp.FPTIPsecSA,
		Direction: uint8(id.Direction),
		Protocol:  uint8(id.Protocol),
		SPI:       id.SPI,
	}
	if id.Direction == Outbound {
		entry.Ceiling = sequence
	}
	return entry
}
