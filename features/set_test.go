package features_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
)

// recorder is a feature that owns one context type and writes down what it is
// asked; refuse makes the operation of that name fail.
type recorder struct {
	fpt        cxtp.FPT
	claims     cxtp.Claims
	held       []cxtp.Held
	refuse     string
	broken     error // of every operation
	unreadable error // of the contexts
	calls      []string
	got        []cxtp.CDB
}

func (r *recorder) call(name string, blocks ...cxtp.CDB) error {
	r.calls = append(r.calls, name)
	r.got = append(r.got, blocks...)
	if r.refuse == name {
		return &features.Error{FPT: r.fpt, Status: cxtp.StatusAlgorithm, Err: errors.New("refused")}
	}
	return r.broken
}

func (r *recorder) snapshot(name string) (features.Snapshot, error) {
	return features.Snapshot{Blocks: []cxtp.CDB{{FPT: r.fpt}}, Manifest: []cxtp.ManifestEntry{{FPT: r.fpt}}}, r.call(name)
}

func (r *recorder) FPTs() []cxtp.FPT { return []cxtp.FPT{r.fpt} }
func (r *recorder) Export(context.Context, features.Ref, []cxtp.FPT) (features.Snapshot, error) {
	return r.snapshot("export")
}
func (r *recorder) Freeze(context.Context, features.Ref) (features.Snapshot, error) {
	return r.snapshot("freeze")
}
func (r *recorder) Close(context.Context, features.Ref) (features.Snapshot, error) {
	return r.snapshot("close")
}
func (r *recorder) Stage(_ context.Context, _ features.Ref, s features.Staging) error {
	for _, m := range s.Manifest {
		if m.FPT != r.fpt {
			return errors.New("the manifest names another feature's SA")
		}
	}
	return r.call("stage", s.Blocks...)
}
func (r *recorder) Activate(_ context.Context, _ features.Ref, b []cxtp.CDB) error {
	return r.call("activate", b...)
}
func (r *recorder) Merge(_ context.Context, _ features.Ref, b []cxtp.CDB) error {
	return r.call("merge", b...)
}
func (r *recorder) Thaw(context.Context, features.Ref, []cxtp.ManifestEntry) error {
	return r.call("thaw")
}
func (r *recorder) Limit(_ context.Context, _ features.Ref, m []cxtp.ManifestEntry) error {
	return r.call(fmt.Sprintf("limit %d", len(m)))
}
func (r *recorder) Sample(context.Context, features.Ref) (features.Snapshot, error) {
	return r.snapshot("sample")
}
func (r *recorder) Renew(_ context.Context, _ features.Ref, s features.Staging) error {
	return r.call("renew", s.Blocks...)
}
func (r *recorder) TakeOver(context.Context, features.Ref) error { return r.call("take over") }
func (r *recorder) Held(context.Context) ([]cxtp.Held, error)    { return r.held, nil }
func (r *recorder) Redirect(_ context.Context, _ features.Ref, to cxtp.RouterID) error {
	return r.call("redirect " + string(to))
}
func (r *recorder) Release(context.Context, features.Ref) error { return r.call("release") }
func (r *recorder) Discard(context.Context, features.Ref) error { return r.call("discard") }
func (r *recorder) Claims([]cxtp.CDB) (cxtp.Claims, error)      { return r.claims, r.unreadable }

func twoFeatures(t *testing.T) (*recorder, *recorder, *features.Set) {
	t.Helper()
	a, b := &recorder{fpt: 1}, &recorder{fpt: 2}
	set, err := features.NewSet(a, b)
	if err != nil {
		t.Fatal(err)
	}
	return a, b, set
}

var blocks = []cxtp.CDB{{FPT: 2}, {FPT: 1}, {FPT: 2}}

func TestBlocksGoToTheirFeature(t *testing.T) {
	a, b, set := twoFeatures(t)
	staging := features.Staging{Blocks: blocks, Manifest: []cxtp.ManifestEntry{{FPT: 1}, {FPT: 2}}}
	if err := set.Stage(t.Context(), features.Ref{}, staging); err != nil {
		t.Fatal(err)
	}
	if len(a.got) != 1 || len(b.got) != 2 {
		t.Errorf("the features got %d and %d blocks, want 1 and 2", len(a.got), len(b.got))
	}
}

// TestStageIsAllOrNothing: what one feature has staged goes when another
// refuses, and the refusal keeps its status.
func TestStageIsAllOrNothing(t *testing.T) {
	a, b, set := twoFeatures(t)
	b.refuse = "stage"
	err := set.Stage(t.Context(), features.Ref{}, features.Staging{Blocks: blocks})
	want := []cxtp.ContextStatus{{FPT: 2, Status: cxtp.StatusAlgorithm}}
	if got := features.Statuses(err); !reflect.DeepEqual(got, want) {
		t.Errorf("statuses %v, want %v", got, want)
	}
	if !slices.Equal(a.calls, []string{"stage", "discard"}) {
		t.Errorf("the first feature was asked %v", a.calls)
	}
}

func TestUnknownTypeStagesNothing(t *testing.T) {
	a, b, set := twoFeatures(t)
	err := set.Stage(t.Context(), features.Ref{}, features.Staging{Blocks: append(slices.Clone(blocks), cxtp.CDB{FPT: 3})})
	if got := features.Statuses(err); len(got) != 1 || got[0] != (cxtp.ContextStatus{FPT: 3, Status: cxtp.StatusUnknownFPT}) {
		t.Errorf("statuses %v", got)
	}
	if len(a.calls)+len(b.calls) != 0 {
		t.Errorf("asked %v and %v", a.calls, b.calls)
	}
}

