package features_test

import (
	"errors"
	"reflect"
	"slices"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
)

// groups is a recorder whose contexts may be missing.
type groups struct{ recorder }

func (*groups) Optional() bool { return true }

func withGroups(t *testing.T) (*recorder, *groups, *features.Set) {
	t.Helper()
	a, b := &recorder{fpt: 1}, &groups{recorder{fpt: 2}}
	set, err := features.NewSet(a, b)
	if err != nil {
		t.Fatal(err)
	}
	return a, b, set
}

var ref = features.Ref{Session: cxtp.SessionID{1}, Epoch: 1}

// TestExportOfTypes: a feature is read when one of its types is asked for; what
// nobody has is said to be unknown; and what was not asked for takes no part in
// the rest of the attempt, until it goes with the session.
func TestExportOfTypes(t *testing.T) {
	for _, test := range []struct {
		types   []cxtp.FPT
		blocks  []cxtp.CDB
		missing []cxtp.ContextStatus
		failed  []cxtp.ContextStatus
	}{
		// What is taken down last is read last.
		{nil, []cxtp.CDB{{FPT: 2}, {FPT: 1}}, nil, nil},
		{[]cxtp.FPT{2, 1}, []cxtp.CDB{{FPT: 2}, {FPT: 1}}, nil, nil},
		{[]cxtp.FPT{1}, []cxtp.CDB{{FPT: 1}}, nil, nil},
		{[]cxtp.FPT{9, 2, 8}, []cxtp.CDB{{FPT: 2}}, []cxtp.ContextStatus{{FPT: 9, Status: cxtp.StatusUnknownFPT}, {FPT: 8, Status: cxtp.StatusUnknownFPT}}, nil},
		{[]cxtp.FPT{9}, nil, nil, []cxtp.ContextStatus{{FPT: 9, Status: cxtp.StatusUnknownFPT}}},
	} {
		_, _, set := withGroups(t)
		s, err := set.Export(t.Context(), ref, test.types)
		if !reflect.DeepEqual(s.Blocks, test.blocks) || !slices.Equal(features.Missing(err), test.missing) || !slices.Equal(features.Statuses(err), test.failed) {
			t.Errorf("of %v: %d blocks, error %v", test.types, len(s.Blocks), err)
		}
		if test.failed != nil {
			continue
		}
		final, err := set.Freeze(t.Context(), ref)
		if err != nil || !reflect.DeepEqual(final.Blocks, test.blocks) {
			t.Errorf("of %v: %d blocks are frozen, error %v", test.types, len(final.Blocks), err)
		}
	}
}

