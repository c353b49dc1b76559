package ipsecctx

import (
	"context"
	"errors"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
)

// TestBareSession: of a session without SAs, the gateway is asked nothing on its way
// through, until it has left.
func TestBareSession(t *testing.T) {
	ctx := t.Context()
	for name, begin := range map[string]func(*Feature) error{
		"began here": func(f *Feature) error { return f.WithoutSAs(ctx, ref(1).Session) },
		"came here":  func(f *Feature) error { return f.Stage(ctx, ref(1), features.Staging{}) },
	} {
		b := newFake()
		b.Err = errors.New("no such session")
		f := NewFeature(b, Options{})
		if err := begin(f); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		b.Since()
		for operation, run := range map[string]func(context.Context, features.Ref) (features.Snapshot, error){
			"export": func(ctx context.Context, r features.Ref) (features.Snapshot, error) { return f.Export(ctx, r, nil) },
			"sample": f.Sample,
			"freeze": f.Freeze,
			"close":  f.Close,
			"limit": func(ctx context.Context, r features.Ref) (features.Snapshot, error) {
				return features.Snapshot{}, f.Limit(ctx, r, nil)
			},
			"thaw": func(ctx context.Context, r features.Ref) (features.Snapshot, error) {
				return features.Snapshot{}, f.Thaw(ctx, r, nil)
			},
			"takeover": func(ctx context.Context, r features.Ref) (features.Snapshot, error) {
				return features.Snapshot{}, f.TakeOver(ctx, r)
			},
			"redirect": func(ctx context.Context, r features.Ref) (features.Snapshot, error) {
				return features.Snapshot{}, f.Redirect(ctx, r, "sg2")
			},
		} {
			if s, err := run(ctx, ref(2)); err != nil || len(s.Blocks)+len(s.Manifest) > 0 {
				t.Errorf("%s: %s: %d blocks, %v", name, operation, len(s.Blocks), err)
			}
		}
		if calls := b.Since(); len(calls) > 0 {
			t.Errorf("%s: the gateway was asked %v", name, calls)
		}
		if f.WithoutSAs(ctx, ref(1).Session) == nil {
			t.Errorf("%s: begun twice", name)
		}
		b.Since()
		b.Err = nil
		if err := f.Release(ctx, ref(2)); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Export(ctx, ref(3), nil); err != nil || len(b.Since()) != 2 {
			t.Errorf("%s: it has left, and the gateway is not asked for one that comes: %v", name, err)
		}
	}
}

// TestSessionWithSAsIsNotBare: nothing may call away what would then be forgotten.
func TestSessionWithSAsIsNotBare(t *testing.T) {
	b := newFake()
	f := NewFeature(b, Options{})
	if err := f.WithoutSAs(t.Context(), ref(1).Session); err == nil {
		t.Error("a session that the gateway has is called one without SAs")
	}
	// SAs come to what had none, and may not be overlooked then.
	other := features.Ref{Session: cxtp.SessionID{9}, Epoch: 1}
	if err := f.Stage(t.Context(), other, features.Staging{}); err != nil {
		t.Fatal(err)
	}
	other.Epoch = 2
	if err := f.Stage(t.Context(), other, exported(t)); err != nil {
		t.Fatal(err)
	}
	b.Since()
	if _, err := f.Freeze(t.Context(), other); err != nil || len(b.Since()) != 1 {
		t.Errorf("its SAs are not frozen: %v", err)
	}
}
