package ipsecctx

import (
	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features/ledger"
)

// record is what the feature remembers of a session.
type record struct {
	ledger.Record
	base    []stagedSA
	changes []cxtp.SPIChange // SPIs that are others here than at the source
	sample  []Dynamic        // of the last Renew of what is staged
}

// stagedSA is what dynamic state is checked against. It has no keys.
type stagedSA struct {
	counting
	ceiling uint64 // the number that an outbound SA does not pass
	bounded bool   // whether a manifest gave a ceiling
}

// stage remembers what was staged, for the final to be checked against.
func (r *record) stage(epoch cxtp.Epoch, base []stagedSA, manifest []cxtp.ManifestEntry) {
	r.Holds, r.Staged, r.base, r.sample = ledger.HoldsStaged, epoch, base, nil
	bound(r.base, manifest)
}

// bound notes the ceilings that a manifest gives.
func bound(base []stagedSA, manifest []cxtp.ManifestEntry) {
	for i := range base {
		b := &base[i]
		for _, m := range manifest {
			if manifestID(m) == b.id && b.id.Direction == Outbound {
				b.ceiling, b.bounded = m.Ceiling, true
			}
		}
	}
}

// ceilings is what the session's outbound SAs may not pass before the source has
// closed.
func (r *record) ceilings() Ceilings {
	c := Ceilings{}
	for _, b := range r.base {
		if b.bounded {
			c[b.id] = b.ceiling
		}
	}
	return c
}

// bareSAs copies of the SAs what dynamic state is checked against.
func bareSAs(s *Session) []stagedSA {
	base := make([]stagedSA, len(s.SAs))
	for i := range s.SAs {
		base[i].counting = s.SAs[i].counting()
	}
	return base
}

// end forgets the session, which is no longer here.
func (r *record) end() {
	r.End()
	r.base, r.changes, r.sample = nil, nil, nil
}
