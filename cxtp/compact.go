package cxtp

import (
	"math/bits"
	"slices"
	"time"
)

// Compaction knows which records of a journal still matter: those without which
// [NewRouter] would answer some question in another way. It remembers of each
// session the places of its last record and of those that decided about the
// epochs that are answered for, some 100 octets, and not the records.
//
// A place is a record's number in the journal, counted from 0. In a journal, the
// epochs of a session never go down.
type Compaction struct {
	sessions map[SessionID]relevant
	records  int
}

// relevant is the places of one session's records.
type relevant struct {
	last    int
	moved   int       // the last that says "moved"; -1 = none
	at      int64     // when the last was written, in seconds of Unix time
	over    bool      // after the last, the session is not here any more
	decided []decided // the last about each epoch that was staged here, oldest first
}

type decided struct {
	epoch Epoch
	place int
}

// Add takes the journal's next record, and when it was written.
func (c *Compaction) Add(r Record, at time.Time) {
	place := c.records
	c.records++
	if c.sessions == nil {
		c.sessions = map[SessionID]relevant{}
	}
	s, known := c.sessions[r.Session]
	if !known {
		s.moved = -1
	}
	_, lives := afterLoss(r)
	s.last, s.at, s.over = place, at.Unix(), !lives
	switch r.Kind {
	case RecordMoved:
		s.moved = place
	case RecordMayActivate, RecordRefused, RecordActive, RecordClosed, RecordLost:
		s.decide(decided{r.Epoch, place})
	}
	c.sessions[r.Session] = s
}

func (s *relevant) decide(d decided) {
	if n := len(s.decided); n > 0 && s.decided[n-1].epoch == d.epoch {
		s.decided[n-1] = d
		return
	}
	if len(s.decided) == maxAnswered {
		s.decided = slices.Delete(s.decided, 0, 1)
	}
	s.decided = append(s.decided, d)
}

// places calls f with each place that matters, and puts what it returns there.
func (s *relevant) places(f func(int) int) {
	s.last = f(s.last)
	if s.moved >= 0 {
		s.moved = f(s.moved)
	}
	for i := range s.decided {
		s.decided[i].place = f(s.decided[i].place)
	}
}

// Keep returns the places of the records that matter. A session that ended here
// before the time given is forgotten. By then nobody may have a use for its
// epochs any more: that has to be longer ago than the hard lifetime of an SA.
func (c *Compaction) Keep(since time.Time) *Places {
	p := newPlaces(c.records)
	for id, s := range c.sessions {
		if s.over && s.at < since.Unix() {
			delete(c.sessions, id)
			continue
		}
		s.places(func(place int) int { p.add(place); return place })
	}
	p.count()
	return p
}

// Kept says that of the records that had been added when Keep returned p, the
// journal now has only those of p. Records that were added since follow them.
func (c *Compaction) Kept(p *Places) {
	for id, s := range c.sessions {
		s.places(p.rank)
		c.sessions[id] = s
	}
	c.records = p.rank(c.records)
}

// Places is a set of places among the first records of a journal.
type Places struct {
	records int
	words   []uint64
	below   []int // how many are in the words before each, and in all
}

func newPlaces(records int) *Places {
	return &Places{records: records, words: make([]uint64, (records+63)/64)}
}

func (p *Places) add(place int) { p.words[place/64] |= 1 << (place % 64) }

// count makes rank ready.
func (p *Places) count() {
	p.below = make([]int, 1, len(p.words)+1)
	for i, w := range p.words {
		p.below = append(p.below, p.below[i]+bits.OnesCount64(w))
	}
}

// Len is how many places there are.
func (p *Places) Len() int { return p.below[len(p.words)] }

// Has reports whether a place is one of them.
func (p *Places) Has(place int) bool {
	return place < p.records && p.words[place/64]&(1<<(place%64)) != 0
}

// rank is the place that a record has once all before it that are not in the set
// have gone.
func (p *Places) rank(place int) int {
	if place >= p.records {
		return place - p.records + p.Len()
	}
	return p.below[place/64] + bits.OnesCount64(p.words[place/64]&(1<<(place%64)-1))
}
