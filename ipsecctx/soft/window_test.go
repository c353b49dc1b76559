package soft

import (
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/cxtp/cxtp/ipsecctx"
)

// naive is a window that remembers everything.
type naive struct {
	size uint32
	top  uint64
	seen map[uint64]bool
}

func (n *naive) fresh(seq uint64) bool {
	if n.size == 0 {
		return true
	}
	return seq > n.top || seq != 0 && n.top-seq < uint64(n.size) && !n.seen[seq]
}

func (n *naive) mark(seq uint64) {
	n.seen[seq] = true
	n.top = max(n.top, seq)
}

var sizes = rapid.OneOf(
	rapid.Uint32Range(0, ipsecctx.MaxWindow),
	rapid.SampledFrom([]uint32{0, 1, 31, 32, 63, 64, 65, 127, 128, 129, 4095, 4096}),
)

// nearby draws a sequence number around the window of n, or beyond.
func nearby(t *rapid.T, n *naive) uint64 {
	d := rapid.OneOf(
		rapid.Int64Range(-70, 70),
		rapid.Int64Range(-2*int64(n.size)-2, 2*int64(n.size)+2),
		rapid.Int64Range(0, 1<<20),
	).Draw(t, "distance")
	if d < 0 && uint64(-d) > n.top {
		return 0
	}
	return n.top + uint64(d)
}

// TestWindowAgainstSet compares the ring with a set, and now and then saves the
// window and goes on with a new one.
func TestWindowAgainstSet(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := sizes.Draw(t, "size")
		w, n := newWindow(size), &naive{size: size, seen: map[uint64]bool{}}
		start := rapid.SampledFrom([]uint64{0, 1, 1<<32 - 100, 1 << 40}).Draw(t, "start")
		w.load(&ipsecctx.Dynamic{Sequence: start})
		n.top = start
		for range rapid.IntRange(1, 200).Draw(t, "packets") {
			seq := nearby(t, n)
			if got, want := w.fresh(seq), n.fresh(seq); got != want {
				t.Fatalf("window of %d with right edge %d: fresh(%d) = %v, want %v", size, n.top, seq, got, want)
			}
			if n.fresh(seq) {
				w.mark(seq)
				n.mark(seq)
			}
			if rapid.IntRange(0, 9).Draw(t, "save") == 0 {
				var d ipsecctx.Dynamic
				w.save(&d)
				if d.Sequence != n.top || len(d.Window) != int(size+63)/64 {
					t.Fatalf("saved %d with %d words, want %d with %d", d.Sequence, len(d.Window), n.top, (size+63)/64)
				}
				w = newWindow(size)
				w.load(&d)
			}
		}
	})
}

// TestWindowLayout pins bit i of the saved window to Sequence-i.
func TestWindowLayout(t *testing.T) {
	w := newWindow(100)
	for _, seq := range []uint64{1, 30, 36, 99, 100} {
		w.mark(seq)
	}
	var d ipsecctx.Dynamic
	w.save(&d)
	want := []uint64{1 | 1<<1, 1<<(100-36-64) | 1<<(100-30-64) | 1<<(100-1-64)}
	if d.Sequence != 100 || !slices.Equal(d.Window, want) {
		t.Errorf("saved %d, %#x; want 100, %#x", d.Sequence, d.Window, want)
	}
}

// TestWindowMerge asks of a union that it refuses what either refuses, and
// accepts what both accept.
func TestWindowMerge(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := sizes.Filter(func(n uint32) bool { return n > 0 }).Draw(t, "size")
		a, b := newWindow(size), newWindow(size)
		for _, w := range []*window{&a, &b} {
			n := &naive{size: size, seen: map[uint64]bool{}}
			for range rapid.IntRange(0, 50).Draw(t, "packets") {
				seq := nearby(t, n)
				n.mark(seq)
				if w.fresh(seq) {
					w.mark(seq)
				}
			}
		}
		before := newWindow(size)
		var da, db ipsecctx.Dynamic
		a.save(&da)
		before.load(&da)
		b.save(&db)
		da = ipsecctx.MergeWindows(da, db, size)
		a.load(&da)
		top := max(before.top, b.top)
		if a.top != top {
			t.Fatalf("right edge %d after the union of %d and %d", a.top, before.top, b.top)
		}
		for d := range 2*uint64(size) + 10 {
			seq := top + 5 - d
			if seq > top+5 {
				break
			}
			want := before.fresh(seq) && b.fresh(seq) && (seq > top || top-seq < uint64(size))
			if got := a.fresh(seq); got != want {
				t.Fatalf("union at %d: fresh(%d) = %v, want %v", top, seq, got, want)
			}
		}
	})
}

// TestExtend takes numbers within 2^31 packets ahead, or within the window
// behind, and asks for all 64 bits back from the lower 32.
func TestExtend(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		window := sizes.Draw(t, "window")
		highest := rapid.OneOf(
			rapid.Uint64Range(0, 1<<40),
			rapid.Custom(func(t *rapid.T) uint64 {
				return rapid.Uint64Range(1, 5).Draw(t, "subspace")<<32 + rapid.Uint64Range(0, 10000).Draw(t, "offset") - 5000
			}),
		).Draw(t, "highest")
		behind := uint64(window)
		if window == 0 {
			behind = blind
		}
		seq := highest + rapid.Uint64Range(1, 1<<31).Draw(t, "ahead")
		if rapid.Bool().Draw(t, "late") {
			seq = highest - rapid.Uint64Range(0, min(behind-1, highest)).Draw(t, "behind")
		}
		if got := extend(highest, window, uint32(seq)); got != seq {
			t.Fatalf("extend(%#x, %d, %#x) = %#x, want %#x", highest, window, uint32(seq), got, seq)
		}
	})
}

// TestExtendAtTheStart has nothing before number 0 to infer.
func TestExtendAtTheStart(t *testing.T) {
	if got := extend(10, 64, 1<<32-5); got != 1<<32-5 {
		t.Errorf("extend = %#x", got)
	}
	if got := extend(1<<32+10, 64, 1<<32-5); got != 1<<32-5 {
		t.Errorf("in the second subspace extend = %#x", got)
	}
}
