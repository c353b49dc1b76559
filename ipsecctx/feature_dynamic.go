package ipsecctx

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
	"github.com/cxtp/cxtp/features/ledger"
)

func inboundOnly(dynamic []Dynamic) []Dynamic {
	return slices.DeleteFunc(slices.Clone(dynamic), func(d Dynamic) bool { return d.Direction != Inbound })
}

// doWithout counts everything up to the right edge of the windows as seen.
func (f *Feature) doWithout(ctx context.Context, ref features.Ref) error {
	return f.records.Do(ctx, ref, ledger.DoWithout, func(r *record) error {
		if r.Holds != ledger.HoldsActive || len(r.base) == 0 {
			return nil // no SAs came, or not to this process, or they have been merged
		}
		s, dynamic, err := f.backend.Export(ctx, ref.Session)
		if err != nil {
			return fmt.Errorf("failed to read the windows: %w", err)
		}
		s.Wipe()
		full, base := inboundOnly(dynamic), bareSAs(s)
		for i := range full {
			d := &full[i]
			staged, err := find(base, d)
			if err != nil {
				return err
			}
			d.Window = slices.Repeat([]uint64{math.MaxUint64}, len(d.Window))
			trim(d.Window, staged.window, d.Sequence)
		}
		if err := f.backend.Merge(ctx, ref.Session, full); err != nil {
			return fmt.Errorf("failed to fill the windows: %w", err)
		}
		return nil
	})
}

// find gives the SA that dynamic state names.
func find(base []stagedSA, d *Dynamic) (*stagedSA, error) {
	for i := range base {
		if base[i].id == d.ID() {
			return &base[i], nil
		}
	}
	return nil, refusal(cxtp.FPTIPsecDynamic, cxtp.StatusNoBase, "%s: no such SA is staged", d.ID())
}

// distinct checks that each SA is named once at most.
func distinct(dynamic []Dynamic) error {
	named := map[ID]bool{}
	for i := range dynamic {
		id := dynamic[i].ID()
		if named[id] {
			return malformed(cxtp.FPTIPsecDynamic, "%s: named twice", id)
		}
		named[id] = true
	}
	return nil
}

// checkFinal checks the dynamic state that is to start the staged SAs.
func checkFinal(base []stagedSA, dynamic []Dynamic) error {
	if err := distinct(dynamic); err != nil {
		return err
	}
	for i := range dynamic {
		d := &dynamic[i]
		b, err := find(base, d)
		if err != nil {
			return err
		}
		if err := d.validate(b.counting); err != nil {
			return err
		}
		if b.bounded && d.Sequence > b.ceiling {
			return refusal(cxtp.FPTIPsecDynamic, cxtp.StatusNoBase, "%s: sequence number %d is above the staged ceiling %d", d.ID(), d.Sequence, b.ceiling)
		}
	}
	if len(dynamic) != len(base) {
		return refusal(cxtp.FPTIPsecDynamic, cxtp.StatusNoBase, "state of %d SAs, %d are staged", len(dynamic), len(base))
	}
	return nil
}

// checkLast checks the windows that the source had last.
func checkLast(base []stagedSA, last []Dynamic) error {
	if err := distinct(last); err != nil {
		return err
	}
	for i := range last {
		b, err := find(base, &last[i])
		if err != nil {
			return err
		}
		if err := last[i].validate(b.counting); err != nil {
			return err
		}
	}
	return nil
}
