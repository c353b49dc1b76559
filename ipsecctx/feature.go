package ipsecctx

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"sync"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
	"github.com/cxtp/cxtp/features/ledger"
	"github.com/cxtp/cxtp/features/profile"
)

// Options of a [Feature].
type Options struct {
	// LocalEndpoint gives this gateway's outer address and UDP encapsulation
	// port towards a node, for gateways that do not share one address. A port
	// of 0 leaves the port as it is. nil leaves everything as it is.
	LocalEndpoint func(remote netip.Addr) (netip.Addr, uint16)

	// Renegotiate refuses a session whose SPI is taken with StatusRenegotiate, which
	// asks the source to have it rekeyed and to move it then.
	Renegotiate bool

	// Remember is the number of sessions whose epochs are remembered; 0 means
	// [ledger.DefaultLimit]. More are kept only while they are staged or frozen.
	Remember int
}

// Feature is the IPsec feature context on top of a gateway: it encodes and
// decodes, checks, answers repetitions, and refuses epochs that are over, so
// that a [Backend] sees each thing once and in Go values.
//
// The blocks of a snapshot belong to the caller, who wipes them. The feature
// keeps a copy for repetitions, and wipes that when the session is released, or
// thawed, or a later epoch begins. The blocks that it is given stay the
// caller's too.
type Feature struct {
	backend Backend
	options Options
	records *ledger.Ledger[record, *record]

	bareMu sync.Mutex
	bare   map[cxtp.SessionID]bool // sessions without SAs
}

var _ features.Feature = (*Feature)(nil)

// NewFeature puts the IPsec context on top of a gateway.
func NewFeature(b Backend, options Options) *Feature {
	return &Feature{
		backend: b,
		options: options,
		records: ledger.New[record](cxtp.FPTIPsecSession, options.Remember),
		bare:    map[cxtp.SessionID]bool{},
	}
}

// FPTs implements [features.Feature].
func (*Feature) FPTs() []cxtp.FPT {
	return []cxtp.FPT{cxtp.FPTIPsecSession, cxtp.FPTIPsecSA, cxtp.FPTIPsecDynamic, cxtp.FPTIPsecOuter}
}

// Export implements [features.Feature]. The SAs of a session are one thing: there
// is no part of them that could be asked for.
func (f *Feature) Export(ctx context.Context, ref features.Ref, _ []cxtp.FPT) (features.Snapshot, error) {
	if f.isBare(ref.Session) {
		return features.Snapshot{}, nil
	}
	return f.records.Once(ctx, ref, ledger.Export, func(*record) (features.Snapshot, error) {
		s, dynamic, err := f.backend.Export(ctx, ref.Session)
		if err != nil {
			return features.Snapshot{}, fmt.Errorf("failed to export: %w", err)
		}
		defer s.Wipe()
		if err := s.Validate(); err != nil {
			return features.Snapshot{}, fmt.Errorf("failed to export: %w", err)
		}
		blocks, err := EncodeSession(s)
		if err != nil {
			return features.Snapshot{}, err
		}
		return features.Snapshot{Blocks: blocks, Manifest: Manifest(s, dynamic)}, nil
	})
}

// Stage implements [features.Feature]. A stage without IPsec contexts, of a
// session that has none, stages nothing.
func (f *Feature) Stage(ctx context.Context, ref features.Ref, st features.Staging) error {
	return f.records.Do(ctx, ref, ledger.Stage, func(r *record) error {
		if r.Holds == ledger.HoldsFrozen {
			return refusal(cxtp.FPTIPsecSession, cxtp.StatusBusy, "the session is frozen here, on its way to another gateway")
		}
		base, changes, err := f.stage(ctx, ref.Session, st)
		if err != nil || len(base) == 0 {
			err = errors.Join(err, f.dropStaged(ctx, r))
		}
		if err != nil {
			return err
		}
		f.setBare(ref.Session, len(base) == 0)
		r.stage(ref.Epoch, base, st.Manifest)
		r.changes = changes
		return nil
	})
}

// stage checks and stages, and returns what to check dynamic state against and
// which SPIs are others here.
func (f *Feature) stage(ctx context.Context, id cxtp.SessionID, st features.Staging) (base []stagedSA, changes []cxtp.SPIChange, err error) {
	if len(st.Blocks) == 0 && len(st.Manifest) == 0 {
		return nil, nil, nil
	}
	err = withDecoded(st.Blocks, func(s *Session) (err error) {
		if err = f.check(s, st.Manifest); err != nil {
			return err
		}
		if changes, err = f.place(ctx, id, s, st.Reassign); err != nil {
			return err
		}
		base = bareSAs(s)
		return nil
	})
	return base, changes, err
}

// dropStaged discards what an earlier epoch staged and a later one has not
// replaced: it can no longer be activated.
func (f *Feature) dropStaged(ctx context.Context, r *record) error {
	if r.Holds != ledger.HoldsStaged {
		return nil
	}
	if err := f.discard(ctx, r); err != nil {
		return err
	}
	r.Holds, r.base = ledger.HoldsUnknown, nil
	return nil
}

