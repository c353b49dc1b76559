package ledger

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
	"github.com/cxtp/cxtp/features/featuretest"
)

// memory is what a feature might remember.
type memory struct {
	Record
	note string
}

func newLedger(limit int) *Ledger[memory, *memory] { return New[memory](cxtp.FPTIPsecSession, limit) }

var ref, status = featuretest.Ref, featuretest.Status

func nothing(*memory) error { return nil }

// keysRead reads a block of keys.
func keysRead(*memory) (features.Snapshot, error) {
	return features.Snapshot{Blocks: []cxtp.CDB{{FPT: cxtp.FPTIPsecSA, Data: []byte("keys")}}}, nil
}

// TestAnswersAreRepeated: what was read, or refused, is the answer for good; a
// failure is not.
func TestAnswersAreRepeated(t *testing.T) {
	l := newLedger(0)
	first, err := l.Once(t.Context(), ref(1), Export, keysRead)
	if err != nil {
		t.Fatal(err)
	}
	clear(first.Blocks[0].Data) // the caller's copy
	for _, c := range []struct {
		op    Operation
		err   error
		again bool
	}{
		{Export, nil, false},
		{Stage, features.Refuse(1, cxtp.StatusAlgorithm, "no"), false},
		{Freeze, nil, false},
		{Thaw, errors.New("busy"), true},
	} {
		times := 0
		var s features.Snapshot
		for range 2 {
			if s, err = l.Once(t.Context(), ref(1), c.op, func(*memory) (features.Snapshot, error) { times++; return features.Snapshot{}, c.err }); err != c.err {
				t.Errorf("operation %d: error %v, want %v", c.op, err, c.err)
			}
		}
		if c.op == Export && (times > 0 || string(s.Blocks[0].Data) != "keys") {
			t.Errorf("read %d times again, %q", times, s.Blocks[0].Data)
		}
		if (times == 2) != c.again {
			t.Errorf("operation %d was carried out %d times", c.op, times)
		}
	}
	times := 0
	for range 2 {
		if err := l.Turn(t.Context(), ref(1), Sample, func(*memory) error { times++; return nil }); err != nil {
			t.Error(err)
		}
	}
	if times != 2 {
		t.Errorf("a turn was given %d times, want each time", times)
	}
}

// TestEpochsEnd: an older epoch is over, but for a late merge into what is
// active; an epoch that has ended takes nothing more.
func TestEpochsEnd(t *testing.T) {
	l := newLedger(0)
	if err := l.Do(t.Context(), ref(5), Activate, func(m *memory) error { m.Holds, m.Staged, m.note = HoldsActive, 5, "kept"; return nil }); err != nil {
		t.Fatal(err)
	}
	if err := l.Do(t.Context(), ref(6), Export, nothing); err != nil {
		t.Fatal(err)
	}
	if err := l.Do(t.Context(), ref(5), Merge, nothing); err != nil {
		t.Errorf("a late merge: %v", err)
	}
	if err := l.Do(t.Context(), ref(5), Close, nothing); status(err) != cxtp.StatusStale {
		t.Errorf("another operation of an older epoch: %v, want StatusStale", err)
	}
	release := func(m *memory) error { m.End(); return nil }
	for range 2 {
		if err := l.Do(t.Context(), ref(6), Release, release); err != nil {
			t.Errorf("released: %v", err)
		}
	}
	if err := l.Turn(t.Context(), ref(6), Limit, nothing); status(err) != cxtp.StatusStale {
		t.Errorf("after the end: %v, want StatusStale", err)
	}
	if err := l.Do(t.Context(), ref(7), Stage, nothing); err != nil {
		t.Errorf("a fresh epoch: %v", err)
	}
	l.Look(ref(7).Session, func(m *memory) {
		if m.note != "kept" || m.Holds != HoldsUnknown || m.IsStaged(5) {
			t.Errorf("remembered %+v", m)
		}
	})
}

