package cxtp

import "time"

// SequenceLife is how long a sequence number is not drawn again after its use
// (RFC 4067 section 3.2).
const SequenceLife = 7 * time.Second

// Sequences draws the sequence numbers of requests, of a node's CTARs or of a
// router's own CT-Reqs. Not safe for concurrent use.
type Sequences struct {
	random func() uint32
	recent map[uint32]int // how many of the uses below are of this number
	uses   []sequenceUse  // oldest first
}

type sequenceUse struct {
	number uint32
	at     time.Time
}

// NewSequences draws from random, which nobody outside may be able to foresee.
func NewSequences(random func() uint32) *Sequences {
	return &Sequences{random: random, recent: map[uint32]int{}}
}

// Draw gives a number that is random, not 0, and not used in the last
// [SequenceLife].
func (q *Sequences) Draw(now time.Time) uint32 {
	q.forget(now)
	n := q.random()
	for n == 0 || q.recent[n] > 0 {
		n++
	}
	q.Use(now, n)
	return n
}

// Use notes a number that was drawn elsewhere, or is used once more: both halves
// of a predictive request have the same.
func (q *Sequences) Use(now time.Time, number uint32) {
	q.forget(now)
	q.uses = append(q.uses, sequenceUse{number, now})
	q.recent[number]++
}

// forget drops the uses that are old enough.
func (q *Sequences) forget(now time.Time) {
	for len(q.uses) > 0 && now.Sub(q.uses[0].at) > SequenceLife {
		n := q.uses[0].number
		if q.recent[n]--; q.recent[n] == 0 {
			delete(q.recent, n)
		}
		q.uses = q.uses[1:]
	}
}
