package profile

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

// Writer appends one block's data to an arena, field after field in the order of
// the layout. Methods that are named after a type write a field, and nothing
// where it has its default; those named Put write a part of a field that has been
// marked.
type Writer struct {
	layout   *Layout
	dst      []byte
	start    int // of the block's data in dst
	presence uint32
	err      error
}

// NewWriter writes behind what is in arena.
func NewWriter(l *Layout, arena []byte) Writer {
	return Writer{layout: l, dst: arena, start: len(arena)}
}

// Mark says that a field is present.
func (w *Writer) Mark(field int) { w.presence |= Bit(field) }

// Fail blames a field.
func (w *Writer) Fail(field int, err error) {
	if w.err == nil {
		w.err = fmt.Errorf("%s: %w", w.layout.fields[field], err)
	}
}

// Put writes octets as they are.
func (w *Writer) Put(octets ...byte) { w.dst = append(w.dst, octets...) }

// Put16 writes two octets.
func (w *Writer) Put16(v uint16) { w.dst = binary.BigEndian.AppendUint16(w.dst, v) }

// Put32 writes four octets.
func (w *Writer) Put32(v uint32) { w.dst = binary.BigEndian.AppendUint32(w.dst, v) }

// Put64 writes eight octets.
func (w *Writer) Put64(v uint64) { w.dst = binary.BigEndian.AppendUint64(w.dst, v) }

// Len is how much has been written, in octets, and an argument for [Writer.Set16].
func (w *Writer) Len() int { return len(w.dst) }

// Set16 overwrites the two octets that were put when Len was at.
func (w *Writer) Set16(at int, v uint16) { binary.BigEndian.PutUint16(w.dst[at:], v) }

// U8 writes a field of one octet.
func (w *Writer) U8(field int, v, absent uint8) {
	if v != absent {
		w.Mark(field)
		w.Put(v)
	}
}

// U16 writes a field of two octets.
func (w *Writer) U16(field int, v, absent uint16) {
	if v != absent {
		w.Mark(field)
		w.Put16(v)
	}
}

// U32 writes a field of four octets.
func (w *Writer) U32(field int, v, absent uint32) {
	if v != absent {
		w.Mark(field)
		w.Put32(v)
	}
}

// U64 writes a field of eight octets.
func (w *Writer) U64(field int, v, absent uint64) {
	if v != absent {
		w.Mark(field)
		w.Put64(v)
	}
}

// Octets writes a 16-bit length and the octets; an empty string is absent.
func (w *Writer) Octets(field int, b []byte) {
	if len(b) > 0 {
		w.Mark(field)
		w.PutString(field, b)
	}
}

// PutString writes a 16-bit length and the octets.
func (w *Writer) PutString(field int, b []byte) {
	if len(b) > MaxData {
		w.Fail(field, fmt.Errorf("%d octets: %w", len(b), ErrTooLarge))
		return
	}
	w.Put16(uint16(len(b)))
	w.dst = append(w.dst, b...)
}

// Count writes the 8-bit length of a list and reports whether it fits.
func (w *Writer) Count(field, n int) bool {
	if n > math.MaxUint8 {
		w.Fail(field, fmt.Errorf("%d entries, at most %d: %w", n, math.MaxUint8, ErrTooLarge))
		return false
	}
	w.Put(uint8(n))
	return true
}

// Begin marks the field of a list and writes the list's length. It reports
// whether entries are to follow: an empty list is absent.
func (w *Writer) Begin(field, n int) bool {
	if n == 0 {
		return false
	}
	w.Mark(field)
	return w.Count(field, n)
}

// Identity writes an identity; type 0 is absent.
func (w *Writer) Identity(field int, n *Identity) {
	if n.Type != 0 {
		w.Mark(field)
		w.PutIdentity(field, n)
	}
}

// PutIdentity writes the type and the data of an identity.
func (w *Writer) PutIdentity(field int, n *Identity) {
	w.Put(n.Type)
	w.PutString(field, n.Data)
}

// PutAddress writes 4 or 16 octets.
func (w *Writer) PutAddress(field int, a netip.Addr) {
	if a.Zone() != "" {
		w.Fail(field, fmt.Errorf("%s: a zone means nothing to another gateway", a))
	}
	if a.Is4() {
		octets := a.As4()
		w.dst = append(w.dst, octets[:]...)
		return
	}
	octets := a.As16()
	w.dst = append(w.dst, octets[:]...)
}

// Prefixes writes a list of prefixes.
func (w *Writer) Prefixes(field int, list []netip.Prefix) {
	if !w.Begin(field, len(list)) {
		return
	}
	for _, p := range list {
		if !p.IsValid() {
			w.Fail(field, errors.New("prefix without a value"))
			return
		}
		w.Put(FamilyOf(p.Addr()), uint8(p.Bits()))
		w.PutAddress(field, p.Addr())
	}
}

// Limit writes a limit in seconds, rounded so that it never gets longer; 0 is
// absent.
func (w *Writer) Limit(field int, d time.Duration) {
	if d != 0 {
		w.Mark(field)
		w.PutLimit(field, d)
	}
}

// Age writes an age in seconds, rounded so that it never gets shorter; 0 is
// absent.
func (w *Writer) Age(field int, d time.Duration) {
	if d != 0 {
		w.Mark(field)
		w.PutAge(field, d)
	}
}

// PutLimit writes a limit in seconds. One below a second becomes one second,
// because 0 would be none.
func (w *Writer) PutLimit(field int, d time.Duration) {
	if d > 0 && d < time.Second {
		d = time.Second
	}
	w.seconds(field, d)
}

// PutAge writes an age in seconds.
func (w *Writer) PutAge(field int, d time.Duration) {
	if rest := d % time.Second; rest > 0 && d < math.MaxInt64-time.Second {
		d += time.Second - rest
	}
	w.seconds(field, d)
}

func (w *Writer) seconds(field int, d time.Duration) {
	s := int64(d / time.Second)
	if d < 0 || s > math.MaxUint32 {
		w.Fail(field, fmt.Errorf("%v is not between 0 and %d seconds", d, uint32(math.MaxUint32)))
	}
	w.Put32(uint32(s))
}

// Finish makes the block, whose data alias the arena. of says in an error what
// the block is about; nil where its name is enough. The error is a
// [features.Error]: a field without a default has no value, or something is
// [ErrTooLarge]. What was written is wiped then.
func (w *Writer) Finish(of func() string) (cxtp.CDB, error) {
	data := w.dst[w.start:len(w.dst):len(w.dst)]
	if len(data) > MaxData && w.err == nil {
		w.err = fmt.Errorf("%d octets, at most %d: %w", len(data), MaxData, ErrTooLarge)
	}
	if w.layout.mandatory&^w.presence != 0 && w.err == nil {
		w.err = fmt.Errorf("%s: no value, and the field has no default", w.layout.missing(w.presence))
	}
	if w.err == nil {
		return cxtp.CDB{FPT: w.layout.fpt, HasPresence: true, Presence: w.presence, Data: data}, nil
	}
	clear(data)
	status := cxtp.StatusMalformed
	if errors.Is(w.err, ErrTooLarge) {
		status = cxtp.StatusUnsupported
	}
	what := w.layout.name
	if of != nil {
		what += " of the " + of()
	}
	return cxtp.CDB{}, features.Refuse(w.layout.fpt, status, "failed to encode the %s: %w", what, w.err)
}
