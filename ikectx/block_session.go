package ikectx

import (
	"fmt"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features/profile"
)

// The fields of the session block (IKE profile section 4) in the order of their
// presence bits.
const (
	sessionSACount = iota
	sessionChildCount
	sessionLocalID
	sessionRemoteID
	sessionEAPIdentity
	sessionEndpoints
	sessionNAT
	sessionFlags
	sessionExtensions
	sessionHashes
	sessionAdditional
	sessionLocalVirtual
	sessionRemoteVirtual
	sessionLocalAuth
	sessionRemoteAuth
	sessionAge
	sessionReauthenticate
	sessionConnection
	sessionImplementation
	sessionState
)

var sessionLayout = profile.NewLayout(cxtp.FPTIKESession, "IKE session block",
	[]int{sessionSACount, sessionLocalID, sessionRemoteID, sessionEndpoints},
	[]string{
		sessionSACount:        "SA count",
		sessionChildCount:     "CHILD count",
		sessionLocalID:        "local identity",
		sessionRemoteID:       "remote identity",
		sessionEAPIdentity:    "EAP identity",
		sessionEndpoints:      "outer addresses",
		sessionNAT:            "NAT",
		sessionFlags:          "flags",
		sessionExtensions:     "protocol extensions",
		sessionHashes:         "signature hashes",
		sessionAdditional:     "additional addresses",
		sessionLocalVirtual:   "local virtual addresses",
		sessionRemoteVirtual:  "remote virtual addresses",
		sessionLocalAuth:      "local authentication",
		sessionRemoteAuth:     "remote authentication",
		sessionAge:            "age",
		sessionReauthenticate: "reauthentication",
		sessionConnection:     "connection",
		sessionImplementation: "implementation",
		sessionState:          "implementation state",
	})

func (s *Session) flags() []flag {
	return []flag{{0x80, "original initiator", &s.OriginalInitiator}}
}

// encode appends the block's data to arena.
func (s *Session) encode(arena []byte) (cxtp.CDB, error) {
	w := writer{profile.NewWriter(sessionLayout, arena)}
	if len(s.SAs) > 0xff {
		w.Fail(sessionSACount, fmt.Errorf("%d SAs: %w", len(s.SAs), profile.ErrTooLarge))
	}
	if len(s.Children) > 0xffff {
		w.Fail(sessionChildCount, fmt.Errorf("%d CHILD SAs: %w", len(s.Children), profile.ErrTooLarge))
	}
	w.U8(sessionSACount, uint8(len(s.SAs)), 0)
	w.U16(sessionChildCount, uint16(len(s.Children)), 0)
	w.Identity(sessionLocalID, &s.LocalID)
	w.Identity(sessionRemoteID, &s.RemoteID)
	w.Octets(sessionEAPIdentity, s.EAPIdentity)
	w.endpoints(sessionEndpoints, s.Local, s.Remote)
	w.U8(sessionNAT, uint8(s.NAT), 0)
	w.flags(sessionFlags, s.flags())
	w.U32(sessionExtensions, uint32(s.Extensions), 0)
	w.numbers(sessionHashes, s.Hashes)
	w.addresses(sessionAdditional, s.Additional)
	w.Prefixes(sessionLocalVirtual, s.LocalVirtual)
	w.Prefixes(sessionRemoteVirtual, s.RemoteVirtual)
	if s.LocalAuth != (Auth{}) {
		w.Mark(sessionLocalAuth)
		w.Put(s.LocalAuth.Method, s.LocalAuth.EAP)
	}
	if w.Begin(sessionRemoteAuth, len(s.RemoteAuth)) {
		for _, a := range s.RemoteAuth {
			w.Put(a.Method, a.EAP)
		}
	}
	w.Age(sessionAge, s.Age)
	w.Limit(sessionReauthenticate, s.Reauthenticate)
	w.Octets(sessionConnection, []byte(s.Connection))
	w.Octets(sessionImplementation, []byte(s.Implementation))
	w.Octets(sessionState, s.State)
	return w.Finish(nil)
}

// read reads the block into s, and gives the numbers of SA and CHILD blocks that
// it announces.
func (s *Session) read(r *reader) (sas, children int) {
	sas, children = int(r.U8(sessionSACount, 0)), int(r.U16(sessionChildCount, 0))
	s.LocalID, s.RemoteID = r.Identity(sessionLocalID), r.Identity(sessionRemoteID)
	s.EAPIdentity = r.Octets(sessionEAPIdentity)
	s.Local, s.Remote = r.endpoints(sessionEndpoints)
	s.NAT = NAT(r.U8(sessionNAT, 0))
	r.Unassigned("flags", uint32(s.NAT&^natKnown), 1)
	r.flags(sessionFlags, s.flags())
	s.Extensions = Extensions(r.U32(sessionExtensions, 0))
	r.Unassigned("protocol extensions", uint32(s.Extensions&^extKnown), 4)
	s.Hashes = r.numbers(sessionHashes)
	s.Additional = r.addresses(sessionAdditional)
	s.LocalVirtual = r.Prefixes(sessionLocalVirtual, nil)
	s.RemoteVirtual = r.Prefixes(sessionRemoteVirtual, nil)
	if r.Has(sessionLocalAuth) {
		s.LocalAuth = Auth{r.Next8(), r.Next8()}
	}
	if r.Has(sessionRemoteAuth) {
		for n := r.NextCount(); n > 0 && r.Err() == nil; n-- {
			s.RemoteAuth = append(s.RemoteAuth, Auth{r.Next8(), r.Next8()})
		}
	}
	s.Age, s.Reauthenticate = r.Seconds(sessionAge), r.Seconds(sessionReauthenticate)
	s.Connection = string(r.Octets(sessionConnection))
	s.Implementation = string(r.Octets(sessionImplementation))
	s.State = r.Octets(sessionState)
	return sas, children
}
