package ipsecctx

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
)

var _ features.Reassigner = (*Feature)(nil)

// place has the backend stage a session. Where that may be, an inbound SA whose
// SPI is taken gets one that is free, once, and the session is staged with that.
func (f *Feature) place(ctx context.Context, id cxtp.SessionID, s *Session, reassign bool) ([]cxtp.SPIChange, error) {
	reserver, able := f.backend.(Reserver)
	for changes := []cxtp.SPIChange(nil); ; {
		err := f.backend.Stage(ctx, id, s)
		if err == nil {
			return changes, nil
		}
		var taken *SPIConflict
		if !errors.As(err, &taken) {
			return nil, fmt.Errorf("failed to stage: %w", err)
		}
		if f.options.Renegotiate {
			return nil, features.Refuse(cxtp.FPTIPsecSA, cxtp.StatusRenegotiate, "failed to stage: %w", taken)
		}
		if !reassign || !able {
			return nil, fmt.Errorf("failed to stage: %w", err)
		}
		i := slices.IndexFunc(s.SAs, func(sa SA) bool { return sa.ID() == taken.SA })
		again := slices.ContainsFunc(changes, func(c cxtp.SPIChange) bool { return c.New == taken.SA.SPI })
		if i < 0 || taken.SA.Direction != Inbound || again || len(changes) == cxtp.MaxUpdateEntries {
			return nil, fmt.Errorf("failed to stage: %w", err)
		}
		sa := &s.SAs[i]
		free, err := reserver.ReserveSPI(ctx, sa.Local, sa.Remote, sa.Protocol, sa.Mode)
		if err != nil {
			return nil, fmt.Errorf("failed to give the %s another SPI: %w", sa.ID(), err)
		}
		changes = append(changes, cxtp.SPIChange{Protocol: uint8(sa.Protocol), Old: sa.SPI, New: free})
		sa.SPI = free
	}
}

// here names dynamic state that came from the source by the SPIs that its SAs have
// here.
func (r *record) here(dynamic []Dynamic) []Dynamic {
	for i := range dynamic {
		d := &dynamic[i]
		of := func(c cxtp.SPIChange) bool {
			return d.Direction == Inbound && c.Protocol == uint8(d.Protocol) && c.Old == d.SPI
		}
		if at := slices.IndexFunc(r.changes, of); at >= 0 {
			d.SPI = r.changes[at].New
		}
	}
	return dynamic
}

// Reassigned implements [features.Reassigner].
func (f *Feature) Reassigned(ref features.Ref) (changes []cxtp.SPIChange) {
	f.records.Look(ref.Session, func(r *record) {
		if r.IsStaged(ref.Epoch) {
			changes = slices.Clone(r.changes)
		}
	})
	return changes
}