// TestKeptKeysAreWiped looks at the copies that are kept for repetitions.
func TestKeptKeysAreWiped(t *testing.T) {
	ctx := t.Context()
	for name, end := range map[string]func(*Ledger[memory, *memory]) error{
		"end": func(l *Ledger[memory, *memory]) error {
			return l.Do(ctx, ref(1), Release, func(m *memory) error { m.End(); return nil })
		},
		"one": func(l *Ledger[memory, *memory]) error {
			return l.Do(ctx, ref(1), Thaw, func(m *memory) error { m.ForgetAnswer(Export); return nil })
		},
		"later epoch": func(l *Ledger[memory, *memory]) error { return l.Do(ctx, ref(2), Freeze, nothing) },
		"eviction": func(l *Ledger[memory, *memory]) error {
			return l.Do(ctx, features.Ref{Session: cxtp.SessionID{8}, Epoch: 1}, Export, nothing)
		},
	} {
		l := newLedger(1)
		if _, err := l.Once(ctx, ref(1), Export, keysRead); err != nil {
			t.Fatal(err)
		}
		kept := l.byID[ref(1).Session].answers[0].snapshot.Blocks[0].Data
		if string(kept) != "keys" {
			t.Fatalf("%s: %q kept", name, kept)
		}
		if err := end(l); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if !bytes.Equal(kept, make([]byte, len(kept))) {
			t.Errorf("after %s, a kept block is not wiped", name)
		}
	}
}

// TestMemoryIsBounded: refused strangers do not fill it, and what is staged is
// not forgotten for their sake.
func TestMemoryIsBounded(t *testing.T) {
	ctx := t.Context()
	l := newLedger(8)
	if err := l.Do(ctx, ref(1), Stage, func(m *memory) error { m.Holds, m.Staged = HoldsStaged, 1; return nil }); err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		stranger := features.Ref{Session: cxtp.SessionID{9, byte(i), byte(i >> 8)}, Epoch: 1}
		if err := l.Do(ctx, stranger, Stage, func(*memory) error { return features.Refuse(1, cxtp.StatusMalformed, "nonsense") }); err == nil {
			t.Fatal("staged nonsense")
		}
	}
	if n := len(l.byID); n > 8 || len(l.order) != n {
		t.Errorf("%d sessions remembered in %d places, want at most 8", n, len(l.order))
	}
	l.Look(ref(1).Session, func(m *memory) {
		if !m.IsStaged(1) {
			t.Error("the staged session is forgotten")
		}
	})
}

// TestTurns: operations on one session wait for each other, those on another do
// not, and waiting ends with the context.
func TestTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLedger(0)
		hold := make(chan struct{})
		var order []string
		thaw := func(*memory) error { order = append(order, "thaw"); return nil }
		done := make(chan error, 2)
		go func() {
			done <- l.Do(t.Context(), ref(1), Freeze, func(*memory) error { <-hold; order = append(order, "freeze"); return nil })
		}()
		synctest.Wait() // the freeze is under way
		go func() { done <- l.Do(t.Context(), ref(1), Thaw, thaw) }()
		synctest.Wait()
		if len(done) > 0 {
			t.Error("an operation did not wait for the session's turn")
		}
		other := features.Ref{Session: cxtp.SessionID{8}, Epoch: 1}
		if err := l.Do(t.Context(), other, Thaw, thaw); err != nil {
			t.Errorf("another session: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := l.Do(ctx, ref(1), Thaw, thaw); !errors.Is(err, context.Canceled) {
			t.Errorf("waited with a cancelled context: %v", err)
		}
		close(hold)
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if want := []string{"thaw", "freeze", "thaw"}; !slices.Equal(order, want) {
			t.Errorf("order %v, want %v", order, want)
		}
		if err := l.Do(t.Context(), ref(2), Thaw, thaw); err != nil {
			t.Errorf("when nobody has the turn any more: %v", err)
		}
	})
}