// TestEveryFeatureIsAsked: one that fails does not keep the others from their
// part, or a session would stay half frozen or half forgotten.
func TestEveryFeatureIsAsked(t *testing.T) {
	ctx, ref := t.Context(), features.Ref{}
	for name, op := range map[string]func(*features.Set) error{
		"export":       func(s *features.Set) error { _, err := s.Export(ctx, ref, nil); return err },
		"freeze":       func(s *features.Set) error { _, err := s.Freeze(ctx, ref); return err },
		"close":        func(s *features.Set) error { _, err := s.Close(ctx, ref); return err },
		"activate":     func(s *features.Set) error { return s.Activate(ctx, ref, blocks) },
		"merge":        func(s *features.Set) error { return s.Merge(ctx, ref, blocks) },
		"thaw":         func(s *features.Set) error { return s.Thaw(ctx, ref, nil) },
		"limit 0":      func(s *features.Set) error { return s.Limit(ctx, ref, nil) },
		"sample":       func(s *features.Set) error { _, err := s.Sample(ctx, ref); return err },
		"renew":        func(s *features.Set) error { return s.Renew(ctx, ref, features.Staging{Blocks: blocks}) },
		"take over":    func(s *features.Set) error { return s.TakeOver(ctx, ref) },
		"redirect sg2": func(s *features.Set) error { return s.Redirect(ctx, ref, "sg2") },
		"release":      func(s *features.Set) error { return s.Release(ctx, ref) },
		"discard":      func(s *features.Set) error { return s.Discard(ctx, ref) },
	} {
		a, b, set := twoFeatures(t)
		a.refuse = name
		if err := op(set); features.Statuses(err) == nil {
			t.Errorf("%s: the first feature's error is lost: %v", name, err)
		}
		if !slices.Equal(b.calls, []string{name}) {
			t.Errorf("%s: the second feature was asked %v", name, b.calls)
		}
	}
}

func TestSnapshotsAndClaimsUnite(t *testing.T) {
	a, b, set := twoFeatures(t)
	a.claims = cxtp.Claims{Inner: []netip.Prefix{netip.MustParsePrefix("10.0.0.1/32")}}
	b.claims = cxtp.Claims{Identity: "fqdn:node", Inner: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/32")}}
	s, err := set.Freeze(t.Context(), features.Ref{})
	if err != nil || len(s.Blocks) != 2 || len(s.Manifest) != 2 {
		t.Errorf("%v, %d blocks, %d entries", err, len(s.Blocks), len(s.Manifest))
	}
	claims, err := set.Claims(blocks)
	if err != nil || claims.Identity != "fqdn:node" || len(claims.Inner) != 2 {
		t.Errorf("%v, %+v", err, claims)
	}
}

func TestOneFeatureAType(t *testing.T) {
	if _, err := features.NewSet(&recorder{fpt: 1}, &recorder{fpt: 1}); err == nil {
		t.Error("two features share a context type")
	}
}

func TestOtherErrorsAreInternal(t *testing.T) {
	got := features.Statuses(errors.New("disk full"))
	if len(got) != 1 || got[0].Status != cxtp.StatusInternal {
		t.Errorf("statuses %v", got)
	}
	if features.Statuses(nil) != nil {
		t.Error("success has statuses")
	}
}

// TestHeldUnites: a session that one feature has only staged is staged, whatever
// the other has done with it.
func TestHeldUnites(t *testing.T) {
	a, b, set := twoFeatures(t)
	one, two := cxtp.SessionID{1}, cxtp.SessionID{2}
	inner := netip.MustParsePrefix("10.0.0.1/32")
	a.held = []cxtp.Held{{Session: two, State: cxtp.HeldFrozen}, {Session: one, State: cxtp.HeldActive, Claims: cxtp.Claims{Inner: []netip.Prefix{inner}}}}
	b.held = []cxtp.Held{{Session: one, State: cxtp.HeldStaged, Claims: cxtp.Claims{Identity: "fqdn:node"}}}
	got, err := set.Held(t.Context())
	want := []cxtp.Held{
		{Session: one, State: cxtp.HeldStaged, Claims: cxtp.Claims{Identity: "fqdn:node", Inner: []netip.Prefix{inner}}},
		{Session: two, State: cxtp.HeldFrozen},
	}
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v, %+v", err, got)
	}
}

// giver is a feature that gives SAs other SPIs when it may.
type giver struct {
	recorder
	may bool
}

func (g *giver) Stage(ctx context.Context, ref features.Ref, s features.Staging) error {
	g.may = s.Reassign
	return g.recorder.Stage(ctx, ref, s)
}

func (g *giver) Reassigned(ref features.Ref) []cxtp.SPIChange {
	return []cxtp.SPIChange{{Protocol: 50, Old: uint32(ref.Epoch), New: uint32(g.fpt)}}
}

// TestReassigned passes the leave on, and unites what features have done with it.
func TestReassigned(t *testing.T) {
	one, two, three := &giver{recorder: recorder{fpt: 1}}, &recorder{fpt: 2}, &giver{recorder: recorder{fpt: 3}}
	set, err := features.NewSet(one, two, three)
	if err != nil {
		t.Fatal(err)
	}
	ref := features.Ref{Epoch: 7}
	if err := set.Stage(t.Context(), ref, features.Staging{Reassign: true}); err != nil || !one.may || !three.may {
		t.Errorf("staged with %v; the features may %t and %t", err, one.may, three.may)
	}
	if got, want := set.Reassigned(ref), []cxtp.SPIChange{{Protocol: 50, Old: 7, New: 1}, {Protocol: 50, Old: 7, New: 3}}; !slices.Equal(got, want) {
		t.Errorf("reassigned %+v, want %+v", got, want)
	}
}
