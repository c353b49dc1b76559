package ipsecctx

import (
	"fmt"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features/profile"
)

// The fields of the session block (IPsec profile section 4) in the order of
// their presence bits.
const (
	sessionSACount = iota
	sessionFlags
	sessionInner
	sessionLocalID
	sessionRemoteID
	sessionEAPIdentity
)

var sessionLayout = profile.NewLayout(cxtp.FPTIPsecSession, "IPsec session block",
	[]int{sessionSACount},
	[]string{
		sessionSACount:     "SA count",
		sessionFlags:       "flags",
		sessionInner:       "inner addresses",
		sessionLocalID:     "local identity",
		sessionRemoteID:    "remote identity",
		sessionEAPIdentity: "EAP identity",
	})

const flagInitiator = 0x80 // the only flag of a session block

// encode appends the block's data to arena.
func (s *Session) encode(arena []byte) (cxtp.CDB, error) {
	w := writer{profile.NewWriter(sessionLayout, arena)}
	if len(s.SAs) > 0xffff {
		w.Fail(sessionSACount, fmt.Errorf("%d SAs: %w", len(s.SAs), profile.ErrTooLarge))
	}
	w.U16(sessionSACount, uint16(len(s.SAs)), 0)
	var flags uint8
	if s.Initiator {
		flags = flagInitiator
	}
	w.U8(sessionFlags, flags, 0)
	w.Prefixes(sessionInner, s.Inner)
	w.Identity(sessionLocalID, &s.LocalID)
	w.Identity(sessionRemoteID, &s.RemoteID)
	w.Octets(sessionEAPIdentity, s.EAPIdentity)
	return w.Finish(nil)
}

// read reads the block into s, all but the SAs, and gives their number.
func (s *Session) read(r *reader) (count int) {
	count = int(r.U16(sessionSACount, 0))
	flags := r.U8(sessionFlags, 0)
	r.Unassigned("flags", uint32(flags&^flagInitiator), 1)
	s.Initiator = flags&flagInitiator != 0
	s.Inner = r.Prefixes(sessionInner, s.Inner[:0])
	s.LocalID = r.Identity(sessionLocalID)
	s.RemoteID = r.Identity(sessionRemoteID)
	s.EAPIdentity = r.Octets(sessionEAPIdentity)
	return count
}
