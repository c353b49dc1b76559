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

// answer is the first result of an operation, for those who ask again.
type answer struct {
	op       operation
	snapshot features.Snapshot
	err      error
}

// record is what the feature remembers of a session. Whoever holds its turn may
// use it.
type record struct {
	id   cxtp.SessionID
	turn chan struct{} // holds one token while nobody has the turn
	refs int           // callers that have it or wait for it; under records.mu

	epoch   cxtp.Epoch // the highest seen
	answers []answer
	holds   holding
	staged  cxtp.Epoch // the epoch that base was staged for
	base    []stagedSA
	sample  []Dynamic // of the last Renew of what is staged
}

// stagedSA is what dynamic state is checked against. It has no keys.
type stagedSA struct {
	sa      SA     // its name and what decides about counters; nothing else
	ceiling uint64 // the number that an outbound SA does not pass
	bounded bool   // whether a manifest gave a ceiling
}

// stage remembers what was staged, for the final to be checked against.
func (r *record) stage(epoch cxtp.Epoch, s *Session, manifest []cxtp.ManifestEntry) {
	r.holds, r.staged, r.base, r.sample = holdsStaged, epoch, bareSAs(s), nil
	bound(r.base, manifest)
}

// bound notes the ceilings that a manifest gives.
func bound(base []stagedSA, manifest []cxtp.ManifestEntry) {
	ceilings := ceilingsOf(manifest)
	for i := range base {
		if c, ok := ceilings[base[i].sa.ID()]; ok {
			base[i].ceiling, base[i].bounded = c, true
		}
	}
}

// ceilings is what the session's outbound SAs may not pass before the source has
// closed.
func (r *record) ceilings() Ceilings {
	c := Ceilings{}
	for _, b := range r.base {
		if b.bounded {
			c[b.sa.ID()] = b.ceiling
		}
	}
	return c
}

// bareSAs copies of the SAs what [Dynamic.Validate] looks at.
func bareSAs(s *Session) []stagedSA {
	base := make([]stagedSA, len(s.SAs))
	for i := range s.SAs {
		sa := &s.SAs[i]
		base[i].sa = SA{
			Direction:  sa.Direction,
			Protocol:   sa.Protocol,
			SPI:        sa.SPI,
			ESN:        sa.ESN,
			Window:     sa.Window,
			Encryption: Cipher{ID: sa.Encryption.ID, IV: sa.Encryption.IV},
		}
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
		if r.answered(op) == nil {
			return refusal(cxtp.FPTIPsecSession, cxtp.StatusStale, "epoch %d has ended", epoch)
		}
	}
	return nil
}

// answered is the answer to an operation of this epoch, or nil.
func (r *record) answered(op operation) *answer {
	for i := range r.answers {
		if r.answers[i].op == op {
			return &r.answers[i]
		}
	}
	return nil
}

// forget wipes the contexts among the answers and drops the answers.
func (r *record) forget() {
	for len(r.answers) > 0 {
		r.forgetOne(r.answers[0].op)
	}
}

func (r *record) forgetOne(op operation) {
	r.answers = slices.DeleteFunc(r.answers, func(a answer) bool {
		if a.op != op {
			return false
		}
		for _, b := range a.snapshot.Blocks {
			clear(b.Data)
		}
		return true
	})
}

// end forgets the session, which is no longer here: nothing else may happen in
// this epoch.
func (r *record) end() {
	r.forget()
	r.holds, r.base, r.sample = holdsNothing, nil, nil
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
	r := rs.hold(id)
	select {
	case <-r.turn:
		return r, nil
	case <-ctx.Done():
		rs.drop(r)
		return nil, ctx.Err()
	}
}

// leave gives the turn back.
func (rs *records) leave(r *record) {
	r.turn <- struct{}{}
	rs.drop(r)
}

// hold finds or makes the session's record, and keeps it from being evicted.
func (rs *records) hold(id cxtp.SessionID) *record {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r := rs.byID[id]
	if r == nil {
		r = &record{id: id, turn: make(chan struct{}, 1)}
		r.turn <- struct{}{}
		rs.byID[id] = r
		rs.order = append(rs.order, r)
	}
	r.refs++
	return r
}

// drop undoes hold. It looks at two old records at most, so that a gateway full
// of staged sessions does not search all of them each time: two for one that
// hold may have added is enough to get back to the limit.
func (rs *records) drop(r *record) {
	rs.mu.Lock()
	defer rs.mu.Unlock()
	r.refs--
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
