package ipsecctx

import (
	"errors"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
)

// sampled is a renewal of the test session: its state, and ceilings with room
// for so many packets.
func sampled(t *testing.T, room uint64) features.Staging {
	t.Helper()
	s, err := NewFeature(newFake(), Options{}).Sample(t.Context(), ref(1))
	if err != nil {
		t.Fatal(err)
	}
	for i := range s.Manifest {
		if s.Manifest[i].Direction == uint8(Outbound) {
			s.Manifest[i].Ceiling += room
		}
	}
	return features.Staging{Blocks: s.Blocks, Manifest: s.Manifest}
}

// TestTakeOver starts a standby's copy with the windows of its last renewal, and
// above the ceiling of it.
func TestTakeOver(t *testing.T) {
	ctx := t.Context()
	gateway := newFake()
	f := NewFeature(gateway, Options{})
	noBase := func(what string, err error) {
		t.Helper()
		var refusal *features.Error
		if !errors.As(err, &refusal) || refusal.Status != cxtp.StatusNoBase {
			t.Errorf("%s: %v, want %s", what, err, cxtp.StatusNoBase)
		}
	}
	noBase("renewal of nothing", f.Renew(ctx, ref(1), sampled(t, 1)))
	if err := f.Stage(ctx, ref(2), exported(t)); err != nil {
		t.Fatal(err)
	}
	noBase("renewal in another epoch", f.Renew(ctx, ref(3), sampled(t, 1)))
	if err := f.Stage(ctx, ref(4), exported(t)); err != nil {
		t.Fatal(err)
	}
	for _, room := range []uint64{2000, 3000} {
		if err := f.Renew(ctx, ref(4), sampled(t, room)); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.TakeOver(ctx, ref(4)); err != nil {
		t.Fatal(err)
	}
	inbound, outbound := testDynamic()[0], testDynamic()[1]
	if got := gateway.started[1].Sequence; got != outbound.Sequence+3000 {
		t.Errorf("goes on above %#x, the last ceiling is %#x", got, outbound.Sequence+3000)
	}
	if got := gateway.started[0]; got.Sequence != inbound.Sequence || got.Window[0] != inbound.Window[0] {
		t.Errorf("window %#x at %#x, renewed was %#x at %#x", got.Window[0], got.Sequence, inbound.Window[0], inbound.Sequence)
	}
}

// TestTakeOverNeedsARenewal: without one there is no window to go on with.
func TestTakeOverNeedsARenewal(t *testing.T) {
	gateway := newFake()
	f := NewFeature(gateway, Options{})
	if err := f.Stage(t.Context(), ref(1), exported(t)); err != nil {
		t.Fatal(err)
	}
	if err := f.TakeOver(t.Context(), ref(1)); err == nil || gateway.started != nil {
		t.Errorf("%v, started with %v", err, gateway.started)
	}
}

// TestTakeOverNeedsCeilings: without one nobody knows what the owner has used.
func TestTakeOverNeedsCeilings(t *testing.T) {
	gateway := newFake()
	f := NewFeature(gateway, Options{})
	stage, renewal := exported(t), sampled(t, 1)
	stage.Manifest, renewal.Manifest = nil, nil
	if err := errors.Join(f.Stage(t.Context(), ref(1), stage), f.Renew(t.Context(), ref(1), renewal)); err != nil {
		t.Fatal(err)
	}
	if err := f.TakeOver(t.Context(), ref(1)); err == nil || gateway.started != nil {
		t.Errorf("%v, started with %v", err, gateway.started)
	}
}

// TestLimits: a final is not believed to start an SA beyond its ceiling, and
// Thaw hands its floors on.
func TestLimits(t *testing.T) {
	ctx := t.Context()
	gateway := newFake()
	f := NewFeature(gateway, Options{})
	stage := exported(t)
	if err := f.Stage(ctx, ref(1), stage); err != nil {
		t.Fatal(err)
	}
	if err := f.Activate(ctx, ref(1), encodeDynamic(t, testDynamic())); err != nil {
		t.Fatal(err)
	}
	outbound := testDynamic()[1]
	if got := gateway.ceilings[outbound.ID()]; got != outbound.Sequence+1000 || len(gateway.ceilings) != 1 {
		t.Errorf("ceilings %v, staged was %#x", gateway.ceilings, outbound.Sequence+1000)
	}
	if err := f.Limit(ctx, ref(1), nil); err != nil || len(gateway.ceilings) != 0 {
		t.Errorf("%v, ceilings %v are left", err, gateway.ceilings)
	}
	if _, err := f.Freeze(ctx, ref(2)); err != nil {
		t.Fatal(err)
	}
	if err := f.Thaw(ctx, ref(2), stage.Manifest); err != nil || gateway.floors[outbound.ID()] != outbound.Sequence+1000 {
		t.Errorf("%v, floors %v", err, gateway.floors)
	}
}
