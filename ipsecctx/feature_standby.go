package ipsecctx

import (
	"context"
	"fmt"
	"slices"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/features"
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

// turn runs an operation in the session's turn each time that it is asked for.
func (f *Feature) turn(ctx context.Context, ref features.Ref, op operation, run func(*record) error) error {
	r, err := f.records.enter(ctx, ref.Session)
	if err != nil {
		return fmt.Errorf("failed to wait for the session's turn: %w", err)
	}
	defer f.records.leave(r)
	if err := r.admit(op, ref.Epoch); err != nil {
		return err
	}
	return run(r)
}

// Limit implements [features.Feature].
func (f *Feature) Limit(ctx context.Context, ref features.Ref, manifest []cxtp.ManifestEntry) error {
	return f.turn(ctx, ref, opLimit, func(*record) error {
		if err := f.backend.Limit(ctx, ref.Session, ceilingsOf(manifest)); err != nil {
			return fmt.Errorf("failed to limit: %w", err)
		}
		return nil
	})
}

// Sample implements [features.Feature].
func (f *Feature) Sample(ctx context.Context, ref features.Ref) (s features.Snapshot, err error) {
	err = f.turn(ctx, ref, opSample, func(*record) error {
		_, dynamic, err := f.backend.Export(ctx, ref.Session)
		if err != nil {
			return fmt.Errorf("failed to sample: %w", err)
		}
		s, err = snapshot(dynamic)
		return err
	})
	return s, err
}

// Renew implements [features.Feature]. What it is given is checked as a final
// is.
func (f *Feature) Renew(ctx context.Context, ref features.Ref, st features.Staging) error {
	return f.turn(ctx, ref, opRenew, func(r *record) error {
		if r.holds != holdsStaged || r.staged != ref.Epoch {
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
	return f.do(ctx, ref, opTakeOver, func(r *record) error {
		if r.holds != holdsStaged || r.staged != ref.Epoch {
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
		r.holds = holdsActive
		return nil
	})
}

// Held implements [features.Feature].
func (f *Feature) Held(ctx context.Context) ([]cxtp.Held, error) {
	return f.backend.Held(ctx)
}
