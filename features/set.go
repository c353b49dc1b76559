package features

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/cxtp/cxtp/cxtp"
)

// Set is the registry: the features of a router, acting as one. Blocks go to the
// feature that names their type; a block that nobody names refuses a stage.
type Set struct {
	features []Feature
	byFPT    map[cxtp.FPT]Feature
}

var _ Feature = (*Set)(nil)

// NewSet registers features, in the order in which they are to be worked on.
func NewSet(features ...Feature) (*Set, error) {
	s := &Set{features: features, byFPT: map[cxtp.FPT]Feature{}}
	for _, f := range features {
		for _, fpt := range f.FPTs() {
			if s.byFPT[fpt] != nil {
				return nil, fmt.Errorf("two features claim the context type %#04x", uint16(fpt))
			}
			s.byFPT[fpt] = f
		}
	}
	return s, nil
}

// FPTs lists the context types of all features.
func (s *Set) FPTs() []cxtp.FPT {
	var all []cxtp.FPT
	for _, f := range s.features {
		all = append(all, f.FPTs()...)
	}
	return all
}

// share splits blocks among the features; a type that nobody names is an error.
func (s *Set) share(blocks []cxtp.CDB) (map[Feature][]cxtp.CDB, error) {
	shares := map[Feature][]cxtp.CDB{}
	for _, b := range blocks {
		f := s.byFPT[b.FPT]
		if f == nil {
			return nil, &Error{FPT: b.FPT, Status: cxtp.StatusUnknownFPT, Err: errors.New("no feature here reads this context type")}
		}
		shares[f] = append(shares[f], b)
	}
	return shares, nil
}

// gather runs a reading operation on every feature.
func (s *Set) gather(op func(Feature) (Snapshot, error)) (Snapshot, error) {
	var all Snapshot
	var errs []error
	for _, f := range s.features {
		one, err := op(f)
		errs = append(errs, err)
		all.Blocks = append(all.Blocks, one.Blocks...)
		all.Manifest = append(all.Manifest, one.Manifest...)
	}
	return all, errors.Join(errs...)
}

// each runs an operation on every feature, whatever the others say.
func (s *Set) each(op func(Feature) error) error {
	var errs []error
	for _, f := range s.features {
		errs = append(errs, op(f))
	}
	return errors.Join(errs...)
}

// eachShare runs an operation on every feature with its blocks.
func (s *Set) eachShare(blocks []cxtp.CDB, op func(Feature, []cxtp.CDB) error) error {
	shares, err := s.share(blocks)
	if err != nil {
		return err
	}
	return s.each(func(f Feature) error { return op(f, shares[f]) })
}

// Export reads every feature.
func (s *Set) Export(ctx context.Context, ref Ref) (Snapshot, error) {
	return s.gather(func(f Feature) (Snapshot, error) { return f.Export(ctx, ref) })
}

// Stage stages with every feature, or with none.
func (s *Set) Stage(ctx context.Context, ref Ref, st Staging) error {
	shares, err := s.share(st.Blocks)
	if err != nil {
		return err
	}
	for i, f := range s.features {
		part := Staging{Blocks: shares[f], Manifest: s.manifestOf(f, st.Manifest), Deadline: st.Deadline}
		if err := f.Stage(ctx, ref, part); err != nil {
			for _, staged := range s.features[:i] {
				err = errors.Join(err, staged.Discard(ctx, ref))
			}
			return err
		}
	}
	return nil
}

// Limit limits every feature's SAs.
func (s *Set) Limit(ctx context.Context, ref Ref, ceilings []cxtp.ManifestEntry) error {
	return s.each(func(f Feature) error { return f.Limit(ctx, ref, s.manifestOf(f, ceilings)) })
}

// Sample reads every feature.
func (s *Set) Sample(ctx context.Context, ref Ref) (Snapshot, error) {
	return s.gather(func(f Feature) (Snapshot, error) { return f.Sample(ctx, ref) })
}

// Renew renews what every feature has staged.
func (s *Set) Renew(ctx context.Context, ref Ref, st Staging) error {
	return s.eachShare(st.Blocks, func(f Feature, b []cxtp.CDB) error {
		return f.Renew(ctx, ref, Staging{Blocks: b, Manifest: s.manifestOf(f, st.Manifest)})
	})
}

