package cxtp

import (
	"maps"
	"slices"
)

// restore rebuilds what the journal lets this router answer for, and returns
// the records that the loss of the data plane adds.
func (r *Router) restore(journal []Record) []Record {
	last := map[SessionID]Record{}
	for _, rec := range journal {
		s := r.session(rec.Session, rec.Previous)
		s.epoch = max(s.epoch, rec.Epoch)
		switch rec.Kind {
		case RecordMayActivate:
			s.remember(rec.Epoch, OutcomeLost) // until a later record knows better
		case RecordRefused:
			s.remember(rec.Epoch, OutcomeRefused)
		case RecordActive:
			s.remember(rec.Epoch, OutcomeActive)
		case RecordClosed:
			s.remember(rec.Epoch, OutcomeClosed)
		case RecordLost:
			s.remember(rec.Epoch, OutcomeLost)
		case RecordMoved:
			s.remove()
		}
		last[rec.Session] = rec
	}
	var added []Record
	for _, id := range slices.SortedFunc(maps.Keys(last), SessionID.compare) {
		rec := last[id]
		if after, changed := afterLoss(rec); changed {
			added = append(added, after)
			if after.Kind == RecordLost {
				r.sessions[id].remember(rec.Epoch, OutcomeLost)
			}
		}
	}
	return added
}

// afterLoss is what becomes of a session whose last record is rec when its SAs
// are gone.
func afterLoss(rec Record) (Record, bool) {
	next := Record{Session: rec.Session, Epoch: rec.Epoch, Previous: rec.Previous, Peer: rec.Peer}
	switch rec.Kind {
	case RecordMayActivate:
		next.Kind = RecordLost
	case RecordOwned, RecordAllocated, RecordThawed, RecordActive, RecordClosed, RecordGranted:
		next.Kind, next.Why = RecordEnded, "the gateway restarted, and its SAs were in its memory"
	default:
		return Record{}, false
	}
	return next, true
}
