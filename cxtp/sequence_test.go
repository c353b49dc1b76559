package cxtp

import (
	"testing"
	"time"

	"pgregory.net/rapid"
)

// TestSequencesDoNotComeAgain draws from a source that repeats itself a lot.
func TestSequencesDoNotComeAgain(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := NewSequences(func() uint32 { return rapid.Uint32Range(0, 5).Draw(t, "random") })
		now, last := epochZero, map[uint32]time.Time{}
		for range 100 {
			now = now.Add(time.Duration(rapid.IntRange(0, 3000).Draw(t, "ms")) * time.Millisecond)
			n := q.Draw(now)
			if at, used := last[n]; n == 0 || used && now.Sub(at) <= SequenceLife {
				t.Fatalf("%d is drawn %s after its last use", n, now.Sub(at))
			}
			last[n] = now
			if given := rapid.Uint32Range(0, 9).Draw(t, "given"); given > 5 {
				q.Use(now, given)
				last[given] = now
			}
			if len(q.recent) > len(q.uses) || now.Sub(q.uses[0].at) > SequenceLife {
				t.Fatalf("%d uses of %d numbers are kept, the first of %s ago", len(q.uses), len(q.recent), now.Sub(q.uses[0].at))
			}
		}
	})
}

// TestSequencesAreTheSources: what the source gives is taken as it is, unless it
// is 0 or recent.
func TestSequencesAreTheSources(t *testing.T) {
	from := []uint32{0xDEADBEEF, 0xFFFFFFFF, 0xFFFFFFFF, 0}
	q := NewSequences(func() (n uint32) { n, from = from[0], from[1:]; return n })
	for _, want := range []uint32{0xDEADBEEF, 0xFFFFFFFF, 1, 2} {
		if n := q.Draw(epochZero); n != want {
			t.Errorf("drew %#x, want %#x", n, want)
		}
	}
}
