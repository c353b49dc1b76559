package cxtp

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"
	"time"
)

// restore rebuilds what the journal lets this router answer for, and returns
// the records that the loss of SAs adds. Sessions whose SAs are still there are
// resumed by the first Tick.
func (r *Router) restore(journal []Record, held []Held) []Record {
	last := map[SessionID]Record{}
	for _, rec := range journal {
		s := r.session(rec.Session, rec.Previous)
		s.epoch = max(s.epoch, rec.Epoch)
		if rec.Kind >= RecordMayActivate {
			s.from = rec.Peer // a target's record
		}
		s.plain = rec.Plain
		switch rec.Kind {
		case RecordMayActivate:
			s.remember(rec.Epoch, OutcomeLost) // until a later record knows better
		case RecordRefused:
			s.remember(rec.Epoch, OutcomeRefused)
			s.why = cmp.Or(s.why, rec.Why)
		case RecordActive:
			s.remember(rec.Epoch, OutcomeActive)
		case RecordClosed:
			s.remember(rec.Epoch, OutcomeClosed)
		case RecordLost:
			s.remember(rec.Epoch, OutcomeLost)
		case RecordMoved:
			s.remove()
			s.why = movedTo(rec.Peer)
		case RecordEnded:
			s.why = rec.Why
		}
		last[rec.Session] = rec
	}
	for _, h := range held {
		// Of SAs without any record not even the address is known.
		s := r.session(h.Session, cmp.Or(last[h.Session].Previous, netip.IPv4Unspecified()))
		r.with(s, func() { s.found(h, last[h.Session]) })
	}
	var added []Record
	for _, id := range slices.SortedFunc(maps.Keys(last), SessionID.compare) {
		rec, s := last[id], r.sessions[id]
		if s.state == stateResuming {
			continue
		}
		if after, changed := afterLoss(rec); changed {
			added = append(added, after)
			s.why = after.Why
			if after.Kind == RecordLost {
				s.remember(rec.Epoch, OutcomeLost)
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
		next.Kind, next.Why = RecordEnded, "the gateway restarted, and its SAs were gone"
	default:
		return Record{}, false
	}
	return next, true
}

// found puts a session whose SAs are still there where its last record says that
// it stood. The node's keys were in the daemon's memory, and are gone; that it
// has an agent is in the record.
func (s *Session) found(h Held, last Record) {
	s.claims, s.held, s.node.Agent = h.Claims, h.State, last.Agent
	s.rest(stateResuming, 0)
	s.deadline = time.Unix(0, 1) // long due: the first Tick goes on
	switch last.Kind {
	case RecordAllocated:
		if last.Standby {
			s.src = &outgoing{epoch: last.Epoch, to: last.Peer, standby: true, manifest: []ManifestEntry{}}
		}
	case RecordGranted:
		s.src = &outgoing{epoch: last.Epoch, to: last.Peer, ordered: true, manifest: last.Ceilings,
			digest: last.Digest, incarnation: last.Incarnation, leaseRanOut: last.Standby && s.cfg.Timers.Lease > 0}
		// A final follows a freeze: beside SAs at work none has left that could still count.
		s.src.unsaid = h.State == HeldActive && !s.src.leaseRanOut
	case RecordMayActivate, RecordActive:
		s.tgt = &incoming{epoch: last.Epoch, from: last.Peer, ceilings: last.Ceilings}
		s.from = last.Peer
	case RecordThawed:
		s.src = &outgoing{epoch: last.Epoch, to: last.Peer, manifest: append([]ManifestEntry{}, last.Ceilings...), thawing: true}
	case RecordOwned, RecordClosed:
	default: // over, and the SAs are left over
		s.held = HeldNothing
		s.node = NodeState{}
	}
}

// resume goes on after a restart with what was found.
func (s *Session) resume() {
	held := s.held
	s.held = HeldNothing
	switch {
	case held == HeldNothing:
		s.act(Do{Op: s.op(), Verb: VerbRelease, Session: s.id, Epoch: s.epoch, Mode: s.cfg.Mode})
		s.rest(stateNone, s.cfg.Timers.Remember)
	case s.tgt != nil && held == HeldStaged:
		// The mark is the evidence that nothing was sent: it may be refused.
		s.refuse(StatusNoBase, "the gateway restarted while the session was staged")
	case s.tgt != nil:
		s.activated()
	case s.src == nil:
		s.limit(nil)
		s.own()
	case s.src.standby && (s.cfg.Timers.Lease > 0 || held == HeldFrozen):
		s.src.leaseRanOut = true // it may have, meanwhile
		s.yield()
	case s.src.standby:
		s.retract()
	case s.src.thawing && held == HeldFrozen:
		s.limit(nil)
		s.do(stateThawing, Do{Verb: VerbThaw, Epoch: s.src.epoch, Manifest: s.src.manifest})
	case s.src.thawing:
		s.fail(EventThawed, nil, "the target had refused, or was fenced, before the restart")
	default:
		// Granted: whether the freeze, the final or more was reached does not
		// matter, each of them can be done again.
		s.src.started = s.now
		s.do(stateFreezing, Do{Verb: VerbFreeze, Epoch: s.src.epoch, Peer: s.src.to})
	}
}
