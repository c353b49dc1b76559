package features

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/cxtp/cxtp/cxtp"
)

// Set is the registry: the features of a router, acting as one. Blocks go to the
// feature that names their type; a block that nobody names refuses a stage.
//
// Features of which nobody asked anything, and those that are [Optional] and
// have failed, are left out of an attempt: from there on they are not asked until
// it ends, and no block of theirs goes along.
type Set struct {
	features []Feature
	byFPT    map[cxtp.FPT]Feature

	mu  sync.Mutex
	out map[cxtp.SessionID][]Feature
}

var (
	_ Feature    = (*Set)(nil)
	_ Reassigner = (*Set)(nil)
)

// NewSet registers features, in the order in which they are to be worked on.
func NewSet(features ...Feature) (*Set, error) {
	s := &Set{features: features, byFPT: map[cxtp.FPT]Feature{}, out: map[cxtp.SessionID][]Feature{}}
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

// known checks that every block's type is one that a feature names.
func (s *Set) known(blocks []cxtp.CDB) error {
	for _, b := range blocks {
		if s.byFPT[b.FPT] == nil {
			return &Error{FPT: b.FPT, Status: cxtp.StatusUnknownFPT, Err: errors.New("no feature here reads this context type")}
		}
	}
	return nil
}

// share is what of a list belongs to a feature: the list itself, if all of it
// does.
func share[T any](s *Set, f Feature, list []T, fpt func(T) cxtp.FPT) []T {
	foreign := func(x T) bool { return s.byFPT[fpt(x)] != f }
	if !slices.ContainsFunc(list, foreign) {
		return slices.Clip(list)
	}
	return slices.DeleteFunc(slices.Clone(list), foreign)
}

func (s *Set) blocksOf(f Feature, all []cxtp.CDB) []cxtp.CDB {
	return share(s, f, all, func(b cxtp.CDB) cxtp.FPT { return b.FPT })
}

func (s *Set) manifestOf(f Feature, all []cxtp.ManifestEntry) []cxtp.ManifestEntry {
	return share(s, f, all, func(m cxtp.ManifestEntry) cxtp.FPT { return m.FPT })
}

// eachShare runs an operation on every feature that takes part, with its blocks.
func (s *Set) eachShare(ref Ref, blocks []cxtp.CDB, op func(Feature, []cxtp.CDB) error) error {
	if err := s.known(blocks); err != nil {
		return err
	}
	return s.each(ref, func(f Feature) error { return op(f, s.blocksOf(f, blocks)) })
}

// Export reads every feature that has a type among those asked for.
func (s *Set) Export(ctx context.Context, ref Ref, types []cxtp.FPT) (Snapshot, error) {
	s.forget(ref)
	asked, unknown := s.asked(types)
	if types != nil && len(asked) == 0 {
		return Snapshot{}, &Error{FPT: types[0], Status: cxtp.StatusUnknownFPT, Err: errors.New("no feature here has any of the context types that were asked for")}
	}
	for _, f := range s.features {
		if types != nil && !asked[f] {
			s.leave(ref, f)
		}
	}
	all, err := s.gather(ref, func(f Feature) (Snapshot, error) { return f.Export(ctx, ref, types) })
	return all, lacking(err, unknown)
}

// asked is whose contexts a request for these types wants.
func (s *Set) asked(types []cxtp.FPT) (asked map[Feature]bool, unknown *Partial) {
	asked = map[Feature]bool{}
	unknown = &Partial{}
	for _, t := range types {
		if f := s.byFPT[t]; f != nil {
			asked[f] = true
		} else {
			unknown.add(t, cxtp.StatusUnknownFPT, fmt.Errorf("no feature here has the context type %#04x", uint16(t)))
		}
	}
	return asked, unknown
}

// Stage stages with every feature, or with none; one that is [Optional] may fail.
func (s *Set) Stage(ctx context.Context, ref Ref, st Staging) error {
	if err := s.known(st.Blocks); err != nil {
		return err
	}
	s.forget(ref)
	missing := &Partial{}
	for i, f := range s.features {
		part := Staging{Blocks: s.blocksOf(f, st.Blocks), Manifest: s.manifestOf(f, st.Manifest), Deadline: st.Deadline, Reassign: st.Reassign}
		err := f.Stage(ctx, ref, part)
		switch {
		case err == nil:
		case optional(f):
			s.leave(ref, f)
			missing.failed(f, err)
		default:
			for _, staged := range s.features[:i] {
				err = errors.Join(err, staged.Discard(ctx, ref))
			}
			return err
		}
	}
	return missing.orNil()
}

// Reassigned lists what every feature has changed that can.
func (s *Set) Reassigned(ref Ref) (all []cxtp.SPIChange) {
	for _, f := range s.features {
		if r, ok := f.(Reassigner); ok {
			all = append(all, r.Reassigned(ref)...)
		}
	}
	return all
}

// Limit limits every feature's SAs.
func (s *Set) Limit(ctx context.Context, ref Ref, ceilings []cxtp.ManifestEntry) error {
	return s.each(ref, func(f Feature) error { return f.Limit(ctx, ref, s.manifestOf(f, ceilings)) })
}

// Sample reads every feature.
func (s *Set) Sample(ctx context.Context, ref Ref) (Snapshot, error) {
	return s.gather(ref, func(f Feature) (Snapshot, error) { return f.Sample(ctx, ref) })
}

// Renew renews what every feature has staged.
func (s *Set) Renew(ctx context.Context, ref Ref, st Staging) error {
	return s.eachShare(ref, st.Blocks, func(f Feature, b []cxtp.CDB) error {
		return f.Renew(ctx, ref, Staging{Blocks: b, Manifest: s.manifestOf(f, st.Manifest)})
	})
}

// TakeOver makes every feature start what it has staged.
func (s *Set) TakeOver(ctx context.Context, ref Ref) error {
	return s.each(ref, func(f Feature) error { return f.TakeOver(ctx, ref) })
}

// Freeze freezes every feature.
func (s *Set) Freeze(ctx context.Context, ref Ref) (Snapshot, error) {
	return s.gather(ref, func(f Feature) (Snapshot, error) { return f.Freeze(ctx, ref) })
}

// Activate activates every feature. What an [Optional] one has staged and cannot
// start is discarded.
func (s *Set) Activate(ctx context.Context, ref Ref, dynamic []cxtp.CDB) error {
	return s.eachShare(ref, dynamic, func(f Feature, b []cxtp.CDB) error {
		err := f.Activate(ctx, ref, b)
		if err != nil && optional(f) {
			err = errors.Join(err, f.Discard(ctx, ref))
		}
		return err
	})
}

// Thaw thaws every feature.
func (s *Set) Thaw(ctx context.Context, ref Ref, floors []cxtp.ManifestEntry) error {
	return s.each(ref, func(f Feature) error { return f.Thaw(ctx, ref, s.manifestOf(f, floors)) })
}

// Redirect redirects every feature.
func (s *Set) Redirect(ctx context.Context, ref Ref, to cxtp.RouterID) error {
	return s.each(ref, func(f Feature) error { return f.Redirect(ctx, ref, to) })
}

// Close closes every feature.
func (s *Set) Close(ctx context.Context, ref Ref) (Snapshot, error) {
	return s.gather(ref, func(f Feature) (Snapshot, error) { return f.Close(ctx, ref) })
}

// Merge merges into every feature.
func (s *Set) Merge(ctx context.Context, ref Ref, last []cxtp.CDB) error {
	return s.eachShare(ref, last, func(f Feature, b []cxtp.CDB) error { return f.Merge(ctx, ref, b) })
}

// Release makes every feature forget, also what nobody asked for: the session
// goes as a whole.
func (s *Set) Release(ctx context.Context, ref Ref) error {
	s.forget(ref)
	return s.each(ref, func(f Feature) error { return f.Release(ctx, ref) })
}

// Discard makes every feature forget what was staged.
func (s *Set) Discard(ctx context.Context, ref Ref) error {
	s.forget(ref)
	return s.each(ref, func(f Feature) error { return f.Discard(ctx, ref) })
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
				h.Claims.Gateways = append(other.Claims.Gateways, h.Claims.Gateways...)
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
		c, err := f.Claims(s.blocksOf(f, blocks))
		switch {
		case err == nil:
		case optional(f):
			continue // it claims nothing, and staging leaves it out
		default:
			return cxtp.Claims{}, err
		}
		if all.Identity == "" {
			all.Identity = c.Identity
		}
		all.Inner = append(all.Inner, c.Inner...)
		all.Gateways = append(all.Gateways, c.Gateways...)
	}
	return all, nil
}
