package soft

import (
	"math/bits"

	"github.com/cxtp/cxtp/ipsecctx"
)

// window is the anti-replay window of an inbound SA (RFC 4303 section 3.4.3,
// RFC 6479 for the ring): the bits of a sequence number live in the word
// seq/64 modulo the ring's length, so moving the window forward clears words
// and shifts none. The ring is one word longer than the window at least, which
// keeps the words at both of its ends apart.
type window struct {
	size uint32 // packets; 0 = everything passes
	top  uint64 // right edge: the highest sequence number authenticated
	ring []uint64
}

// newWindow makes an empty window of size packets, at most
// [ipsecctx.MaxWindow].
func newWindow(size uint32) window {
	w := window{size: size}
	if size > 0 {
		words := (size+63)/64 + 1
		w.ring = make([]uint64, 1<<bits.Len32(words-1))
	}
	return w
}

func (w *window) word(seq uint64) *uint64 { return &w.ring[seq/64&uint64(len(w.ring)-1)] }

// fresh reports whether seq is neither seen nor behind the window. Number 0 is
// never sent (RFC 4303 section 3.3.3).
func (w *window) fresh(seq uint64) bool {
	switch {
	case w.size == 0:
		return true
	case seq > w.top:
		return true
	case seq == 0 || w.top-seq >= uint64(w.size):
		return false
	}
	return *w.word(seq)&(1<<(seq%64)) == 0
}

// mark records that seq was received and authenticated. A seq behind the window
// changes nothing.
func (w *window) mark(seq uint64) {
	w.advance(seq)
	if w.top-seq < uint64(w.size) {
		*w.word(seq) |= 1 << (seq % 64)
	}
}

// advance moves the right edge to seq if that is further on.
func (w *window) advance(seq uint64) {
	if seq <= w.top {
		return
	}
	for i := range min(seq/64-w.top/64, uint64(len(w.ring))) {
		*w.word(seq - 64*i) = 0
	}
	w.top = seq
}

// save writes the window as [ipsecctx.Dynamic] lays it out.
func (w *window) save(d *ipsecctx.Dynamic) {
	d.Sequence, d.Window = w.top, nil
	if w.size == 0 {
		return
	}
	d.Window = make([]uint64, (w.size+63)/64)
	for i := range min(uint64(w.size), w.top) {
		if seq := w.top - i; *w.word(seq)&(1<<(seq%64)) != 0 {
			d.Window[i/64] |= 1 << (i % 64)
		}
	}
}

// load replaces the window by a saved one.
func (w *window) load(d *ipsecctx.Dynamic) {
	clear(w.ring)
	w.top = d.Sequence
	for i := range min(uint64(w.size), w.top, 64*uint64(len(d.Window))) {
		if d.Window[i/64]&(1<<(i%64)) != 0 {
			w.mark(w.top - i)
		}
	}
}
