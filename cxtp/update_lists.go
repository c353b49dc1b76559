package cxtp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
)

// MaxUpdateEntries bounds each list of an [Update], so that the largest fits into
// a datagram that is not fragmented on any path (1,232 octets with IPv6).
const MaxUpdateEntries = 32

// SPIChange is the other SPI that an SA has got, because another session has its
// own at the gateway. The gateway receives on the SA, and the node sends:
//
//	+---------------+-----------------------------------------------+
//	|   Protocol    |                   Reserved                    |
//	+---------------+-----------------------------------------------+
//	|                            Old SPI                            |
//	+---------------------------------------------------------------+
//	|                            New SPI                            |
//	+---------------------------------------------------------------+
type SPIChange struct {
	Protocol uint8 // 50 ESP, 51 AH
	Old, New uint32
}

// SequenceFloor is the sequence number above which the gateway goes on with an
// SA that the node receives on, because it does not know the last one used:
//
//	+---------------+-----------------------------------------------+
//	|   Protocol    |                   Reserved                    |
//	+---------------+-----------------------------------------------+
//	|                              SPI                              |
//	+---------------------------------------------------------------+
//	~                       Number (8 octets)                       ~
//	+---------------------------------------------------------------+
type SequenceFloor struct {
	Protocol uint8
	SPI      uint32
	Number   uint64
}

// The protocols that have SPIs.
const (
	protocolESP = 50
	protocolAH  = 51
)

// followed gives the changes for a node that may or may not have followed the
// earlier ones: from what it sent on before, and from what those have made of
// that. A node applies each to the SPI that an SA has, once. If they are too many
// for an Update, the earliest go.
func followed(earlier, later []SPIChange) []SPIChange {
	all := slices.Clone(earlier)
	for i, e := range all {
		for _, l := range later {
			if l.Protocol == e.Protocol && l.Old == e.New {
				all[i].New = l.New
			}
		}
	}
	all = append(all, later...)
	return all[max(0, len(all)-MaxUpdateEntries):]
}

// asBefore says of the SAs that a router receives on that their SPIs are what they
// were, whatever another router has said meanwhile.
func asBefore(manifest []ManifestEntry) (same []SPIChange) {
	for _, m := range manifest {
		if m.FPT == FPTIPsecSA && m.Direction != directionOut {
			same = append(same, SPIChange{m.Protocol, m.SPI, m.SPI})
		}
	}
	return same
}

// floorsOf are the floors of a router that goes on above ceilings.
func floorsOf(ceilings []ManifestEntry) (floors []SequenceFloor) {
	for _, c := range ceilings {
		if c.FPT == FPTIPsecSA && c.Direction == directionOut && len(floors) < MaxUpdateEntries {
			floors = append(floors, SequenceFloor{c.Protocol, c.SPI, c.Ceiling})
		}
	}
	return floors
}

// appendChanges writes the entries of a list; the caller has written its length.
func appendChanges(dst []byte, list []SPIChange) ([]byte, error) {
	if len(list) > MaxUpdateEntries {
		return dst, fmt.Errorf("%d SPI changes: at most %d fit", len(list), MaxUpdateEntries)
	}
	for _, c := range list {
		if err := checkSA(c.Protocol, c.Old, c.New); err != nil {
			return dst, err
		}
		dst = append(dst, c.Protocol, 0, 0, 0)
		dst = binary.BigEndian.AppendUint32(dst, c.Old)
		dst = binary.BigEndian.AppendUint32(dst, c.New)
	}
	return dst, nil
}

func checkSA(protocol uint8, spis ...uint32) error {
	switch {
	case protocol != protocolESP && protocol != protocolAH:
		return fmt.Errorf("protocol %d is neither ESP nor AH", protocol)
	case slices.Contains(spis, 0):
		return errors.New("an SPI is 0")
	}
	return nil
}

func (w *wireWriter) changes(list []SPIChange) {
	if len(list) == 0 {
		return
	}
	w.u16(uint16(len(list)))
	w.u16(0)
	dst, err := appendChanges(w.dst, list)
	if err != nil {
		w.fail(err)
		return
	}
	w.dst = dst
}

func (w *wireWriter) floors(list []SequenceFloor) {
	if len(list) == 0 {
		return
	}
	if len(list) > MaxUpdateEntries {
		w.fail(fmt.Errorf("%d sequence floors: at most %d fit", len(list), MaxUpdateEntries))
	}
	w.u16(uint16(len(list)))
	w.u16(0)
	for _, f := range list {
		if err := checkSA(f.Protocol, f.SPI); err != nil {
			w.fail(err)
		}
		w.u32(uint32(f.Protocol) << 24)
		w.u32(f.SPI)
		w.u64(f.Number)
	}
}

// listed reads the length of a list that a flag announces.
func (r *wireReader) listed(field string) int {
	n := int(r.u16(field))
	if n == 0 || n > MaxUpdateEntries {
		r.fail(field, r.at-2, nil, "%d, a list has 1 to %d", n, MaxUpdateEntries)
	}
	return n
}

// changes reads the entries of a list, which it appends.
func (r *wireReader) changes(list []SPIChange, count int) []SPIChange {
	for r.nextOf("SPI change", count) {
		list = append(list, SPIChange{Protocol: r.protocol(), Old: r.spi("Old SPI"), New: r.spi("New SPI")})
	}
	return list
}

// floors is changes for the other list.
func (r *wireReader) floors(list []SequenceFloor, count int) []SequenceFloor {
	for r.nextOf("Floor", count) {
		list = append(list, SequenceFloor{Protocol: r.protocol(), SPI: r.spi("SPI"), Number: r.u64("Number")})
	}
	return list
}

// protocol reads what an entry begins with.
func (r *wireReader) protocol() uint8 {
	p := r.u8("Protocol")
	if p != protocolESP && p != protocolAH {
		r.fail("Protocol", r.at-1, nil, "%d, it is 50 (ESP) or 51 (AH)", p)
	}
	r.octets("Reserved", 3)
	return p
}

func (r *wireReader) spi(field string) uint32 {
	spi := inHex(r, r.u32(field))
	if spi == 0 {
		r.fail(field, r.at-4, nil, "0, which is no SPI")
	}
	return spi
}
