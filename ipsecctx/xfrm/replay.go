package xfrm

import (
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

// outWindow is the window, in packets, that an outbound SA with ESN has for the
// kernel's sake, which wants one. Nothing looks at it.
const outWindow = 32

// The bounds of a sequence number. fenceESN is a right edge so high that of no
// real packet the upper half is guessed right: see inert.
const (
	last32   = 1<<32 - 1
	last64   = 1<<64 - 1
	fenceESN = 1 << 63
)

// lastNumber is the last sequence number that an SA can use.
func lastNumber(sa *ipsecctx.SA) uint64 {
	if sa.ESN {
		return last64
	}
	return last32
}

// inert is dynamic state with which an SA does nothing. An outbound one has used
// its last number, so the kernel sends no packet. An inbound one has seen all
// that it could see: without ESN its right edge is the last number; with ESN it
// is one that nobody gets to, so that the upper half that is inferred for a
// packet is never its own, and the packet does not authenticate.
func inert(sa *ipsecctx.SA) ipsecctx.Dynamic {
	d := ipsecctx.Dynamic{Direction: sa.Direction, Protocol: sa.Protocol, SPI: sa.SPI, Sequence: lastNumber(sa)}
	if sa.Direction == ipsecctx.Inbound {
		if sa.ESN {
			d.Sequence = fenceESN
		}
		d.Window = fullWindow(sa.Window)
	}
	return d
}

// fullWindow is the bitmap of a window of size packets that has seen them all.
func fullWindow(size uint32) []uint64 {
	words := make([]uint64, (size+63)/64)
	for i := range words {
		words[i] = ^uint64(0)
	}
	if rest := size % 64; rest != 0 {
		words[len(words)-1] = 1<<rest - 1
	}
	return words
}

// formOf is the form of sequence state that this package gives an SA. With an
// anti-replay window it is the extended one, which has room for any; without, the
// old one, unless ESN needs the upper halves.
func formOf(sa *ipsecctx.SA) *uapi.Replay {
	switch {
	case sa.Direction == ipsecctx.Inbound && sa.Window > 0:
		return &uapi.Replay{Extended: true, Window: sa.Window, Bitmap: make([]uint32, (sa.Window+31)/32)}
	case sa.Direction == ipsecctx.Outbound && sa.ESN:
		return &uapi.Replay{Extended: true, Window: outWindow, Bitmap: make([]uint32, outWindow/32)}
	}
	return &uapi.Replay{}
}

// replayOf is dynamic state in the kernel's form. Where the kernel's window is the
// wider one, what only it reaches counts as seen: it may have been.
func replayOf(form *uapi.Replay, sa *ipsecctx.SA, d *ipsecctx.Dynamic) uapi.Replay {
	r := *form
	r.OSeq, r.Seq, r.Bitmap = 0, 0, make([]uint32, len(form.Bitmap))
	if sa.Direction == ipsecctx.Outbound {
		r.OSeq = d.Sequence
		return r
	}
	r.Seq = d.Sequence
	for i := range min(uint64(r.Window), d.Sequence) {
		if i >= uint64(sa.Window) || d.Window[i/64]>>(i%64)&1 == 1 {
			r.SetSeen(d.Sequence - i)
		}
	}
	return r
}

// sequenceOf reads the kernel's form into d, whose SA is known. Where the kernel's
// window is the narrower one, what it does not reach counts as seen.
func sequenceOf(d *ipsecctx.Dynamic, sa *ipsecctx.SA, r *uapi.Replay) {
	if sa.Direction == ipsecctx.Outbound {
		d.Sequence = r.OSeq
		return
	}
	d.Sequence = r.Seq
	if sa.Window == 0 {
		return
	}
	d.Window = make([]uint64, words(sa))
	for i := range reach(sa, r.Seq) {
		if i >= uint64(r.Window) || r.Seen(r.Seq-i) {
			d.Window[i/64] |= 1 << (i % 64)
		}
	}
}

// reach is how many numbers, from the edge down, an SA's window has.
func reach(sa *ipsecctx.SA, edge uint64) uint64 { return min(uint64(sa.Window), edge) }

// words is the length of an SA's bitmap.
func words(sa *ipsecctx.SA) uint32 { return (sa.Window + 63) / 64 }
