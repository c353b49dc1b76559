package ipsecctx

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
)

// operation is one of the operations of a feature that a repetition must not
// carry out again.
type operation uint8

const (
	opExport operation = iota
	opStage
	opFreeze
	opActivate
	opThaw
	opRedirect
	opClose
	opMerge
	opDoWithout
	opRelease
	opDiscard
	opLimit
	opSample
	opRenew
	opTakeOver
)

// holding is what the gateway has of a session at this end of a move, as far as
// this process knows.
type holding uint8

const (
	holdsUnknown holding = iota // not staged by this process: the backend knows
	holdsStaged
	holdsActive
	holdsFrozen
	holdsNothing // released or discarded in the present epoch
)

// operations is a set of them.
type operations uint32

func (s operations) has(op operation) bool { return s&(1<<op) != 0 }

func (s *operations) add(op operation) { *s |= 1 << op }

// answer is the first result of an operation, for those who ask again: a refusal,
// or something read.
type answer struct {
	op       operation
	snapshot features.Snapshot
	err      error
}

// record is what the feature remembers of a session. Whoever holds its turn may
// use it.
type record struct {
	id   cxtp.SessionID
	refs int           // callers that have its turn or wait for it; under records.mu
	turn chan struct{} // passes the turn on, once somebody has waited for it

	epoch   cxtp.Epoch // the highest seen
	done    operations // succeeded in it, with no more to answer than that
	answers []answer
	holds   holding
	staged  cxtp.Epoch // the epoch that base was staged for
	base    []stagedSA
	changes []cxtp.SPIChange // SPIs that are others here than at the source
	sample  []Dynamic        // of the last Renew of what is staged
}

// stagedSA is what dynamic state is checked against. It has no keys.
type stagedSA struct {
	counting
	ceiling uint64 // the number that an outbound SA does not pass
	bounded bool   // whether a manifest gave a ceiling
}

// stage remembers what was staged, for the final to be checked against.
func (r *record) stage(epoch cxtp.Epoch, base []stagedSA, manifest []cxtp.ManifestEntry) {
	r.holds, r.staged, r.base, r.sample = holdsStaged, epoch, base, nil
	bound(r.base, manifest)
}

// bound notes the ceilings that a manifest gives.
func bound(base []stagedSA, manifest []cxtp.ManifestEntry) {
	for i := range base {
		b := &base[i]
		for _, m := range manifest {
			if manifestID(m) == b.id && b.id.Direction == Outbound {
				b.ceiling, b.bounded = m.Ceiling, true
			}
		}
	}
}

// ceilings is what the session's outbound SAs may not pass before the source has
// closed.
func (r *record) ceilings() Ceilings {
	c := Ceilings{}
	for _, b := range r.base {
		if b.bounded {
			c[b.id] = b.ceiling
		}
	}
	return c
}

// bareSAs copies of the SAs what dynamic state is checked against.
func bareSAs(s *Session) []stagedSA {
	base := make([]stagedSA, len(s.SAs))
	for i := range s.SAs {
		base[i].counting = s.SAs[i].counting()
	}
	return base
}

// admit decides whether an operation of this epoch may still run. A merge may
// come late, when the session is already on its way onward.
func (r *record) admit(op operation, epoch cxtp.Epoch) error {
	late := op == opMerge && r.holds == holdsActive && epoch == r.staged
	switch {
	case epoch < r.epoch && !late:
		return refusal(cxtp.FPTIPsecSession, cxtp.StatusStale, "epoch %d is over: %d has been seen", epoch, r.epoch)
	case epoch > r.epoch:
		r.forget()
		r.epoch = epoch
		if r.holds == holdsNothing {
			r.holds = holdsUnknown
		}
	case r.holds == holdsNothing:
		if !r.answered(op) {
			return refusal(cxtp.FPTIPsecSession, cxtp.StatusStale, "epoch %d has ended", epoch)
		}
	}
	return nil
}

