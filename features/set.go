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
// Features build on each other in the order in which they are registered: what
// puts something up (Stage, Renew, Activate, TakeOver, Thaw, Merge) goes through
// them in that order, and what takes it down (Export, Freeze, Redirect, Close,
// Release, Discard) in the other. So IPsec is registered before IKE: its policies
// are there before an IKE daemon installs anything, and IKE has come to rest, or is
// frozen, before its SAs and their counters are read.
//
// Features of which nobody asked anything, and those that are [Optional] and
// have failed, are left out of an attempt: from there on they are not asked until
// it ends, and no block of theirs goes along.
type Set struct {
	up, down []Feature // the features, in both orders
	byFPT    map[cxtp.FPT]Feature

	pauses *pauses

	mu  sync.Mutex
	out map[cxtp.SessionID][]Feature
}

var (
	_ Feature    = (*Set)(nil)
	_ Reassigner = (*Set)(nil)
)

// NewSet registers features, each behind those that it builds on.
func NewSet(features ...Feature) (*Set, error) {
	s := &Set{up: features, down: slices.Clone(features), byFPT: map[cxtp.FPT]Feature{}, pauses: newPauses(), out: map[cxtp.SessionID][]Feature{}}
	slices.Reverse(s.down)
	for _, f := range features {
		for _, fpt := range f.FPTs() {
			switch {
			case fpt == 0: // RFC 4065 section 6
				return nil, errors.New("a feature claims the context type 0, which is reserved")
			case s.byFPT[fpt] != nil:
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
	for _, f := range s.up {
		all = append(all, f.FPTs()...)
	}
	return all
}

// Copyable lists the context types of the features that are [Copyable].
func (s *Set) Copyable() (all []cxtp.FPT) {
	for _, f := range s.up {
		if c, ok := f.(Copyable); ok && c.Copyable() {
			all = append(all, f.FPTs()...)
		}
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
// does. Of a list that is there, it is there too, even if it has nothing.
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
	return s.each(ref, s.up, func(f Feature) error { return op(f, s.blocksOf(f, blocks)) })
}

// Export reads every feature that has a type among those asked for.
func (s *Set) Export(ctx context.Context, ref Ref, types []cxtp.FPT) (Snapshot, error) {
	s.forget(ref)
	asked, unknown := s.asked(types)
	if types != nil && len(asked) == 0 {
		return Snapshot{}, &Error{FPT: types[0], Status: cxtp.StatusUnknownFPT, Err: errors.New("no feature here has any of the context types that were asked for")}
	}
	for _, f := range s.up {
		if types != nil && !asked[f] {
			s.leave(ref, f)
		}
	}
	all, err := s.gather(ref, s.down, func(f Feature) (Snapshot, error) { return f.Export(ctx, ref, types) })
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
// SAs that IKE made keep their SPIs, because IKE has no message that changes one.
func (s *Set) Stage(ctx context.Context, ref Ref, st Staging) error {
	if err := s.known(st.Blocks); err != nil {
		return err
	}
	s.forget(ref)
	reassign := st.Reassign && !slices.ContainsFunc(st.Blocks, func(b cxtp.CDB) bool { return b.FPT == cxtp.FPTIKEChild })
	missing := &Partial{}
	for i, f := range s.up {
		part := Staging{Blocks: s.blocksOf(f, st.Blocks), Manifest: s.manifestOf(f, st.Manifest), Deadline: st.Deadline, Reassign: reassign}
		err := f.Stage(ctx, ref, part)
		switch {
		case err == nil:
		case optional(f):
			s.leave(ref, f)
			missing.failed(f, err)
		default:
			for _, staged := range slices.Backward(s.up[:i]) {
				err = errors.Join(err, staged.Discard(ctx, ref))
			}
			return err
		}
	}
	return missing.orNil()
}

// Reassigned lists what every feature has changed that can.
func (s *Set) Reassigned(ref Ref) (all []cxtp.SPIChange) {
	for _, f := range s.up {
		if r, ok := f.(Reassigner); ok {
			all = append(all, r.Reassigned(ref)...)
		}
	}
	return all
}

// Limit limits every feature's SAs.
func (s *Set) Limit(ctx context.Context, ref Ref, ceilings []cxtp.ManifestEntry) error {
	return s.each(ref, s.up, func(f Feature) error { return f.Limit(ctx, ref, s.manifestOf(f, ceilings)) })
}

// Sample reads every feature.
func (s *Set) Sample(ctx context.Context, ref Ref) (Snapshot, error) {
	return s.gather(ref, s.up, func(f Feature) (Snapshot, error) { return f.Sample(ctx, ref) })
}

// Renew renews what every feature has staged.
func (s *Set) Renew(ctx context.Context, ref Ref, st Staging) error {
	return s.eachShare(ref, st.Blocks, func(f Feature, b []cxtp.CDB) error {
		return f.Renew(ctx, ref, Staging{Blocks: b, Manifest: s.manifestOf(f, st.Manifest)})
	})
}

// TakeOver makes every feature start what it has staged, as Activate does.
func (s *Set) TakeOver(ctx context.Context, ref Ref) error {
	return s.start(ctx, ref, func(f Feature) (bool, error) { return true, f.TakeOver(ctx, ref) })
}

// Freeze freezes every feature. One that is busy ends it: those that were frozen
// before it go on, so that nothing is stopped. In a mass move, few sessions are frozen
// at once, and the next one waits until another gateway has one of them.
func (s *Set) Freeze(ctx context.Context, ref Ref) (Snapshot, error) {
	s.pauses.begin(ctx, ref.Session)
	all, err := s.freeze(ctx, ref)
	if err != nil {
		s.pauses.end(ref.Session)
	}
	return all, err
}

func (s *Set) freeze(ctx context.Context, ref Ref) (Snapshot, error) {
	var busy error
	var frozen []Feature
	all, err := s.gather(ref, s.down, func(f Feature) (Snapshot, error) {
		if busy != nil {
			return Snapshot{}, nil
		}
		one, err := f.Freeze(ctx, ref)
		if isBusy(err) && !optional(f) {
			busy = err
			return Snapshot{}, nil
		}
		frozen = append(frozen, f)
		return one, err
	})
	if busy == nil {
		return all, err
	}
	if Statuses(err) != nil { // another has failed: it is not known to go on
		return Snapshot{}, err
	}
	for _, f := range slices.Backward(frozen) {
		if err := f.Thaw(ctx, ref, nil); err != nil {
			return Snapshot{}, fmt.Errorf("failed to go on when another feature was busy: %w", err)
		}
	}
	return Snapshot{}, busy
}

func isBusy(err error) bool {
	var refusal *Error
	return errors.As(err, &refusal) && refusal.Status == cxtp.StatusBusy
}

// Activate asks every [Verifier], and then activates one feature after the other.
// The first that fails ends it, as long as none has started anything. After that
// there is no way back: a feature that fails is left behind like an [Optional]
// one, but keeps what it has staged.
func (s *Set) Activate(ctx context.Context, ref Ref, dynamic []cxtp.CDB) error {
	if err := s.known(dynamic); err != nil {
		return err
	}
	for _, f := range s.parts(ref, s.up) {
		if v, ok := f.(Verifier); ok && !optional(f) {
			if err := v.Verify(ctx, ref, s.blocksOf(f, dynamic)); err != nil {
				return err
			}
		}
	}
	return s.start(ctx, ref, func(f Feature) (bool, error) {
		blocks := s.blocksOf(f, dynamic)
		return len(blocks) > 0, f.Activate(ctx, ref, blocks)
	})
}

// Thaw thaws every feature.
func (s *Set) Thaw(ctx context.Context, ref Ref, floors []cxtp.ManifestEntry) error {
	s.pauses.end(ref.Session)
	return s.each(ref, s.up, func(f Feature) error { return f.Thaw(ctx, ref, s.manifestOf(f, floors)) })
}

// Redirect redirects every feature.
func (s *Set) Redirect(ctx context.Context, ref Ref, to cxtp.RouterID) error {
	s.pauses.end(ref.Session)
	return s.each(ref, s.down, func(f Feature) error { return f.Redirect(ctx, ref, to) })
}

// Close closes every feature.
func (s *Set) Close(ctx context.Context, ref Ref) (Snapshot, error) {
	s.pauses.end(ref.Session)
	return s.gather(ref, s.down, func(f Feature) (Snapshot, error) { return f.Close(ctx, ref) })
}

// Merge merges into every feature.
func (s *Set) Merge(ctx context.Context, ref Ref, last []cxtp.CDB) error {
	return s.eachShare(ref, last, func(f Feature, b []cxtp.CDB) error { return f.Merge(ctx, ref, b) })
}

// Release makes every feature forget, also what nobody asked for: the session
// goes as a whole.
func (s *Set) Release(ctx context.Context, ref Ref) error {
	s.pauses.end(ref.Session)
	s.forget(ref)
	return s.each(ref, s.down, func(f Feature) error { return f.Release(ctx, ref) })
}

// Discard makes every feature forget what was staged.
func (s *Set) Discard(ctx context.Context, ref Ref) error {
	s.pauses.end(ref.Session)
	s.forget(ref)
	return s.each(ref, s.down, func(f Feature) error { return f.Discard(ctx, ref) })
}

// Held unites what the features hold. A session of which they hold different
// things stands where the one stands that got furthest: what one has begun, the
// session has begun, and what the others have not done can be done again. That
// nothing has been started is proved by the feature alone that starts first; a
// session that only the others hold staged is as good as gone.
func (s *Set) Held(ctx context.Context) ([]cxtp.Held, error) {
	byID, proved := map[cxtp.SessionID]cxtp.Held{}, map[cxtp.SessionID]bool{}
	for i, f := range s.up {
		held, err := f.Held(ctx)
		if err != nil {
			return nil, err
		}
		for _, h := range held {
			if other, both := byID[h.Session]; both {
				h.State = max(h.State, other.State)
				h.Claims = united(other.Claims, h.Claims)
			}
			byID[h.Session] = h
			proved[h.Session] = proved[h.Session] || i == 0
		}
	}
	for id, h := range byID {
		if h.State == cxtp.HeldStaged && !proved[id] {
			h.State = cxtp.HeldNothing
			byID[id] = h
		}
	}
	return slices.SortedFunc(maps.Values(byID), func(a, b cxtp.Held) int { return bytes.Compare(a.Session[:], b.Session[:]) }), nil
}

// Claims unites what every feature reads. All that name the node name the same:
// the policy looks at one identity only. Blocks of unknown types claim nothing:
// staging refuses them.
func (s *Set) Claims(blocks []cxtp.CDB) (cxtp.Claims, error) {
	var all cxtp.Claims
	for _, f := range s.up {
		c, err := f.Claims(s.blocksOf(f, blocks))
		switch {
		case err == nil:
		case optional(f):
			continue // it claims nothing, and staging leaves it out
		default:
			return cxtp.Claims{}, err
		}
		if all.Identity != "" && c.Identity != "" && c.Identity != all.Identity {
			return cxtp.Claims{}, Refuse(f.FPTs()[0], cxtp.StatusMalformed, "the node is %q here and %q in another context of the session", c.Identity, all.Identity)
		}
		all = united(all, c)
	}
	return all, nil
}

// united is what two features claim of one session, most of it both.
func united(a, b cxtp.Claims) cxtp.Claims {
	return cxtp.Claims{Identity: cmp.Or(a.Identity, b.Identity), Inner: joined(a.Inner, b.Inner), Gateways: joined(a.Gateways, b.Gateways)}
}

// joined appends what is not there yet.
func joined[T comparable](all, more []T) []T {
	there := make(map[T]bool, len(all))
	for _, one := range all {
		there[one] = true
	}
	for _, one := range more {
		if !there[one] {
			there[one] = true
			all = append(all, one)
		}
	}
	return all
}
