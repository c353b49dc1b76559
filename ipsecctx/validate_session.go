package ipsecctx

import (
	"fmt"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features/profile"
)

// Validate checks every SA, what the SAs share, and that the two directions of
// each pair are one pair. The error is a [features.Error], as with
// [SA.Validate]; what concerns the session has StatusMalformed.
func (s *Session) Validate() error {
	if err := s.checkShared(); err != nil {
		return malformed(cxtp.FPTIPsecSession, "%w", err)
	}
	ids := map[ID]bool{}
	pairs := map[pairKey]*SA{}
	for i := range s.SAs {
		sa := &s.SAs[i]
		if err := sa.Validate(); err != nil {
			return err
		}
		if ids[sa.ID()] {
			return malformed(cxtp.FPTIPsecSA, "%s: twice in one session", sa.ID())
		}
		ids[sa.ID()] = true
		if err := joinPair(pairs, sa); err != nil {
			return malformed(cxtp.FPTIPsecSA, "%s: %w", sa.ID(), err)
		}
	}
	return nil
}

func (s *Session) checkShared() error {
	if len(s.SAs) == 0 {
		return fmt.Errorf("session without an SA: there is nothing to move")
	}
	for _, p := range s.Inner {
		if err := profile.CheckPrefix(p); err != nil {
			return err
		}
	}
	if err := s.LocalID.Check(); err != nil {
		return fmt.Errorf("local %w", err)
	}
	if err := s.RemoteID.Check(); err != nil {
		return fmt.Errorf("remote %w", err)
	}
	if err := profile.CheckText(s.EAPIdentity); err != nil {
		return fmt.Errorf("EAP %w", err)
	}
	return nil
}

// pairKey is the place of one SA in a pair. A pair that AH and ESP protect
// together has both protocols.
type pairKey struct {
	pair      uint32
	protocol  Protocol
	direction Direction
}

// joinPair puts the SA into its place and compares it with the other direction.
// A pair may lack one: a rekey takes them down one after the other.
func joinPair(pairs map[pairKey]*SA, sa *SA) error {
	place := pairKey{sa.Pair, sa.Protocol, sa.Direction}
	if other := pairs[place]; other != nil {
		return fmt.Errorf("pair %d has the %s already", sa.Pair, other.ID())
	}
	pairs[place] = sa
	place.direction = Inbound + Outbound - sa.Direction
	other := pairs[place]
	if other == nil {
		return nil
	}
	differs := ""
	switch {
	case sa.Mode != other.Mode:
		differs = "mode"
	case sa.Replaces != other.Replaces:
		differs = "replaced pair"
	case sa.Local != other.Local || sa.Remote != other.Remote:
		differs = "outer addresses"
	case sa.Encap != other.Encap:
		differs = "UDP encapsulation"
	case sa.Encryption.ID != other.Encryption.ID || sa.Encryption.Bits != other.Encryption.Bits:
		differs = "encryption transform"
	case sa.Integrity.ID != other.Integrity.ID || sa.Integrity.Truncate != other.Integrity.Truncate:
		differs = "integrity transform"
	case sa.ESN != other.ESN:
		differs = "use of ESN"
	default:
		return nil
	}
	return fmt.Errorf("its %s is not that of the %s in pair %d", differs, other.ID(), sa.Pair)
}
