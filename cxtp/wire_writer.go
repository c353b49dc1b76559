package cxtp

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
)

// Flags of a message header and of Outcome's own flag octet: V in the first
// place, A, S, Q or K in the second, and those of an Update's lists.
const (
	flagFirst  = 0x80
	flagSecond = 0x40
	flagThird  = 0x20
	flagFourth = 0x10
)

// wireWriter appends one message to dst. Its first failure sticks, so that a
// message is written field after field and the error is looked at once.
type wireWriter struct {
	dst   []byte
	start int // of the message in dst
	kind  Type
	v4    bool // the V flag: the family of the MN's previous address
	err   error
}

// newWriter writes the header that all messages share; finish fills in Length.
func newWriter(dst []byte, kind Type, second bool, previous netip.Addr) wireWriter {
	w := wireWriter{dst: dst, start: len(dst), kind: kind, v4: previous.Unmap().Is4()}
	w.u8(Version<<5 | byte(kind))
	w.flags(w.v4, second)
	w.u16(0)
	return w
}

func (w *wireWriter) fail(err error) {
	if w.err == nil {
		w.err = fmt.Errorf("failed to encode %s: %w", w.kind, err)
	}
}

func (w *wireWriter) u8(v byte)       { w.dst = append(w.dst, v) }
func (w *wireWriter) u16(v uint16)    { w.dst = binary.BigEndian.AppendUint16(w.dst, v) }
func (w *wireWriter) u32(v uint32)    { w.dst = binary.BigEndian.AppendUint32(w.dst, v) }
func (w *wireWriter) u64(v uint64)    { w.dst = binary.BigEndian.AppendUint64(w.dst, v) }
func (w *wireWriter) octets(b []byte) { w.dst = append(w.dst, b...) }

// flags writes an octet of flags, the first one in its most significant bit.
func (w *wireWriter) flags(set ...bool) {
	var octet byte
	for i, f := range set {
		if f {
			octet |= flagFirst >> i
		}
	}
	w.u8(octet)
}

// announce sets another flag of the message's header.
func (w *wireWriter) announce(flag byte, set bool) {
	if set {
		w.dst[w.start+1] |= flag
	}
}

// address writes an address of the family that the V flag says.
func (w *wireWriter) address(name string, a netip.Addr) {
	a = a.Unmap()
	if err := checkAddress(name, a); err != nil {
		w.fail(err)
	} else if a.Is4() != w.v4 {
		w.fail(fmt.Errorf("%s %s is not of the family of the MN's previous address: one V flag speaks for both", name, a))
	} else {
		w.dst = appendAddress(w.dst, a)
	}
}

func (w *wireWriter) endpoint(name string, e netip.AddrPort) {
	dst, err := appendEndpoint(w.dst, name, e)
	if err != nil {
		w.fail(err)
		return
	}
	w.dst = dst
}

func (w *wireWriter) statuses(list []ContextStatus) {
	for _, s := range list {
		w.u16(uint16(s.FPT))
		w.u8(byte(s.Status))
		w.u8(0)
	}
}

// blocks writes context data blocks; only a CTAR and a CT-Req may have ones
// that carry nothing.
func (w *wireWriter) blocks(blocks []CDB, requests bool) {
	for _, b := range blocks {
		if b.IsRequest() && !requests {
			w.fail(fmt.Errorf("context data block of type %#04x carries nothing: only a request may", uint16(b.FPT)))
			return
		}
		dst, err := b.Append(w.dst)
		if err != nil {
			w.fail(err)
			return
		}
		w.dst = dst
	}
}

// finish sets the Length field, or gives back dst as it was.
func (w *wireWriter) finish() ([]byte, error) {
	size := len(w.dst) - w.start
	if size > MaxMessage {
		w.fail(fmt.Errorf("%d octets: at most %d fit", size, MaxMessage))
	}
	if w.err != nil {
		return w.dst[:w.start], w.err
	}
	binary.BigEndian.PutUint16(w.dst[w.start+2:], uint16(size))
	return w.dst, nil
}

func checkAddress(name string, a netip.Addr) error {
	if !a.IsValid() {
		return errors.New("no " + name)
	}
	if a.Zone() != "" {
		return fmt.Errorf("%s %s: a zone means nothing to another router", name, a)
	}
	return nil
}

func appendAddress(dst []byte, a netip.Addr) []byte {
	if a.Is4() {
		octets := a.As4()
		return append(dst, octets[:]...)
	}
	octets := a.As16()
	return append(dst, octets[:]...)
}

// appendEndpoint writes an address and port that have a family of their own
// (control profile section 1):
//
//	+---------------+---------------+-------------------------------+
//	|    Family     |   Reserved    |             Port              |
//	+---------------+---------------+-------------------------------+
//	~              Address, 4 octets or 16 by Family                ~
//	+---------------------------------------------------------------+
func appendEndpoint(dst []byte, name string, e netip.AddrPort) ([]byte, error) {
	a := e.Addr().Unmap()
	if err := checkAddress(name, a); err != nil {
		return dst, err
	}
	dst = append(dst, familyOf(a), 0)
	dst = binary.BigEndian.AppendUint16(dst, e.Port())
	return appendAddress(dst, a), nil
}

// padTo4 is the number of octets that fill size up to a multiple of 4.
func padTo4(size int) int { return -size & 3 }

// Family of an endpoint, and of the addresses in a strong token: the IP version.
const (
	familyIPv4 = 4
	familyIPv6 = 6
)

func familyOf(a netip.Addr) byte {
	if a.Is4() {
		return familyIPv4
	}
	return familyIPv6
}
