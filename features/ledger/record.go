package ledger

import (
	"errors"
	"slices"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
)

// Operation is one of the operations of a feature that a repetition must not
// carry out again.
type Operation uint8

const (
	Export Operation = iota
	Stage
	Freeze
	Activate
	Thaw
	Redirect
	Close
	Merge
	DoWithout // a Merge without anything to merge
	Release
	Discard
	Limit
	Sample
	Renew
	TakeOver
)

// Holding is what the gateway has of a session at this end of a move, as far as
// this process knows.
type Holding uint8

const (
	HoldsUnknown Holding = iota // not staged by this process: the gateway knows
	HoldsStaged
	HoldsActive
	HoldsFrozen
	HoldsNothing // released or discarded in the present epoch
)

// Record is what is remembered of a session. Whoever has its turn may use it.
type Record struct {
	ID     cxtp.SessionID
	Holds  Holding
	Staged cxtp.Epoch // the epoch of the last stage

	refs    int           // callers that have its turn or wait for it; under the ledger's mu
	turn    chan struct{} // passes the turn on, once somebody has waited for it
	epoch   cxtp.Epoch    // the highest seen
	done    operations    // succeeded in it, with no more to answer than that
	answers []answer
}

// operations is a set of them.
type operations uint32

func (s operations) has(op Operation) bool { return s&(1<<op) != 0 }

func (s *operations) add(op Operation) { *s |= 1 << op }

// answer is the first result of an operation, for those who ask again: a refusal,
// or something read.
type answer struct {
	op       Operation
	snapshot features.Snapshot
	err      error
}

func (r *Record) record() *Record { return r }

// IsStaged reports whether the session is staged here for this epoch.
func (r *Record) IsStaged(epoch cxtp.Epoch) bool {
	return r.Holds == HoldsStaged && r.Staged == epoch
}

// Keeps reports whether a Discard of this epoch has nothing to do, because the
// session is active or frozen here. That is an error if it became so in the same
// epoch.
func (r *Record) Keeps(epoch cxtp.Epoch) (bool, error) {
	if r.Holds != HoldsActive && r.Holds != HoldsFrozen {
		return false, nil
	}
	if r.Staged == epoch {
		return true, errors.New("failed to discard: the session is active, and no longer only staged")
	}
	return true, nil
}

// ForgetAnswer has the next repetition of an operation carried out anew, and
// wipes what was read.
func (r *Record) ForgetAnswer(op Operation) {
	r.answers = slices.DeleteFunc(r.answers, func(a answer) bool {
		if a.op != op {
			return false
		}
		a.wipe()
		return true
	})
}

// End forgets the session, which is no longer here: nothing else may happen in
// this epoch.
func (r *Record) End() {
	r.forget()
	r.Holds = HoldsNothing
}

// admit decides whether an operation of this epoch may still run. A merge may
// come late, when the session is already on its way onward.
func (r *Record) admit(fpt cxtp.FPT, op Operation, epoch cxtp.Epoch) error {
	late := op == Merge && r.Holds == HoldsActive && epoch == r.Staged
	switch {
	case epoch < r.epoch && !late:
		return features.Refuse(fpt, cxtp.StatusStale, "epoch %d is over: %d has been seen", epoch, r.epoch)
	case epoch > r.epoch:
		r.forget()
		r.epoch = epoch
		if r.Holds == HoldsNothing {
			r.Holds = HoldsUnknown
		}
	case r.Holds == HoldsNothing:
		if !r.answered(op) {
			return features.Refuse(fpt, cxtp.StatusStale, "epoch %d has ended", epoch)
		}
	}
	return nil
}

// answered reports whether an operation of this epoch has its answer.
func (r *Record) answered(op Operation) bool {
	return r.done.has(op) || slices.ContainsFunc(r.answers, func(a answer) bool { return a.op == op })
}

// answer gives that answer again.
func (r *Record) answer(op Operation) (features.Snapshot, error) {
	for _, a := range r.answers {
		if a.op == op {
			return copySnapshot(a.snapshot), a.err
		}
	}
	return features.Snapshot{}, nil
}

// settle keeps the answer to an operation.
func (r *Record) settle(op Operation, s features.Snapshot, err error) {
	if err == nil && len(s.Blocks) == 0 && len(s.Manifest) == 0 {
		r.done.add(op)
		return
	}
	r.answers = append(r.answers, answer{op, copySnapshot(s), err})
}

// forget wipes the contexts among the answers and drops the answers.
func (r *Record) forget() {
	for i := range r.answers {
		r.answers[i].wipe()
	}
	r.done, r.answers = 0, nil
}

func (a *answer) wipe() {
	for _, b := range a.snapshot.Blocks {
		clear(b.Data)
	}
}

func (r *Record) evictable() bool {
	return r.refs == 0 && r.Holds != HoldsStaged && r.Holds != HoldsFrozen
}
