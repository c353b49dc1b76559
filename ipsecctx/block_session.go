package ipsecctx

import (
	"fmt"
	"net/netip"

	"github.com/cxtp/cxtp/cxtp"
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

var sessionLayout = newLayout(cxtp.FPTIPsecSession, "IPsec session block",
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
	w := writer{layout: sessionLayout, dst: arena, start: len(arena)}
	if len(s.SAs) > 0xffff {
		w.fail(sessionSACount, fmt.Errorf("%d SAs: %w", len(s.SAs), ErrTooLarge))
	}
	w.u16(sessionSACount, uint16(len(s.SAs)), 0)
	var flags uint8
	if s.Initiator {
		flags = flagInitiator
	}
	w.u8(sessionFlags, flags, 0)
	if len(s.Inner) > 0 {
		w.mark(sessionInner)
		if w.count(sessionInner, len(s.Inner)) {
			for _, p := range s.Inner {
				w.prefix(sessionInner, p)
			}
		}
	}
	w.name(sessionLocalID, &s.LocalID)
	w.name(sessionRemoteID, &s.RemoteID)
	w.octets(sessionEAPIdentity, s.EAPIdentity)
	return w.finish()
}

func (w *writer) prefix(field int, p netip.Prefix) {
	if !p.IsValid() {
		w.fail(field, fmt.Errorf("prefix without a value"))
		return
	}
	w.dst = append(w.dst, familyOf(p.Addr()), uint8(p.Bits()))
	w.address(field, p.Addr())
}

// read reads the block into s, all but the SAs, and gives their number.
func (s *Session) read(r *reader) (count int) {
	count = int(r.u16(sessionSACount, 0))
	flags := r.u8(sessionFlags, 0)
	r.unknownFlags(flags &^ flagInitiator)
	s.Initiator = flags&flagInitiator != 0
	s.Inner = s.Inner[:0]
	if r.has(sessionInner) {
		for n := r.next8(); n > 0 && r.err == nil; n-- {
			s.Inner = append(s.Inner, r.prefix())
		}
	}
	s.LocalID = r.name(sessionLocalID)
	s.RemoteID = r.name(sessionRemoteID)
	s.EAPIdentity = r.octets(sessionEAPIdentity)
	return count
}

// prefix reads an address prefix. The octets of the address are all there,
// whatever the prefix length.
func (r *reader) prefix() netip.Prefix {
	size := r.family()
	length := int(r.next8())
	if length > 8*size {
		r.fail(fmt.Sprintf("prefix of %d bits in an address of %d octets", length, size))
	}
	return netip.PrefixFrom(r.address(size), length)
}