// check looks for a reason to refuse what is to be staged, and makes it this
// gateway's.
func (f *Feature) check(s *Session, manifest []cxtp.ManifestEntry) error {
	if err := checkManifest(s, manifest); err != nil {
		return err
	}
	for i := range s.SAs {
		if err := f.localise(&s.SAs[i]); err != nil {
			return err
		}
		if err := f.backend.Supports(&s.SAs[i]); err != nil {
			return err
		}
	}
	return nil
}

// localise puts this gateway's endpoint in the place of the other's, unless they
// share it.
func (f *Feature) localise(sa *SA) error {
	sharer, shares := f.backend.(Sharer)
	if f.options.LocalEndpoint == nil || shares && sharer.Shared(sa.Local) {
		return nil
	}
	local, port := f.options.LocalEndpoint(sa.Remote)
	if reason := profile.Unicast(local); reason != "" || local.Is4() != sa.Remote.Is4() {
		return refusal(cxtp.FPTIPsecSA, cxtp.StatusUnsupported, "%s: this gateway has no outer address towards %s", sa.ID(), sa.Remote)
	}
	if sa.Mode == Transport && sa.Local != local {
		return refusal(cxtp.FPTIPsecSA, cxtp.StatusUnsupported, "%s: in transport mode it is bound to %s, and this gateway has %s", sa.ID(), sa.Local, local)
	}
	sa.Local = local
	if sa.Encap.Enabled() && port != 0 {
		sa.Encap.LocalPort = port
	}
	return nil
}

func manifestID(m cxtp.ManifestEntry) ID {
	return ID{Direction(m.Direction), Protocol(m.Protocol), m.SPI}
}

// checkManifest checks that the manifest, where there is one, names the
// session's SAs, all of them and no others.
func checkManifest(s *Session, manifest []cxtp.ManifestEntry) error {
	if len(manifest) == 0 {
		return nil
	}
	listed := map[ID]bool{}
	for _, m := range manifest {
		listed[manifestID(m)] = true
	}
	for i := range s.SAs {
		if !listed[s.SAs[i].ID()] {
			return malformed(cxtp.FPTIPsecSA, "%s: not in the manifest", s.SAs[i].ID())
		}
	}
	if len(manifest) != len(s.SAs) {
		return malformed(cxtp.FPTIPsecSession, "manifest of %d SAs, context of %d", len(manifest), len(s.SAs))
	}
	return nil
}

// Freeze implements [features.Feature].
func (f *Feature) Freeze(ctx context.Context, ref features.Ref) (features.Snapshot, error) {
	if f.isBare(ref.Session) {
		return features.Snapshot{}, nil
	}
	return f.records.Once(ctx, ref, ledger.Freeze, func(r *record) (features.Snapshot, error) {
		if d, ok := f.backend.(Diverter); ok && ref.Peer != "" {
			d.Divert(ctx, ref.Session, ref.Peer)
		}
		dynamic, err := f.backend.Freeze(ctx, ref.Session)
		if err != nil {
			return features.Snapshot{}, fmt.Errorf("failed to freeze: %w", err)
		}
		r.Holds = ledger.HoldsFrozen
		return snapshot(dynamic)
	})
}

// snapshot encodes dynamic state.
func snapshot(dynamic []Dynamic) (features.Snapshot, error) {
	blocks, err := EncodeDynamic(dynamic)
	if err != nil {
		return features.Snapshot{}, err
	}
	manifest := make([]cxtp.ManifestEntry, len(dynamic))
	for i := range dynamic {
		manifest[i] = dynamic[i].ID().manifest(dynamic[i].Sequence)
	}
	return features.Snapshot{Blocks: blocks, Manifest: manifest}, nil
}

// Activate implements [features.Feature]. State that does not name exactly the
// staged SAs, or whose counters are above the ceilings that were staged, is
// refused with StatusNoBase.
func (f *Feature) Activate(ctx context.Context, ref features.Ref, blocks []cxtp.CDB) error {
	return f.records.Do(ctx, ref, ledger.Activate, func(r *record) error {
		if !r.IsStaged(ref.Epoch) {
			return refusal(cxtp.FPTIPsecDynamic, cxtp.StatusNoBase, "nothing is staged for epoch %d", ref.Epoch)
		}
		dynamic, err := DecodeDynamic(blocks)
		if err != nil {
			return err
		}
		if err := checkFinal(r.base, r.here(dynamic)); err != nil {
			return err
		}
		if len(dynamic) > 0 {
			if err := f.backend.Limit(ctx, ref.Session, r.ceilings()); err != nil {
				return fmt.Errorf("failed to limit: %w", err)
			}
			if err := f.backend.Activate(ctx, ref.Session, dynamic); err != nil {
				return fmt.Errorf("failed to activate: %w", err)
			}
		}
		r.Holds = ledger.HoldsActive
		return nil
	})
}

