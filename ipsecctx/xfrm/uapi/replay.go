package uapi

import "math"

// Limits of [Replay].
const (
	// MaxWindow is the largest anti-replay window of the extended form, packets.
	MaxWindow = 4096
	// MaxLegacyWindow is the largest of the other form. The kernel takes a
	// larger one and makes it this in silence; this package refuses it.
	MaxLegacyWindow = 32

	wordBits   = 32
	replayWhat = "sequence state"
)

// Seen reports whether the window remembers packet n as received. What the
// window does not reach is not remembered.
func (r *Replay) Seen(n uint64) bool {
	word, mask := r.bit(n)
	return mask != 0 && r.Bitmap[word]&mask != 0
}

// SetSeen remembers packet n as received, and reports whether the window
// reaches it. It does not move the window: n is at most Seq.
func (r *Replay) SetSeen(n uint64) bool {
	word, mask := r.bit(n)
	if mask == 0 {
		return false
	}
	r.Bitmap[word] |= mask
	return true
}

// bit finds the place of packet n; a mask of 0 says that it has none.
//
// The legacy bitmap counts down from Seq, bit 0. The extended one is a ring: its
// place for a packet is (n-1) modulo the window, with the low half of Seq as the
// reference, because the kernel finds every place from that. (Where the window
// is not a power of two the kernel loses the ring's place each time Seq passes a
// multiple of 2^32.)
func (r *Replay) bit(n uint64) (word int, mask uint32) {
	if n == 0 || n > r.Seq {
		return 0, 0
	}
	behind := r.Seq - n
	size, place := uint64(MaxLegacyWindow), behind
	if r.Extended {
		if size = uint64(r.Window); behind < size {
			place = (uint64(uint32(r.Seq)-1)%size + size - behind) % size
		}
	}
	if behind >= size || place >= uint64(len(r.Bitmap))*wordBits {
		return 0, 0
	}
	return int(place / wordBits), 1 << (place % wordBits)
}

// attrReplay appends the sequence state in its form; words that the bitmap
// lacks for its window are 0. It refuses what the kernel would change in
// silence.
func (w *writer) attrReplay(r *Replay) {
	switch {
	case r.Extended && (r.Window > MaxWindow || len(r.Bitmap) > MaxWindow/wordBits):
		w.failf(replayWhat, "a window of %d packets in %d words; %d packets are the most", r.Window, len(r.Bitmap), MaxWindow)
	case r.Extended:
		w.attrReplayESN(r)
	case r.Window > MaxLegacyWindow || len(r.Bitmap) > 1:
		w.failf(replayWhat, "a window of %d packets in %d words; more than %d need the extended form", r.Window, len(r.Bitmap), MaxLegacyWindow)
	case r.OSeq > math.MaxUint32 || r.Seq > math.MaxUint32:
		w.failf(replayWhat, "sequence numbers above 2^32-1 need the extended form")
	default:
		b := w.attr(attrReplay, sizeReplay)
		native.PutUint32(b, uint32(r.OSeq))
		native.PutUint32(b[4:], uint32(r.Seq))
		if len(r.Bitmap) > 0 {
			native.PutUint32(b[8:], r.Bitmap[0])
		}
	}
}

func (w *writer) attrReplayESN(r *Replay) {
	words := max(len(r.Bitmap), (int(r.Window)+wordBits-1)/wordBits)
	b := w.attr(attrReplayESN, sizeReplayESN+4*words)
	for i, v := range [...]uint32{uint32(words), uint32(r.OSeq), uint32(r.Seq),
		uint32(r.OSeq >> 32), uint32(r.Seq >> 32), r.Window} {
		native.PutUint32(b[4*i:], v)
	}
	for i, v := range r.Bitmap {
		native.PutUint32(b[sizeReplayESN+4*i:], v)
	}
}

// takeReplay reads the sequence state in the form that is there; nil if none
// is. The window of the legacy form stands elsewhere.
func (r *reader) takeReplay() *Replay {
	legacy := r.take(attrReplay, sizeReplay)
	if b := r.take(attrReplayESN, sizeReplayESN); b != nil {
		return r.replayESN(b)
	}
	if legacy == nil {
		return nil
	}
	return &Replay{
		OSeq: uint64(native.Uint32(legacy)), Seq: uint64(native.Uint32(legacy[4:])),
		Bitmap: []uint32{native.Uint32(legacy[8:])},
	}
}

func (r *reader) replayESN(b []byte) *Replay {
	field := func(i int) uint64 { return uint64(native.Uint32(b[4*i:])) }
	words, bitmap := field(0), b[sizeReplayESN:]
	if words > uint64(len(bitmap)/4) {
		r.failf(replayWhat, "a bitmap of %d words in %d octets", words, len(bitmap))
		return nil
	}
	v := &Replay{
		Extended: true,
		OSeq:     field(3)<<32 | field(1), Seq: field(4)<<32 | field(2),
		Window: uint32(field(5)),
		Bitmap: make([]uint32, words),
	}
	for i := range v.Bitmap {
		v.Bitmap[i] = native.Uint32(bitmap[4*i:])
	}
	return v
}
