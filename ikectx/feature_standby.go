package ikectx

import (
	"context"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
	"github.com/cxtp/cxtp/features/ledger"
)

// Limit implements [features.Feature]. An IKE SA has no ceilings.
func (*Feature) Limit(context.Context, features.Ref, []cxtp.ManifestEntry) error { return nil }

// Sample implements [features.Feature].
func (f *Feature) Sample(ctx context.Context, ref features.Ref) (s features.Snapshot, err error) {
	err = f.records.Turn(ctx, ref, ledger.Sample, func(*record) error {
		d, err := f.backend.Sample(ctx, ref.Session)
		if err != nil {
			return wrap("sample", err)
		}
		s, err = snapshot(d)
		return err
	})
	return s, err
}

// Renew implements [features.Feature]. What it is given is checked as a final is.
func (f *Feature) Renew(ctx context.Context, ref features.Ref, st features.Staging) error {
	return f.records.Turn(ctx, ref, ledger.Renew, func(r *record) error {
		d, err := r.final(ref.Epoch, st.Blocks)
		if err != nil || d == nil {
			return err
		}
		r.sample = d.Clone() // the blocks are the caller's, who wipes them
		return nil
	})
}

// TakeOver implements [features.Feature]. Without any Renew it refuses: there are
// no message IDs to go on with.
func (f *Feature) TakeOver(ctx context.Context, ref features.Ref) error {
	return f.records.Do(ctx, ref, ledger.TakeOver, func(r *record) error {
		switch {
		case !r.IsStaged(ref.Epoch):
			return features.Refuse(cxtp.FPTIKEDynamic, cxtp.StatusNoBase, "nothing is staged for epoch %d", ref.Epoch)
		case r.base != nil && r.sample == nil:
			return features.Refuse(cxtp.FPTIKEDynamic, cxtp.StatusNoBase, "the copy staged in epoch %d has never been renewed: its message IDs are not known", ref.Epoch)
		case r.base != nil:
			if err := f.backend.TakeOver(ctx, ref.Session, *r.sample); err != nil {
				return wrap("take over", err)
			}
		}
		r.Holds = ledger.HoldsActive
		return nil
	})
}

// Held implements [features.Feature].
func (f *Feature) Held(ctx context.Context) ([]cxtp.Held, error) { return f.backend.Held(ctx) }
