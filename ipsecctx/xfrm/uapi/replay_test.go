package uapi

import (
	"testing"

	"pgregory.net/rapid"
)

// receiver is an anti-replay window as the kernel keeps it, and beside it what
// it has to know.
type receiver struct {
	Replay
	seen map[uint64]bool
}

// receive advances the window to n, or marks n in it.
func (r *receiver) receive(n uint64) {
	size := uint64(r.Window)
	if n <= r.Seq {
		if r.Seq-n < size {
			r.set(n, r.Seq)
			r.seen[n] = true
		}
		return
	}
	if r.Extended {
		for i := r.Seq + 1; i < n && i <= r.Seq+size; i++ {
			r.Bitmap[r.ring(i)/wordBits] &^= 1 << (r.ring(i) % wordBits)
		}
	} else {
		r.Bitmap[0] <<= min(n-r.Seq, 32)
	}
	r.Seq = n
	r.set(n, n)
	r.seen[n] = true
}

func (r *receiver) ring(n uint64) uint64 { return (n - 1) % uint64(r.Window) }

func (r *receiver) set(n, top uint64) {
	if r.Extended {
		r.Bitmap[r.ring(n)/wordBits] |= 1 << (r.ring(n) % wordBits)
	} else {
		r.Bitmap[0] |= 1 << (top - n)
	}
}

func TestReplaySeen(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := receiver{seen: make(map[uint64]bool)}
		if r.Extended = rapid.Bool().Draw(t, "extended"); r.Extended {
			// Any window below 2^32; a power of two where that is passed.
			r.Window = rapid.Uint32Range(1, MaxWindow).Draw(t, "window")
			if rapid.Bool().Draw(t, "high") {
				r.Window = 1 << rapid.Uint32Range(0, 12).Draw(t, "log window")
				r.Seq = 1<<33 - 100
			}
		} else {
			r.Window = MaxLegacyWindow
		}
		r.Bitmap = make([]uint32, (r.Window+wordBits-1)/wordBits)
		for range rapid.IntRange(0, 50).Draw(t, "packets") {
			if ahead := rapid.Int64Range(-40, 90).Draw(t, "ahead"); ahead > 0 || uint64(-ahead) < r.Seq {
				r.receive(r.Seq + uint64(ahead))
			}
		}
		copied := Replay{Extended: r.Extended, Seq: r.Seq, Window: r.Window, Bitmap: make([]uint32, len(r.Bitmap))}
		for n := r.Seq + 2; n+uint64(r.Window)+2 > r.Seq && n > 0; n-- {
			reached := n <= r.Seq && r.Seq-n < uint64(r.Window)
			if r.Seen(n) != (reached && r.seen[n]) {
				t.Fatalf("packet %d of %+v: %t", n, r, r.Seen(n))
			}
			if r.seen[n] && copied.SetSeen(n) != reached {
				t.Fatalf("packet %d of %+v set: %t", n, r, !reached)
			}
		}
		for i := range r.Bitmap {
			if copied.Bitmap[i] != r.Bitmap[i] {
				t.Fatalf("%x is not %x", copied.Bitmap, r.Bitmap)
			}
		}
	})
}

// A state that has no window, or a bitmap too short for it, remembers nothing.
func TestReplaySeenNothing(t *testing.T) {
	for _, r := range []Replay{{}, {Seq: 5}, {Extended: true, Seq: 5}, {Extended: true, Seq: 5, Window: 64}, {Extended: true, Seq: 40, Window: 64, Bitmap: make([]uint32, 1)}} {
		for n := range uint64(8) {
			if n < r.Seq-4 && n > 0 {
				continue
			}
			if r.Seen(n) || len(r.Bitmap) == 0 && r.SetSeen(n) {
				t.Errorf("packet %d of %+v", n, r)
			}
		}
	}
	r := Replay{Extended: true, Seq: 40, Window: 64, Bitmap: make([]uint32, 1)}
	if r.SetSeen(40) || !r.SetSeen(32) || !r.Seen(32) || r.SetSeen(41) || r.SetSeen(0) {
		t.Errorf("%+v", r)
	}
}
