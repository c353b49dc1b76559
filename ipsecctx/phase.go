package ipsecctx

import (
	"fmt"
	"slices"

	"github.com/cxtp/cxtp/cxtp"
)

// Phase is where a session stands in a move at a gateway. A [Backend] refuses
// what does not fit with a [PhaseError].
type Phase uint8

const (
	Staged     Phase = iota // everything is here, nothing is sent or accepted
	Active                  // sends and accepts
	Frozen                  // sends no more; accepts until Close, or in the strict mode no more either
	Redirected              // what arrives for the node is passed on
	Gone                    // forgotten
)

func (p Phase) String() string {
	return [...]string{"staged", "active", "frozen", "redirected", "gone"}[p]
}

// PhaseError says that an operation does not fit where the session stands.
type PhaseError struct {
	Session   cxtp.SessionID
	Operation string
	Phase     Phase
	Closed    bool // inbound has ended
}

func (e *PhaseError) Error() string {
	phase := e.Phase.String()
	if e.Closed {
		phase += " and closed"
	}
	return fmt.Sprintf("session %v is %s: %s is not possible", e.Session, phase, e.Operation)
}

// CheckDynamic refuses dynamic state that is not that of the session's SAs. With
// complete set there has to be some for each of them.
func (s *Session) CheckDynamic(dynamic []Dynamic, complete bool) error {
	seen := make(map[ID]bool, len(dynamic))
	for i := range dynamic {
		d := &dynamic[i]
		at := slices.IndexFunc(s.SAs, func(sa SA) bool { return sa.ID() == d.ID() })
		switch {
		case at < 0:
			return refusal(cxtp.FPTIPsecDynamic, cxtp.StatusNoBase, "state of the %s, which the session does not have", d.ID())
		case seen[d.ID()]:
			return refusal(cxtp.FPTIPsecDynamic, cxtp.StatusMalformed, "state of the %s twice", d.ID())
		}
		if err := d.Validate(&s.SAs[at]); err != nil {
			return err
		}
		seen[d.ID()] = true
	}
	if complete && len(seen) < len(s.SAs) {
		return refusal(cxtp.FPTIPsecDynamic, cxtp.StatusNoBase, "state of %d SAs where the session has %d", len(seen), len(s.SAs))
	}
	return nil
}

// CloneDynamic copies dynamic state with its windows. Chained IVs are shared.
func CloneDynamic(d []Dynamic) []Dynamic {
	d = slices.Clone(d)
	for i := range d {
		d[i].Window = slices.Clone(d[i].Window)
	}
	return d
}