// answered reports whether an operation of this epoch has its answer.
func (r *record) answered(op operation) bool {
	return r.done.has(op) || slices.ContainsFunc(r.answers, func(a answer) bool { return a.op == op })
}

// answer gives that answer again.
func (r *record) answer(op operation) (features.Snapshot, error) {
	for _, a := range r.answers {
		if a.op == op {
			return copySnapshot(a.snapshot), a.err
		}
	}
	return features.Snapshot{}, nil
}

// settle keeps the answer to an operation.
func (r *record) settle(op operation, s features.Snapshot, err error) {
	if err == nil && len(s.Blocks) == 0 && len(s.Manifest) == 0 {
		r.done.add(op)
		return
	}
	r.answers = append(r.answers, answer{op, copySnapshot(s), err})
}

// forget wipes the contexts among the answers and drops the answers.
func (r *record) forget() {
	for i := range r.answers {
		r.answers[i].wipe()
	}
	r.done, r.answers = 0, nil
}

// forgetOne is forget for an operation that has something in its answer.
func (r *record) forgetOne(op operation) {
	r.answers = slices.DeleteFunc(r.answers, func(a answer) bool {
		if a.op != op {
			return false
		}
		a.wipe()
		return true
	})
}

func (a *answer) wipe() {
	for _, b := range a.snapshot.Blocks {
		clear(b.Data)
	}
}

// end forgets the session, which is no longer here: nothing else may happen in
// this epoch.
func (r *record) end() {
	r.forget()
	r.holds, r.base, r.changes, r.sample = holdsNothing, nil, nil, nil
}

// records are the sessions that the feature has seen, those that have ended
// among them for the sake of their epochs. Beyond the limit the oldest go that
// have nothing staged or frozen. (An active one may have ended since without a
// move, and nobody says so.)
type records struct {
	mu    sync.Mutex
	byID  map[cxtp.SessionID]*record
	order []*record // oldest first
	limit int
}

// enter waits for the session's turn.
func (rs *records) enter(ctx context.Context, id cxtp.SessionID) (*record, error) {
	r, turn := rs.hold(id)
	if turn == nil {
		return r, nil
	}
	select {
	case <-turn:
		return r, nil
	case <-ctx.Done():
		rs.drop(r, false)
		return nil, ctx.Err()
	}
}

// leave gives the turn back.
func (rs *records) leave(r *record) { rs.drop(r, true) }

// hold finds or makes the session's record, and keeps it from being evicted. The
// caller has the turn, unless there is a channel to wait for it on.
func (rs *records) hold(id cxtp.SessionID) (r *record, turn <-chan struct{}) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r = rs.byID[id]
	if r == nil {
		r = &record{id: id}
		rs.byID[id] = r
		rs.order = append(rs.order, r)
	}
	r.refs++
	if r.refs > 1 && r.turn == nil {
		r.turn = make(chan struct{}, 1)
	}
	return r, r.turn
}

// drop undoes hold, and passes on the turn of a caller that had it. It looks at
// two old records at most, so that a gateway full of staged sessions does not
// search all of them each time: two for one that hold may have added is enough
// to get back to the limit.
func (rs *records) drop(r *record, turn bool) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r.refs--
	switch {
	case r.refs == 0:
		r.turn = nil
	case turn:
		r.turn <- struct{}{} // has room: there is one turn
	}
	for range 2 {
		if len(rs.order) <= rs.limit {
			return
		}
		oldest := rs.order[0]
		rs.order = rs.order[1:]
		if !oldest.evictable() {
			rs.order = append(rs.order, oldest)
			continue
		}
		oldest.forget()
		delete(rs.byID, oldest.id)
	}
}

func (r *record) evictable() bool {
	return r.refs == 0 && r.holds != holdsStaged && r.holds != holdsFrozen
}

// settled reports whether a result is the answer for good: a success or a
// refusal. Anything else (a kernel that was busy, a context that ran out) may be
// tried again.
func settled(err error) bool {
	var refusal *features.Error
	return err == nil || errors.As(err, &refusal)
}
