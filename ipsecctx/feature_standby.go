package ipsecctx

import (
	"context"
	"fmt"
	"slices"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/features"
	"github.com/cxtp/cxtp/features/ledger"
)

// Ceilings are the last sequence numbers that outbound SAs may use; an SA that
// is not among them has none but its own.
type Ceilings map[ID]uint64

func ceilingsOf(manifest []cxtp.ManifestEntry) Ceilings {
	c := Ceilings{}
	for _, m := range manifest {
		if id := manifestID(m); id.Direction == Outbound {
			c[id] = m.Ceiling
		}
	}
	return c
}

// Limit implements [features.Feature].
func (f *Feature) Limit(ctx context.Context, ref features.Ref, manifest []cxtp.ManifestEntry) error {
	if f.isBare(ref.Session) {
		return nil
	}
	return f.records.Turn(ctx, ref, ledger.Limit, func(*record) error {
		if err := f.backend.Limit(ctx, ref.Session, ceilingsOf(manifest)); err != nil {
			return fmt.Errorf("failed to limit: %w", err)
		}
		return nil
	})
}

// Sample implements [features.Feature].
func (f *Feature) Sample(ctx context.Context, ref features.Ref) (s features.Snapshot, err error) {
	if f.isBare(ref.Session) {
		return features.Snapshot{}, nil
	}
	err = f.records.Turn(ctx, ref, ledger.Sample, func(*record) error {
		static, dynamic, err := f.backend.Export(ctx, ref.Session)
		if err != nil {
			return fmt.Errorf("failed to sample: %w", err)
		}
		static.Wipe()
		s, err = snapshot(dynamic)
		return err
	})
	return s, err
}

// Renew implements [features.Feature]. What it is given is checked as a final
// is.
func (f *Feature) Renew(ctx context.Context, ref features.Ref, st features.Staging) error {
	return f.records.Turn(ctx, ref, ledger.Renew, func(r *record) error {
		if !r.IsStaged(ref.Epoch) {
			return refusal(cxtp.FPTIPsecDynamic, cxtp.StatusNoBase, "nothing is staged for epoch %d", ref.Epoch)
		}
		dynamic, err := DecodeDynamic(st.Blocks)
		if err != nil {
			return err
		}
		next := slices.Clone(r.base)
		bound(next, st.Manifest)
		if err := checkFinal(next, r.here(dynamic)); err != nil {
			return err
		}
		for i := range dynamic { // the blocks are the caller's, who wipes them
			dynamic[i].ChainIV = secret.Clone(dynamic[i].ChainIV.Bytes())
		}
		r.base, r.sample = next, dynamic
		return nil
	})
}

// TakeOver implements [features.Feature]. Without any Renew it refuses: there is
// no window to go on with.
func (f *Feature) TakeOver(ctx context.Context, ref features.Ref) error {
	if f.isBare(ref.Session) {
		return nil
	}
	return f.records.Do(ctx, ref, ledger.TakeOver, func(r *record) error {
		if !r.IsStaged(ref.Epoch) {
			return refusal(cxtp.FPTIPsecDynamic, cxtp.StatusNoBase, "nothing is staged for epoch %d", ref.Epoch)
		}
		if len(r.sample) != len(r.base) {
			return refusal(cxtp.FPTIPsecDynamic, cxtp.StatusNoBase, "the copy staged in epoch %d has never been renewed: its anti-replay windows are not known", ref.Epoch)
		}
		above := slices.Clone(r.sample)
		for i := range above {
			b, err := find(r.base, &above[i])
			switch {
			case err != nil:
				return err
			case b.id.Direction == Inbound:
			case !b.bounded:
				return refusal(cxtp.FPTIPsecDynamic, cxtp.StatusNoBase, "%s: staged without a ceiling to start above", above[i].ID())
			default:
				above[i].Sequence = b.ceiling
			}
		}
		if err := f.backend.Activate(ctx, ref.Session, above); err != nil {
			return fmt.Errorf("failed to take over: %w", err)
		}
		r.Holds = ledger.HoldsActive
		if sharer, ok := f.backend.(Sharer); ok {
			sharer.Inherit(ctx, ref.Session, ref.Peer)
		}
		return nil
	})
}

// Held implements [features.Feature].
func (f *Feature) Held(ctx context.Context) ([]cxtp.Held, error) {
	return f.backend.Held(ctx)
}
