// Package ledger is a feature's memory of the moves that it has taken part in:
// it lets a session's operations take turns, answers repetitions as they were
// answered the first time, and refuses epochs that are over. A feature that
// keeps one carries out each thing once.
//
// What a feature itself wants to remember of a session it puts into a type that
// embeds [Record]; see [New].
package ledger

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
	"github.com/cxtp/cxtp/features/profile"
)

// DefaultLimit is the number of sessions of a large gateway.
const DefaultLimit = 65536

// Ledger has the records of the sessions that a feature has seen, those that
// have ended among them for the sake of their epochs. Beyond the limit the oldest
// go that have nothing staged or frozen. (An active one may have ended since
// without a move, and nobody says so.)
type Ledger[R any, P entry[R]] struct {
	fpt   cxtp.FPT // to blame for what comes too late
	limit int

	mu    sync.Mutex
	byID  map[cxtp.SessionID]P
	order []P // oldest first
}

// entry is a pointer to a type that embeds [Record].
type entry[R any] interface {
	*R
	record() *Record
}

// New makes a ledger whose records are of type R, which embeds [Record]. The
// limit is the number of sessions to remember, 0 for DefaultLimit; more are kept
// only while they are staged or frozen. Refusals blame the context type fpt.
func New[R any, P entry[R]](fpt cxtp.FPT, limit int) *Ledger[R, P] {
	if limit == 0 {
		limit = DefaultLimit
	}
	return &Ledger[R, P]{fpt: fpt, limit: limit, byID: map[cxtp.SessionID]P{}}
}

// Once runs an operation in the session's turn, unless it has been answered for
// this Ref.
func (l *Ledger[R, P]) Once(ctx context.Context, ref features.Ref, op Operation, run func(P) (features.Snapshot, error)) (features.Snapshot, error) {
	p, err := l.enter(ctx, ref.Session)
	if err != nil {
		return features.Snapshot{}, fmt.Errorf("failed to wait for the session's turn: %w", err)
	}
	defer l.leave(p)
	r := p.record()
	if err := r.admit(l.fpt, op, ref.Epoch); err != nil {
		return features.Snapshot{}, err
	}
	if r.answered(op) {
		return r.answer(op)
	}
	snapshot, err := run(p)
	if settled(err) {
		r.settle(op, snapshot, err)
	}
	return snapshot, err
}

// Do is Once for an operation that reads nothing.
func (l *Ledger[R, P]) Do(ctx context.Context, ref features.Ref, op Operation, run func(P) error) error {
	_, err := l.Once(ctx, ref, op, func(p P) (features.Snapshot, error) {
		return features.Snapshot{}, run(p)
	})
	return err
}

// Turn runs an operation in the session's turn each time that it is asked for.
func (l *Ledger[R, P]) Turn(ctx context.Context, ref features.Ref, op Operation, run func(P) error) error {
	p, err := l.enter(ctx, ref.Session)
	if err != nil {
		return fmt.Errorf("failed to wait for the session's turn: %w", err)
	}
	defer l.leave(p)
	if err := p.record().admit(l.fpt, op, ref.Epoch); err != nil {
		return err
	}
	return run(p)
}

// Look shows the record of a session, in its turn.
func (l *Ledger[R, P]) Look(id cxtp.SessionID, show func(P)) {
	p, err := l.enter(context.Background(), id)
	if err != nil {
		return
	}
	defer l.leave(p)
	show(p)
}

// enter waits for the session's turn.
func (l *Ledger[R, P]) enter(ctx context.Context, id cxtp.SessionID) (P, error) {
	p, turn := l.hold(id)
	if turn == nil {
		return p, nil
	}
	select {
	case <-turn:
		return p, nil
	case <-ctx.Done():
		l.drop(p, false)
		return nil, ctx.Err()
	}
}

// leave gives the turn back.
func (l *Ledger[R, P]) leave(p P) { l.drop(p, true) }

// hold finds or makes the session's record, and keeps it from being evicted. The
// caller has the turn, unless there is a channel to wait for it on.
func (l *Ledger[R, P]) hold(id cxtp.SessionID) (p P, turn <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p = l.byID[id]
	if p == nil {
		p = new(R)
		p.record().ID = id
		l.byID[id] = p
		l.order = append(l.order, p)
	}
	r := p.record()
	r.refs++
	if r.refs > 1 && r.turn == nil {
		r.turn = make(chan struct{}, 1)
	}
	return p, r.turn
}

// drop undoes hold, and passes on the turn of a caller that had it. It looks at
// two old records at most, so that a gateway full of staged sessions does not
// search all of them each time: two for one that hold may have added is enough
// to get back to the limit.
func (l *Ledger[R, P]) drop(p P, turn bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := p.record()
	r.refs--
	switch {
	case r.refs == 0:
		r.turn = nil
	case turn:
		r.turn <- struct{}{} // has room: there is one turn
	}
	for range 2 {
		if len(l.order) <= l.limit {
			return
		}
		oldest := l.order[0]
		l.order = l.order[1:]
		if !oldest.record().evictable() {
			l.order = append(l.order, oldest)
			continue
		}
		oldest.record().forget()
		delete(l.byID, oldest.record().ID)
	}
}

// settled reports whether a result is the answer for good: a success or a
// refusal. Anything else (a kernel that was busy, a context that ran out) may be
// tried again.
func settled(err error) bool {
	var refusal *features.Error
	return err == nil || errors.As(err, &refusal)
}

func copySnapshot(s features.Snapshot) features.Snapshot {
	s.Blocks, s.Manifest = slices.Clone(s.Blocks), slices.Clone(s.Manifest)
	profile.Own(s.Blocks)
	return s
}