// Thaw implements [features.Feature].
func (f *Feature) Thaw(ctx context.Context, ref features.Ref, floors []cxtp.ManifestEntry) error {
	if f.isBare(ref.Session) {
		return nil
	}
	return f.records.Do(ctx, ref, ledger.Thaw, func(r *record) error {
		if err := f.backend.Thaw(ctx, ref.Session, ceilingsOf(floors)); err != nil {
			return fmt.Errorf("failed to thaw: %w", err)
		}
		r.Holds = ledger.HoldsActive
		r.ForgetAnswer(ledger.Export)
		return nil
	})
}

// Redirect implements [features.Feature].
func (f *Feature) Redirect(ctx context.Context, ref features.Ref, to cxtp.RouterID) error {
	if f.isBare(ref.Session) {
		return nil
	}
	return f.records.Do(ctx, ref, ledger.Redirect, func(*record) error {
		if err := f.backend.Redirect(ctx, ref.Session, to); err != nil {
			return fmt.Errorf("failed to redirect: %w", err)
		}
		return nil
	})
}

// Close implements [features.Feature]. Only inbound SAs are in the snapshot:
// the outbound ones have been frozen since the final. Beside them it has the shared
// outer addresses that are the target's now.
func (f *Feature) Close(ctx context.Context, ref features.Ref) (features.Snapshot, error) {
	if f.isBare(ref.Session) {
		return features.Snapshot{}, nil
	}
	return f.records.Once(ctx, ref, ledger.Close, func(*record) (features.Snapshot, error) {
		dynamic, err := f.backend.Close(ctx, ref.Session)
		if err != nil {
			return features.Snapshot{}, fmt.Errorf("failed to close: %w", err)
		}
		s, err := snapshot(inboundOnly(dynamic))
		if sharer, ok := f.backend.(Sharer); ok && err == nil {
			var yielded []cxtp.CDB
			yielded, err = EncodeOuter(sharer.Yield(ctx, ref.Session))
			s.Blocks = append(s.Blocks, yielded...)
		}
		return s, err
	})
}

// Merge implements [features.Feature]. What the blocks say of outbound SAs is
// ignored. An inbound SA that was staged may be missing: it has expired. Of a close
// that was repeated the shared outer addresses are taken again.
func (f *Feature) Merge(ctx context.Context, ref features.Ref, blocks []cxtp.CDB) error {
	yielded, err := DecodeOuter(blocks)
	if err == nil {
		err = f.mergeWindows(ctx, ref, blocks)
	}
	if sharer, ok := f.backend.(Sharer); ok && err == nil && len(yielded) > 0 {
		sharer.Take(ctx, ref.Session, yielded)
	}
	return err
}

func (f *Feature) mergeWindows(ctx context.Context, ref features.Ref, blocks []cxtp.CDB) error {
	all, err := DecodeDynamic(blocks)
	if err != nil {
		return err
	}
	last := inboundOnly(all)
	if len(last) == 0 {
		return f.doWithout(ctx, ref)
	}
	return f.records.Do(ctx, ref, ledger.Merge, func(r *record) error {
		base := r.base
		if base == nil {
			// A restart between Activate and Merge: the SAs tell it again.
			s, _, err := f.backend.Export(ctx, ref.Session)
			if err != nil {
				return fmt.Errorf("failed to read the SAs to merge into: %w", err)
			}
			s.Wipe()
			base = bareSAs(s)
		}
		if err := checkLast(base, r.here(last)); err != nil {
			return err
		}
		if err := f.backend.Merge(ctx, ref.Session, last); err != nil {
			return fmt.Errorf("failed to merge: %w", err)
		}
		r.base = nil // nothing is checked against it any more
		return nil
	})
}

// Release implements [features.Feature].
func (f *Feature) Release(ctx context.Context, ref features.Ref) error {
	return f.records.Do(ctx, ref, ledger.Release, func(r *record) error {
		if err := f.backend.Release(ctx, ref.Session); err != nil {
			return fmt.Errorf("failed to release: %w", err)
		}
		f.setBare(ref.Session, false)
		r.end()
		return nil
	})
}

// Discard implements [features.Feature]. It does nothing to a session that was
// activated in an earlier epoch, and refuses one activated in this.
func (f *Feature) Discard(ctx context.Context, ref features.Ref) error {
	return f.records.Do(ctx, ref, ledger.Discard, func(r *record) error {
		if done, err := r.Keeps(ref.Epoch); done {
			return err
		}
		if err := f.discard(ctx, r); err != nil {
			return err
		}
		f.setBare(ref.Session, false)
		r.end()
		return nil
	})
}

func (f *Feature) discard(ctx context.Context, r *record) error {
	if err := f.backend.Discard(ctx, r.ID); err != nil {
		return fmt.Errorf("failed to discard: %w", err)
	}
	return nil
}

// Claims implements [features.Feature]. Without IPsec contexts there are none.
func (f *Feature) Claims(blocks []cxtp.CDB) (cxtp.Claims, error) {
	if len(blocks) == 0 {
		return cxtp.Claims{}, nil
	}
	var claims cxtp.Claims
	err := withDecoded(blocks, func(s *Session) error {
		claims = s.Claims()
		return nil
	})
	return claims, err
}
