package ipsecctx

import (
	"maps"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// seen is the model of an anti-replay window: a receiver that remembers every
// number.
type seen struct {
	numbers map[uint64]bool
	edge    uint64
}

// dynamic gives the window of size packets that such a receiver has.
func (s seen) dynamic(size uint32) Dynamic {
	d := Dynamic{Direction: Inbound, Protocol: ESP, SPI: 256, Sequence: s.edge, Window: make([]uint64, windowWords(size))}
	for n := range s.numbers {
		if i := s.edge - n; i < uint64(size) {
			d.Window[i/64] |= 1 << (i % 64)
		}
	}
	return d
}

func drawSeen(t *rapid.T, size uint32, base uint64) seen {
	s := seen{numbers: map[uint64]bool{}}
	if rapid.IntRange(0, 9).Draw(t, "nothing") == 0 {
		return s
	}
	for _, n := range rapid.SliceOfN(rapid.Uint64Range(0, 2*uint64(size)+2), 1, 60).Draw(t, "numbers") {
		number := base + n + 1
		s.numbers[number] = true
		s.edge = max(s.edge, number)
	}
	return s
}

// TestMergeWindows compares with the union of the models, for any size, and
// edges any distance apart.
func TestMergeWindows(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		size := rapid.OneOf(rapid.SampledFrom([]uint32{0, 1, 63, 64, 65, 128, 4095, 4096}), rapid.Uint32Range(0, MaxWindow)).Draw(t, "size")
		base := rapid.OneOf(rapid.Just[uint64](0), rapid.Uint64Range(0, 1<<62)).Draw(t, "base")
		distance := rapid.OneOf(rapid.Just[uint64](0), rapid.Uint64Range(0, 5000), rapid.Uint64Range(0, 1<<62)).Draw(t, "distance")
		one, other := drawSeen(t, size, base), drawSeen(t, size, base+distance)
		both := seen{numbers: maps.Clone(one.numbers), edge: max(one.edge, other.edge)}
		maps.Copy(both.numbers, other.numbers)
		a, b, want := one.dynamic(size), other.dynamic(size), both.dynamic(size)
		keep := one.dynamic(size)
		for _, got := range []Dynamic{MergeWindows(a, b, size), MergeWindows(b, a, size)} {
			// The model remembers numbers that a window has dropped. They lie left
			// of the merged window as well, whose edge is not the lower one.
			if !sameWindow(got, want) {
				t.Fatalf("merged %+v\nwant %+v", got, want)
			}
			if beyond(got.Window, size, got.Sequence) {
				t.Fatal("the merged window has bits beyond itself")
			}
		}
		if !sameWindow(a, keep) {
			t.Fatal("an argument changed")
		}
	})
}

// TestMergeKeepsTheRest: everything but the window.
func TestMergeKeepsTheRest(t *testing.T) {
	a := Dynamic{Direction: Inbound, Protocol: AH, SPI: 300, Sequence: 5, Used: Lifetime{Time: 3, Octets: 20, Packets: 9}, Idle: 4 * time.Second}
	b := Dynamic{Direction: Inbound, Protocol: AH, SPI: 300, Sequence: 4, Used: Lifetime{Time: 5, Octets: 10, Packets: 10}, Idle: time.Second}
	got := MergeWindows(a, b, 0)
	if got.ID() != a.ID() || got.Sequence != 5 || len(got.Window) != 0 {
		t.Errorf("merged %+v", got)
	}
	if want := (Lifetime{Time: 5, Octets: 20, Packets: 10}); got.Used != want || got.Idle != time.Second {
		t.Errorf("used %+v, idle %v, want %+v, 1s", got.Used, got.Idle, want)
	}
}

func sameWindow(a, b Dynamic) bool {
	if a.Sequence != b.Sequence || len(a.Window) != len(b.Window) {
		return false
	}
	for i := range a.Window {
		if a.Window[i] != b.Window[i] {
			return false
		}
	}
	return true
}
