package ipsecctx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"net/netip"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
)

// writer appends one block's data to dst, field after field in the order of the
// layout, and leaves out what is equal to its default. Its first failure sticks.
type writer struct {
	layout   *layout
	id       ID // whose block it is; zero for the session block
	dst      []byte
	start    int // of the block's data in dst
	presence uint32
	err      error
}

func (w *writer) mark(field int) { w.presence |= bit(field) }

func (w *writer) fail(field int, err error) {
	if w.err == nil {
		w.err = fmt.Errorf("%s: %w", w.layout.fields[field], err)
	}
}

func (w *writer) u8(field int, v, absent uint8) {
	if v != absent {
		w.mark(field)
		w.dst = append(w.dst, v)
	}
}

func (w *writer) u16(field int, v, absent uint16) {
	if v != absent {
		w.mark(field)
		w.dst = binary.BigEndian.AppendUint16(w.dst, v)
	}
}

func (w *writer) u32(field int, v, absent uint32) {
	if v != absent {
		w.mark(field)
		w.dst = binary.BigEndian.AppendUint32(w.dst, v)
	}
}

func (w *writer) u64(field int, v, absent uint64) {
	if v != absent {
		w.mark(field)
		w.dst = binary.BigEndian.AppendUint64(w.dst, v)
	}
}

// octets writes a 16-bit length and the octets; an empty string is absent.
func (w *writer) octets(field int, b []byte) {
	if len(b) > 0 {
		w.mark(field)
		w.string16(field, b)
	}
}

func (w *writer) string16(field int, b []byte) {
	if len(b) > maxData {
		w.fail(field, fmt.Errorf("%d octets: %w", len(b), ErrTooLarge))
		return
	}
	w.dst = binary.BigEndian.AppendUint16(w.dst, uint16(len(b)))
	w.dst = append(w.dst, b...)
}

// count writes the 8-bit length of a list and reports whether it fits.
func (w *writer) count(field, n int) bool {
	if n > math.MaxUint8 {
		w.fail(field, fmt.Errorf("%d entries, at most %d: %w", n, math.MaxUint8, ErrTooLarge))
		return false
	}
	w.dst = append(w.dst, uint8(n))
	return true
}

// name writes an identity; type 0 is absent.
func (w *writer) name(field int, n *Name) {
	if n.Type != 0 {
		w.mark(field)
		w.dst = append(w.dst, n.Type)
		w.string16(field, n.Data)
	}
}

// address writes 4 or 16 octets.
func (w *writer) address(field int, a netip.Addr) {
	if a.Zone() != "" {
		w.fail(field, fmt.Errorf("%s: a zone means nothing to another gateway", a))
	}
	if a.Is4() {
		octets := a.As4()
		w.dst = append(w.dst, octets[:]...)
		return
	}
	octets := a.As16()
	w.dst = append(w.dst, octets[:]...)
}

// lifetime writes a limit set, or what is used of one.
func (w *writer) lifetime(field int, l Lifetime, round func(time.Duration) time.Duration) {
	if l == (Lifetime{}) {
		return
	}
	w.mark(field)
	w.dst = binary.BigEndian.AppendUint32(w.dst, w.seconds(field, l.Time, round))
	w.dst = binary.BigEndian.AppendUint64(w.dst, l.Octets)
	w.dst = binary.BigEndian.AppendUint64(w.dst, l.Packets)
}

func (w *writer) seconds(field int, d time.Duration, round func(time.Duration) time.Duration) uint32 {
	s := int64(round(d) / time.Second)
	if d < 0 || s > math.MaxUint32 {
		w.fail(field, fmt.Errorf("%v is not between 0 and %d seconds", d, uint32(math.MaxUint32)))
		return 0
	}
	return uint32(s)
}

// roundLimit never lengthens a limit, and never makes one into "no limit".
func roundLimit(d time.Duration) time.Duration {
	if d > 0 && d < time.Second {
		return time.Second
	}
	return d
}

// roundAge never shortens an age.
func roundAge(d time.Duration) time.Duration {
	if rest := d % time.Second; rest > 0 && d < math.MaxInt64-time.Second {
		return d - rest + time.Second
	}
	return d
}

// finish makes the block, whose data alias dst.
func (w *writer) finish() (cxtp.CDB, error) {
	data := w.dst[w.start:len(w.dst):len(w.dst)]
	if len(data) > maxData && w.err == nil {
		w.err = fmt.Errorf("%d octets, at most %d: %w", len(data), maxData, ErrTooLarge)
	}
	if w.layout.mandatory&^w.presence != 0 && w.err == nil {
		w.err = fmt.Errorf("%s: no value, and the field has no default", w.layout.missing(w.presence))
	}
	if w.err != nil {
		clear(data)
		return cxtp.CDB{}, w.refusal()
	}
	return cxtp.CDB{FPT: w.layout.fpt, HasPresence: true, Presence: w.presence, Data: data}, nil
}

func (w *writer) refusal() error {
	status := cxtp.StatusMalformed
	if errors.Is(w.err, ErrTooLarge) {
		status = cxtp.StatusUnsupported
	}
	what := w.layout.name
	if w.id != (ID{}) {
		what += " of the " + w.id.String()
	}
	return &features.Error{FPT: w.layout.fpt, Status: status, Err: fmt.Errorf("failed to encode the %s: %w", what, w.err)}
}