// TakeOver makes every feature start what it has staged.
func (s *Set) TakeOver(ctx context.Context, ref Ref) error {
	return s.each(func(f Feature) error { return f.TakeOver(ctx, ref) })
}

func (s *Set) manifestOf(f Feature, all []cxtp.ManifestEntry) []cxtp.ManifestEntry {
	return slices.DeleteFunc(slices.Clone(all), func(m cxtp.ManifestEntry) bool { return s.byFPT[m.FPT] != f })
}

// Freeze freezes every feature.
func (s *Set) Freeze(ctx context.Context, ref Ref) (Snapshot, error) {
	return s.gather(func(f Feature) (Snapshot, error) { return f.Freeze(ctx, ref) })
}

// Activate activates every feature.
func (s *Set) Activate(ctx context.Context, ref Ref, dynamic []cxtp.CDB) error {
	return s.eachShare(dynamic, func(f Feature, b []cxtp.CDB) error { return f.Activate(ctx, ref, b) })
}

// Thaw thaws every feature.
func (s *Set) Thaw(ctx context.Context, ref Ref, floors []cxtp.ManifestEntry) error {
	return s.each(func(f Feature) error { return f.Thaw(ctx, ref, s.manifestOf(f, floors)) })
}

// Redirect redirects every feature.
func (s *Set) Redirect(ctx context.Context, ref Ref, to cxtp.RouterID) error {
	return s.each(func(f Feature) error { return f.Redirect(ctx, ref, to) })
}

// Close closes every feature.
func (s *Set) Close(ctx context.Context, ref Ref) (Snapshot, error) {
	return s.gather(func(f Feature) (Snapshot, error) { return f.Close(ctx, ref) })
}

// Merge merges into every feature.
func (s *Set) Merge(ctx context.Context, ref Ref, last []cxtp.CDB) error {
	return s.eachShare(last, func(f Feature, b []cxtp.CDB) error { return f.Merge(ctx, ref, b) })
}

// Release makes every feature forget.
func (s *Set) Release(ctx context.Context, ref Ref) error {
	return s.each(func(f Feature) error { return f.Release(ctx, ref) })
}

// Discard makes every feature forget what was staged.
func (s *Set) Discard(ctx context.Context, ref Ref) error {
	return s.each(func(f Feature) error { return f.Discard(ctx, ref) })
}

// Held unites what the features hold. A session of which they hold different
// things stands where the one stands that got least far: what that one has not
// done, the session has not done.
func (s *Set) Held(ctx context.Context) ([]cxtp.Held, error) {
	byID := map[cxtp.SessionID]cxtp.Held{}
	for _, f := range s.features {
		held, err := f.Held(ctx)
		if err != nil {
			return nil, err
		}
		for _, h := range held {
			if other, both := byID[h.Session]; both {
				h.State = min(h.State, other.State)
				h.Claims.Inner = append(other.Claims.Inner, h.Claims.Inner...)
				h.Claims.Identity = cmp.Or(other.Claims.Identity, h.Claims.Identity)
			}
			byID[h.Session] = h
		}
	}
	return slices.SortedFunc(maps.Values(byID), func(a, b cxtp.Held) int { return bytes.Compare(a.Session[:], b.Session[:]) }), nil
}

// Claims unites what every feature reads. Blocks of unknown types claim
// nothing: staging refuses them.
func (s *Set) Claims(blocks []cxtp.CDB) (cxtp.Claims, error) {
	var all cxtp.Claims
	for _, f := range s.features {
		mine := slices.DeleteFunc(slices.Clone(blocks), func(b cxtp.CDB) bool { return s.byFPT[b.FPT] != f })
		c, err := f.Claims(mine)
		if err != nil {
			return cxtp.Claims{}, err
		}
		if all.Identity == "" {
			all.Identity = c.Identity
		}
		all.Inner = append(all.Inner, c.Inner...)
	}
	return all, nil
}

// Statuses turns an operation's error into what the other gateway is told.
func Statuses(err error) []cxtp.ContextStatus {
	if err == nil {
		return nil
	}
	var refusal *Error
	if errors.As(err, &refusal) {
		return []cxtp.ContextStatus{{FPT: refusal.FPT, Status: refusal.Status}}
	}
	return []cxtp.ContextStatus{{FPT: cxtp.FPTControl, Status: cxtp.StatusInternal}}
}
