package cxtp

import (
	"slices"
	"time"
)

// Compaction finds out which records of a journal still matter: those without
// which [NewRouter] would answer some question in another way. It keeps of each
// session what decided about the epochs that are answered for, and its last
// record; that is a few places in the journal, not the records themselves.
//
// In a journal, the epochs of a session never go down.
type Compaction struct {
	sessions map[SessionID]*relevant
	records  int // added so far
}

// relevant is the places of one session's records, counted from the journal's
// first.
type relevant struct {
	last    int
	at      time.Time // of the last
	over    bool      // after the last, the session is not here any more
	moved   int       // the last that says "moved"; -1 = none
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
	s := c.sessions[r.Session]
	if s == nil {
		s = &relevant{moved: -1}
		if c.sessions == nil {
			c.sessions = map[SessionID]*relevant{}
		}
		c.sessions[r.Session] = s
	}
	_, lives := afterLoss(r)
	s.last, s.at, s.over = place, at, !lives
	switch r.Kind {
	case RecordMoved:
		s.moved = place
	case RecordMayActivate, RecordRefused, RecordActive, RecordClosed, RecordLost:
		s.decide(decided{r.Epoch, place})
	}
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

// Keep returns the places of the records that matter, counted from 0, in order.
// Of a session that has not been here since the time given, none does: by then
// nobody may have a use for its epochs any more, so that has to be longer ago
// than the hard lifetime of an SA.
func (c *Compaction) Keep(since time.Time) []int {
	var places []int
	for _, s := range c.sessions {
		if s.over && s.at.Before(since) {
			continue
		}
		places = append(places, s.last)
		if s.moved >= 0 {
			places = append(places, s.moved)
		}
		for _, d := range s.decided {
			places = append(places, d.place)
		}
	}
	slices.Sort(places)
	return slices.Compact(places)
}
