package features_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"sync"
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
	turns      *[]cxtp.FPT // where not nil: whose turn it was, across features

	mu sync.Mutex // sessions come side by side
}

func (r *recorder) call(name string, blocks ...cxtp.CDB) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls = append(r.calls, name)
	r.got = append(r.got, blocks...)
	if r.turns != nil {
		*r.turns = append(*r.turns, r.fpt)
	}
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
// part, or a session would stay half frozen or half forgotten. (What starts them
// is another matter: TestStartEndsAtTheFirst.)
func TestEveryFeatureIsAsked(t *testing.T) {
	ctx, ref := t.Context(), features.Ref{}
	for name, op := range map[string]func(*features.Set) error{
		"export":       func(s *features.Set) error { _, err := s.Export(ctx, ref, nil); return err },
		"freeze":       func(s *features.Set) error { _, err := s.Freeze(ctx, ref); return err },
		"close":        func(s *features.Set) error { _, err := s.Close(ctx, ref); return err },
		"merge":        func(s *features.Set) error { return s.Merge(ctx, ref, blocks) },
		"thaw":         func(s *features.Set) error { return s.Thaw(ctx, ref, nil) },
		"limit 0":      func(s *features.Set) error { return s.Limit(ctx, ref, nil) },
		"sample":       func(s *features.Set) error { _, err := s.Sample(ctx, ref); return err },
		"renew":        func(s *features.Set) error { return s.Renew(ctx, ref, features.Staging{Blocks: blocks}) },
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
	b.claims = cxtp.Claims{Identity: "fqdn:node", Inner: []netip.Prefix{netip.MustParsePrefix("10.0.0.2/32"), netip.MustParsePrefix("10.0.0.1/32")}}
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

// TestTypeZeroIsReserved: it is no feature's, and a block that has it is of an
// unknown type (RFC 4065 section 6).
func TestTypeZeroIsReserved(t *testing.T) {
	if _, err := features.NewSet(&recorder{}); err == nil {
		t.Error("a feature has the reserved context type")
	}
	_, _, set := twoFeatures(t)
	err := set.Stage(t.Context(), features.Ref{}, features.Staging{Blocks: []cxtp.CDB{{}}})
	if got := features.Statuses(err); len(got) != 1 || got[0] != (cxtp.ContextStatus{Status: cxtp.StatusUnknownFPT}) {
		t.Errorf("statuses %v", got)
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

// TestHeldUnites: a session is where the feature is that got furthest, and staged
// only if the one that starts first says so.
func TestHeldUnites(t *testing.T) {
	inner := netip.MustParsePrefix("10.0.0.1/32")
	for _, c := range []struct {
		first, second, want cxtp.HeldState
	}{
		{cxtp.HeldStaged, cxtp.HeldStaged, cxtp.HeldStaged},
		{cxtp.HeldActive, cxtp.HeldStaged, cxtp.HeldActive}, // activating was under way
		{cxtp.HeldActive, cxtp.HeldFrozen, cxtp.HeldFrozen}, // freezing or thawing was
		{cxtp.HeldFrozen, cxtp.HeldActive, cxtp.HeldFrozen},
		{cxtp.HeldStaged, cxtp.HeldNothing, cxtp.HeldStaged},
		{cxtp.HeldNothing, cxtp.HeldStaged, cxtp.HeldNothing}, // the first's SAs may have run, and expired
		{cxtp.HeldNothing, cxtp.HeldActive, cxtp.HeldActive},
	} {
		a, b, set := twoFeatures(t)
		if c.first != cxtp.HeldNothing {
			a.held = []cxtp.Held{{State: c.first, Claims: cxtp.Claims{Inner: []netip.Prefix{inner}}}}
		}
		if c.second != cxtp.HeldNothing {
			b.held = []cxtp.Held{{State: c.second, Claims: cxtp.Claims{Identity: "fqdn:node"}}}
		}
		got, err := set.Held(t.Context())
		if err != nil || len(got) != 1 || got[0].State != c.want {
			t.Errorf("%s and %s: %+v, %v, want %s", c.first, c.second, got, err, c.want)
		}
		if len(a.held)+len(b.held) == 2 && (got[0].Claims.Identity != "fqdn:node" || len(got[0].Claims.Inner) != 1) {
			t.Errorf("%s and %s: claims %+v", c.first, c.second, got[0].Claims)
		}
	}
	a, b, set := twoFeatures(t)
	a.held, b.held = []cxtp.Held{{Session: cxtp.SessionID{2}}}, []cxtp.Held{{Session: cxtp.SessionID{1}}}
	if got, err := set.Held(t.Context()); err != nil || len(got) != 2 || got[0].Session != (cxtp.SessionID{1}) {
		t.Errorf("%+v, %v: want two, in order", got, err)
	}
}

// TestOrder: what is put up is put up from the first feature on, and taken down
// from the last on.
func TestOrder(t *testing.T) {
	ctx, ref := t.Context(), features.Ref{}
	up, down := []cxtp.FPT{1, 2, 3}, []cxtp.FPT{3, 2, 1}
	for _, c := range []struct {
		name string
		do   func(*features.Set) error
		want []cxtp.FPT
	}{
		{"stage", func(s *features.Set) error { return s.Stage(ctx, ref, features.Staging{}) }, up},
		{"renew", func(s *features.Set) error { return s.Renew(ctx, ref, features.Staging{}) }, up},
		{"activate", func(s *features.Set) error { return s.Activate(ctx, ref, nil) }, up},
		{"take over", func(s *features.Set) error { return s.TakeOver(ctx, ref) }, up},
		{"thaw", func(s *features.Set) error { return s.Thaw(ctx, ref, nil) }, up},
		{"merge", func(s *features.Set) error { return s.Merge(ctx, ref, nil) }, up},
		{"freeze", func(s *features.Set) error { _, err := s.Freeze(ctx, ref); return err }, down},
		{"redirect", func(s *features.Set) error { return s.Redirect(ctx, ref, "sg2") }, down},
		{"close", func(s *features.Set) error { _, err := s.Close(ctx, ref); return err }, down},
		{"release", func(s *features.Set) error { return s.Release(ctx, ref) }, down},
		{"discard", func(s *features.Set) error { return s.Discard(ctx, ref) }, down},
	} {
		var turns []cxtp.FPT
		last := &recorder{fpt: 3, turns: &turns}
		set, err := features.NewSet(&recorder{fpt: 1, turns: &turns}, &recorder{fpt: 2, turns: &turns}, last)
		if err != nil {
			t.Fatal(err)
		}
		if err := c.do(set); err != nil || !slices.Equal(turns, c.want) {
			t.Errorf("%s: asked %v, want %v; %v", c.name, turns, c.want, err)
		}
		if c.name == "stage" { // a failure takes down what is up
			turns, last.refuse = nil, "stage"
			if err := c.do(set); err == nil || !slices.Equal(turns, append(up, 2, 1)) {
				t.Errorf("staging failed: asked %v; %v", turns, err)
			}
		}
	}
}

// TestBusyStopsNothing: the machine thaws nothing when a freeze was busy.
func TestBusyStopsNothing(t *testing.T) {
	busy := features.Refuse(2, cxtp.StatusBusy, "a rekey is under way")
	for _, c := range []struct {
		name                 string
		first, second, third error
		want                 cxtp.Status
		calls                [3][]string
	}{
		{"the last", nil, nil, busy, cxtp.StatusBusy, [3][]string{nil, nil, {"freeze"}}},
		{"one in between", nil, busy, nil, cxtp.StatusBusy, [3][]string{nil, {"freeze"}, {"freeze", "thaw"}}},
		{"the first", busy, nil, nil, cxtp.StatusBusy, [3][]string{{"freeze"}, {"freeze", "thaw"}, {"freeze", "thaw"}}},
		{"one after a failure", nil, busy, errors.New("no netlink"), cxtp.StatusInternal, [3][]string{nil, {"freeze"}, {"freeze"}}},
	} {
		all := [3]*freezer{{recorder{fpt: 1}, c.first}, {recorder{fpt: 2}, c.second}, {recorder{fpt: 3}, c.third}}
		set, err := features.NewSet(all[0], all[1], all[2])
		if err != nil {
			t.Fatal(err)
		}
		s, err := set.Freeze(t.Context(), ref)
		if got := features.Statuses(err); len(got) != 1 || got[0].Status != c.want || len(s.Blocks) > 0 {
			t.Errorf("%s is busy: %d blocks, %v, want status %v", c.name, len(s.Blocks), err, c.want)
		}
		for i, f := range all {
			if !slices.Equal(f.calls, c.calls[i]) {
				t.Errorf("%s is busy: feature %d was asked %v, want %v", c.name, i+1, f.calls, c.calls[i])
			}
		}
	}
}

// freezer is a recorder whose freeze comes to err.
type freezer struct {
	recorder
	err error
}

func (f *freezer) Freeze(ctx context.Context, ref features.Ref) (features.Snapshot, error) {
	s, _ := f.recorder.Freeze(ctx, ref)
	return s, f.err
}

// verifier is a recorder that says beforehand what it would refuse.
type verifier struct{ recorder }

func (v *verifier) Verify(_ context.Context, _ features.Ref, b []cxtp.CDB) error {
	return v.call("verify", b...)
}

// TestStartEndsAtTheFirst: nothing may run when a start has failed. What could
// still fail once something runs is asked before; the rest is left behind.
func TestStartEndsAtTheFirst(t *testing.T) {
	ctx := t.Context()
	final := []cxtp.CDB{{FPT: 1}, {FPT: 2}}
	activate := func(b []cxtp.CDB) func(*features.Set) error {
		return func(s *features.Set) error { return s.Activate(ctx, ref, b) }
	}
	takeOver := func(s *features.Set) error { return s.TakeOver(ctx, ref) }
	for _, c := range []struct {
		name          string
		first, second string // the operation that each refuses
		start         func(*features.Set) error
		failed, left  bool
		firstWas      []string
		secondWas     []string
	}{
		{"all well", "", "", activate(final), false, false, []string{"activate"}, []string{"verify", "activate"}},
		{"the first fails", "activate", "", activate(final), true, false, []string{"activate"}, []string{"verify"}},
		{"the second would", "", "verify", activate(final), true, false, nil, []string{"verify"}},
		{"the second does", "", "activate", activate(final), false, true, []string{"activate"}, []string{"verify", "activate"}},
		{"nothing runs", "", "activate", activate(final[1:]), true, false, []string{"activate"}, []string{"verify", "activate"}},
		{"taken over", "", "", takeOver, false, false, []string{"take over"}, []string{"take over"}},
		{"the first cannot take over", "take over", "", takeOver, true, false, []string{"take over"}, nil},
		{"the second cannot", "", "take over", takeOver, false, true, []string{"take over"}, []string{"take over"}},
	} {
		one, two := &recorder{fpt: 1, refuse: c.first}, &verifier{recorder{fpt: 2, refuse: c.second}}
		set, err := features.NewSet(one, two)
		if err != nil {
			t.Fatal(err)
		}
		err = c.start(set)
		if failed, left := features.Statuses(err) != nil, features.Missing(err) != nil; failed != c.failed || left != c.left {
			t.Errorf("%s: %v", c.name, err)
		}
		if !slices.Equal(one.calls, c.firstWas) || !slices.Equal(two.calls, c.secondWas) {
			t.Errorf("%s: the features were asked %v and %v", c.name, one.calls, two.calls)
		}
		if c.left { // it is not asked again
			if err := set.Merge(ctx, ref, nil); err != nil || !slices.Equal(two.calls, c.secondWas) {
				t.Errorf("%s: merged with %v, asked %v", c.name, err, two.calls)
			}
		}
	}
}

// TestOneIdentity: the policy has looked at one.
func TestOneIdentity(t *testing.T) {
	a, b, set := twoFeatures(t)
	a.claims.Identity, b.claims.Identity = "eap:ann", "eap:ann"
	if c, err := set.Claims(blocks); err != nil || c.Identity != "eap:ann" {
		t.Errorf("%+v, %v", c, err)
	}
	b.claims.Identity = "eap:bob"
	if _, err := set.Claims(blocks); !reflect.DeepEqual(features.Statuses(err), []cxtp.ContextStatus{{FPT: 2, Status: cxtp.StatusMalformed}}) {
		t.Errorf("two identities: %v, want StatusMalformed", err)
	}
}

// TestFloorsAreThere: a feature tells a thaw above floors from an exact one, even
// if no floor is its own.
func TestFloorsAreThere(t *testing.T) {
	for _, floors := range [][]cxtp.ManifestEntry{nil, {{FPT: 1}}} {
		a, b := &thawer{recorder: recorder{fpt: 1}}, &thawer{recorder: recorder{fpt: 2}}
		set, err := features.NewSet(a, b)
		if err != nil {
			t.Fatal(err)
		}
		if err := set.Thaw(t.Context(), ref, floors); err != nil {
			t.Fatal(err)
		}
		if (a.floors == nil) != (floors == nil) || (b.floors == nil) != (floors == nil) || len(b.floors) > 0 {
			t.Errorf("of %v the features got %v and %v", floors, a.floors, b.floors)
		}
	}
}

type thawer struct {
	recorder
	floors []cxtp.ManifestEntry
}

func (w *thawer) Thaw(_ context.Context, _ features.Ref, floors []cxtp.ManifestEntry) error {
	w.floors = floors
	return nil
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
	withIKE, err := features.NewSet(one, &recorder{fpt: cxtp.FPTIKEChild})
	if err != nil {
		t.Fatal(err)
	}
	if err := withIKE.Stage(t.Context(), ref, features.Staging{Reassign: true, Blocks: []cxtp.CDB{{FPT: cxtp.FPTIKEChild}}}); err != nil || one.may {
		t.Errorf("staged with %v; SAs that IKE made may have other SPIs: %t", err, one.may)
	}
	if got, want := set.Reassigned(ref), []cxtp.SPIChange{{Protocol: 50, Old: 7, New: 1}, {Protocol: 50, Old: 7, New: 3}}; !slices.Equal(got, want) {
		t.Errorf("reassigned %+v, want %+v", got, want)
	}
}
