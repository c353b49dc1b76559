package ipsecctx

import (
	"errors"
	"slices"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
)

func TestEpochs(t *testing.T) {
	ctx := t.Context()
	b := newFake()
	f := NewFeature(b, Options{})
	if err := f.Stage(ctx, ref(5), exported(t)); err != nil {
		t.Fatal(err)
	}
	for name, op := range map[string]func() error{
		"stage":    func() error { return f.Stage(ctx, ref(4), exported(t)) },
		"activate": func() error { return f.Activate(ctx, ref(4), nil) },
		"thaw":     func() error { return f.Thaw(ctx, ref(4), nil) },
		"redirect": func() error { return f.Redirect(ctx, ref(4), "sg") },
		"merge":    func() error { return f.Merge(ctx, ref(4), nil) },
		"release":  func() error { return f.Release(ctx, ref(4)) },
		"discard":  func() error { return f.Discard(ctx, ref(4)) },
		"export":   func() error { _, err := f.Export(ctx, ref(4), nil); return err },
		"freeze":   func() error { _, err := f.Freeze(ctx, ref(4)); return err },
		"close":    func() error { _, err := f.Close(ctx, ref(4)); return err },
	} {
		if err := op(); status(err) != cxtp.StatusStale {
			t.Errorf("%s of an older epoch: %v, want StatusStale", name, err)
		}
	}
	if calls := b.Since(); !slices.Equal(calls, []string{"stage"}) {
		t.Errorf("the backend was asked for %v", calls)
	}
	// A newer stage takes the place of one that nobody discarded.
	if err := f.Stage(ctx, ref(6), exported(t)); err != nil {
		t.Fatal(err)
	}
	if calls := b.Since(); !slices.Equal(calls, []string{"stage"}) {
		t.Errorf("staged anew by %v, want no moment without a policy", calls)
	}
	// One that fails leaves nothing behind.
	if err := f.Stage(ctx, ref(7), features.Staging{Blocks: make([]cxtp.CDB, 1)}); err == nil {
		t.Error("staged nonsense")
	}
	if calls := b.Since(); !slices.Equal(calls, []string{"discard"}) {
		t.Errorf("after a stage that failed: %v, want what was staged before discarded", calls)
	}
	// What has been discarded is not staged again by a late repetition.
	if err := errors.Join(f.Stage(ctx, ref(8), exported(t)), f.Discard(ctx, ref(8))); err != nil {
		t.Fatal(err)
	}
	if err := f.Stage(ctx, ref(8), exported(t)); status(err) != cxtp.StatusStale {
		t.Errorf("staged after discarding: %v, want StatusStale", err)
	}
	if err := f.Stage(ctx, ref(9), exported(t)); err != nil {
		t.Errorf("a fresh epoch: %v", err)
	}
}

// TestDiscardSparesTheActive: a late discard must not end a session.
func TestDiscardSparesTheActive(t *testing.T) {
	ctx := t.Context()
	b := newFake()
	f := NewFeature(b, Options{})
	if err := errors.Join(f.Stage(ctx, ref(1), exported(t)), f.Activate(ctx, ref(1), encodeDynamic(t, testDynamic()))); err != nil {
		t.Fatal(err)
	}
	b.Since()
	if err := f.Discard(ctx, ref(1)); err == nil {
		t.Error("discarded what is active")
	}
	b.Err = refusal(cxtp.FPTIPsecSA, cxtp.StatusSPIConflict, "in use")
	if err := f.Stage(ctx, ref(2), exported(t)); status(err) != cxtp.StatusSPIConflict {
		t.Errorf("staged over what is active: %v, want the backend's refusal", err)
	}
	b.Err = nil
	if err := f.Discard(ctx, ref(2)); err != nil {
		t.Errorf("discard of the stage that was refused: %v", err)
	}
	if calls := b.Since(); !slices.Equal(calls, []string{"stage"}) {
		t.Errorf("the backend was asked for %v", calls)
	}
	// The close of epoch 1 may come when the session is on its way onward.
	if _, err := f.Export(ctx, ref(3), nil); err != nil {
		t.Fatal(err)
	}
	if err := f.Merge(ctx, ref(1), encodeDynamic(t, testDynamic())); err != nil {
		t.Errorf("late merge: %v", err)
	}
}

// TestStageOverFrozen: what is granted to another gateway cannot come in.
func TestStageOverFrozen(t *testing.T) {
	f := NewFeature(newFake(), Options{})
	if _, err := f.Freeze(t.Context(), ref(1)); err != nil {
		t.Fatal(err)
	}
	if err := f.Stage(t.Context(), ref(2), exported(t)); status(err) != cxtp.StatusBusy {
		t.Errorf("staged over what is frozen: %v, want StatusBusy", err)
	}
	if err := f.Thaw(t.Context(), ref(3), nil); err != nil {
		t.Fatal(err)
	}
	if err := f.Stage(t.Context(), ref(4), exported(t)); err != nil {
		t.Errorf("staged after a thaw: %v, want the backend to decide", err)
	}
}

// TestFailuresMayBeRetried: only results are remembered.
func TestFailuresMayBeRetried(t *testing.T) {
	ctx := t.Context()
	b := newFake()
	f := NewFeature(b, Options{})
	ops := map[string]func(epoch cxtp.Epoch) error{
		"export":   func(e cxtp.Epoch) error { _, err := f.Export(ctx, ref(e), nil); return err },
		"freeze":   func(e cxtp.Epoch) error { _, err := f.Freeze(ctx, ref(e)); return err },
		"close":    func(e cxtp.Epoch) error { _, err := f.Close(ctx, ref(e)); return err },
		"thaw":     func(e cxtp.Epoch) error { return f.Thaw(ctx, ref(e), nil) },
		"redirect": func(e cxtp.Epoch) error { return f.Redirect(ctx, ref(e), "sg2") },
		"release":  func(e cxtp.Epoch) error { return f.Release(ctx, ref(e)) },
		"stage":    func(e cxtp.Epoch) error { return f.Stage(ctx, ref(e), exported(t)) },
		"discard":  func(e cxtp.Epoch) error { return f.Discard(ctx, ref(e)) },
	}
	broken := errors.New("netlink: busy")
	epoch := cxtp.Epoch(0)
	for _, name := range []string{"export", "freeze", "thaw", "redirect", "close", "release", "stage", "discard"} {
		epoch++
		b.Err = broken
		if err := ops[name](epoch); !errors.Is(err, broken) {
			t.Errorf("%s: error %v, want the backend's", name, err)
		}
		b.Err = nil
		if err := ops[name](epoch); err != nil {
			t.Errorf("%s again: %v", name, err)
		}
	}
}
