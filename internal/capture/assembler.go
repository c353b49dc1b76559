package capture

import "slices"

const (
	// windowSize is how many TSNs back a repetition is known. Package transport
	// has at most 256 KiB unacknowledged, and no message is shorter than 8
	// octets.
	windowSize = 256 << 10 / 8
	// maxFragments bounds the fragments of a message: 64 octets of the longest
	// one in each.
	maxFragments = 1024
	// maxWaiting bounds the octets of fragments that wait, of all associations
	// together. Each is charged fragmentOverhead on top of its own.
	maxWaiting       = 8 << 20
	fragmentOverhead = 128
)

// assembler makes messages of what one side sends.
type assembler struct {
	started bool
	initial uint32   // TSN
	highest uint32   // TSN
	window  []uint64 // a bit for each TSN up to the highest, modulo windowSize

	budget  *int            // octets that may still wait
	waiting map[place]chunk // fragments whose message is not complete
	lost    uint64          // fragments whose message will not be
}

// begin starts the association, or a new one in its place.
func (a *assembler) begin(tsn uint32) {
	if a.started && a.initial == tsn {
		return // repeated
	}
	a.drop()
	a.started, a.initial, a.highest = true, tsn, tsn-1
	a.window = make([]uint64, windowSize/64)
}

// fresh tells whether a TSN is seen for the first time. TSNs wrap around, so it
// is their difference that counts (RFC 9260 section 1.6).
func (a *assembler) fresh(tsn uint32) bool {
	if !a.started { // the beginning is not in the capture
		a.begin(tsn)
	}
	switch ahead := int32(tsn - a.highest); {
	case ahead <= -windowSize:
		return false
	case ahead >= windowSize:
		clear(a.window)
		a.highest = tsn
	case ahead > 0:
		for a.highest != tsn {
			a.highest++
			word, bit := a.bit(a.highest)
			*word &^= bit
		}
	}
	word, bit := a.bit(tsn)
	seen := *word&bit != 0
	*word |= bit
	return !seen
}

func (a *assembler) bit(tsn uint32) (word *uint64, bit uint64) {
	return &a.window[tsn%windowSize/64], 1 << (tsn % 64)
}

// add takes a chunk and returns the message that it completes, if it does.
func (a *assembler) add(c chunk) (chunk, bool) {
	if c.begin && c.end {
		return c, true
	}
	if !a.keep(c) {
		return chunk{}, false
	}
	run := a.run(c.place)
	if run == nil {
		return chunk{}, false
	}
	whole := chunk{payload: run[0].payload}
	for _, fragment := range run {
		whole.data = append(whole.data, fragment.data...)
		a.release(fragment)
	}
	return whole, true
}

// keep lets a fragment wait, if need be in the place of those that do already.
func (a *assembler) keep(c chunk) bool {
	if old, there := a.waiting[c.place]; there {
		a.release(old)
		a.lost++
	}
	if *a.budget < c.cost() {
		a.drop()
	}
	if *a.budget < c.cost() {
		a.lost++
		return false
	}
	*a.budget -= c.cost()
	c.data = slices.Clone(c.data)
	if a.waiting == nil {
		a.waiting = map[place]chunk{}
	}
	a.waiting[c.place] = c
	return true
}

// run returns the fragments of the message that has one at p, in order, if they
// are all there. In a capture without gaps, it is the last one that is awaited.
func (a *assembler) run(p place) []chunk {
	last := a.waiting[p]
	for n := 0; !last.end; n++ {
		next, there := a.waiting[last.place.plus(1)]
		if !there || n == maxFragments {
			return nil
		}
		last = next
	}
	run := []chunk{last}
	for first := last; !first.begin; run = append(run, first) {
		before, there := a.waiting[first.place.plus(-1)]
		if !there || len(run) == maxFragments {
			return nil
		}
		first = before
	}
	slices.Reverse(run)
	return run
}

// release forgets a fragment that waits.
func (a *assembler) release(c chunk) {
	clear(c.data)
	*a.budget += c.cost()
	delete(a.waiting, c.place)
}

// drop gives up what waits.
func (a *assembler) drop() {
	a.lost += uint64(len(a.waiting))
	for _, c := range a.waiting {
		a.release(c)
	}
}

// cost is what a fragment takes of the budget.
func (c chunk) cost() int { return len(c.data) + fragmentOverhead }

func (p place) plus(n int32) place { return place{p.sequence, p.number + uint32(n)} }