func TestWhatNobodyAskedForGoesWithTheSession(t *testing.T) {
	_, b, set := withGroups(t)
	if _, err := set.Export(t.Context(), ref, []cxtp.FPT{1}); err != nil {
		t.Fatal(err)
	}
	for _, op := range []func() error{
		func() error { return set.Limit(t.Context(), ref, nil) },
		func() error { return set.Redirect(t.Context(), ref, "sg2") },
		func() error { _, err := set.Close(t.Context(), ref); return err },
		func() error { return set.Release(t.Context(), ref) },
	} {
		if err := op(); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(b.calls, []string{"release"}) {
		t.Errorf("the feature was asked %v", b.calls)
	}
	// The next attempt asks it again, and so does one of another session.
	for _, r := range []features.Ref{{Session: ref.Session, Epoch: 2}, {Session: cxtp.SessionID{2}, Epoch: 1}} {
		if s, err := set.Export(t.Context(), r, nil); err != nil || len(s.Blocks) != 2 {
			t.Errorf("%v: %d blocks, error %v", r, len(s.Blocks), err)
		}
	}
}

// TestOptionalFeatureFails at each step in turn: the others go on, its status is
// told, and it is not asked again before the attempt ends.
func TestOptionalFeatureFails(t *testing.T) {
	ctx := t.Context()
	staging := features.Staging{Blocks: blocks}
	for _, steps := range [][]struct {
		name string
		do   func(*features.Set) error
	}{
		{
			{"export", func(s *features.Set) error { _, err := s.Export(ctx, ref, nil); return err }},
			{"limit 0", func(s *features.Set) error { return s.Limit(ctx, ref, nil) }},
			{"sample", func(s *features.Set) error { _, err := s.Sample(ctx, ref); return err }},
			{"freeze", func(s *features.Set) error { _, err := s.Freeze(ctx, ref); return err }},
			{"redirect sg2", func(s *features.Set) error { return s.Redirect(ctx, ref, "sg2") }},
			{"close", func(s *features.Set) error { _, err := s.Close(ctx, ref); return err }},
		},
		{
			{"stage", func(s *features.Set) error { return s.Stage(ctx, ref, staging) }},
			{"renew", func(s *features.Set) error { return s.Renew(ctx, ref, staging) }},
			{"activate", func(s *features.Set) error { return s.Activate(ctx, ref, blocks) }},
			{"merge", func(s *features.Set) error { return s.Merge(ctx, ref, blocks) }},
		},
	} {
		for failing := range steps {
			a, b, set := withGroups(t)
			b.refuse = steps[failing].name
			var all, want []string
			for i, step := range steps {
				var missing []cxtp.ContextStatus
				if i == failing {
					missing = []cxtp.ContextStatus{{FPT: 2, Status: cxtp.StatusAlgorithm}}
				}
				if i <= failing {
					want = append(want, step.name)
				}
				all = append(all, step.name)
				err := step.do(set)
				if !slices.Equal(features.Missing(err), missing) || features.Statuses(err) != nil {
					t.Errorf("%s fails: %s has the error %v", b.refuse, step.name, err)
				}
			}
			if b.refuse == "activate" {
				want = append(want, "discard") // what it has staged and cannot start
			}
			if !slices.Equal(a.calls, all) || !slices.Equal(b.calls, want) {
				t.Errorf("%s fails: the features were asked %v and %v", b.refuse, a.calls, b.calls)
			}
		}
	}
}

// TestOptionalFeatureClaimsNothing that it cannot read.
func TestOptionalFeatureClaimsNothing(t *testing.T) {
	a, b, set := withGroups(t)
	a.claims.Identity = "fqdn:node"
	b.unreadable = errors.New("malformed")
	if claims, err := set.Claims(blocks); err != nil || claims.Identity != "fqdn:node" {
		t.Errorf("%+v, %v", claims, err)
	}
	a.unreadable = errors.New("malformed")
	if _, err := set.Claims(blocks); err == nil {
		t.Error("contexts that may not be missing are malformed, and nobody says so")
	}
}

// TestMandatoryFeatureFailsBesideOptional: the attempt has failed, whatever else
// is missing, and what was staged goes.
func TestMandatoryFeatureFailsBesideOptional(t *testing.T) {
	a, b := &groups{recorder{fpt: 1, refuse: "stage"}}, &recorder{fpt: 2, refuse: "stage"}
	set, err := features.NewSet(a, b)
	if err != nil {
		t.Fatal(err)
	}
	err = set.Stage(t.Context(), ref, features.Staging{Blocks: blocks})
	if got := features.Statuses(err); len(got) != 1 || got[0].FPT != 2 || features.Missing(err) != nil {
		t.Errorf("error %v with the statuses %v", err, got)
	}
}

// TestInternalErrorOfOptionalFeature is told as its first context type's.
func TestInternalErrorOfOptionalFeature(t *testing.T) {
	_, b, set := withGroups(t)
	b.broken = errors.New("disk full")
	_, err := set.Export(t.Context(), ref, nil)
	if got := features.Missing(err); !slices.Equal(got, []cxtp.ContextStatus{{FPT: 2, Status: cxtp.StatusInternal}}) {
		t.Errorf("error %v with the statuses %v", err, got)
	}
}
