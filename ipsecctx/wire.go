package ipsecctx

import (
	"encoding/binary"
	"time"

	"github.com/cxtp/cxtp/features/profile"
)

// ErrTooLarge says that an SA or a session does not fit into its block: the
// profile has no way to spread one SA over several.
var ErrTooLarge = profile.ErrTooLarge

// Name is the identity of a session's end, or an SPD entry's name selector.
type Name = profile.Identity

// The IKEv2 identification types, RFC 7296 section 3.5.
const (
	IDIPv4   = profile.IDIPv4
	IDFQDN   = profile.IDFQDN
	IDRFC822 = profile.IDRFC822
	IDIPv6   = profile.IDIPv6
	IDDN     = profile.IDDN
	IDGN     = profile.IDGN
	IDKeyID  = profile.IDKeyID
)

// writer and reader know the compound fields that only IPsec has.
type (
	writer struct{ profile.Writer }
	reader struct{ profile.Reader }
)

// lifetime writes a limit set, or what is used of one; put rounds its time.
func (w *writer) lifetime(field int, l Lifetime, put func(int, time.Duration)) {
	if l == (Lifetime{}) {
		return
	}
	w.Mark(field)
	put(field, l.Time)
	w.Put64(l.Octets)
	w.Put64(l.Packets)
}

func (r *reader) lifetime(field int) Lifetime {
	if !r.Has(field) {
		return Lifetime{}
	}
	b := r.Take(20)
	if b == nil {
		return Lifetime{}
	}
	return Lifetime{
		Time:    time.Duration(binary.BigEndian.Uint32(b)) * time.Second,
		Octets:  binary.BigEndian.Uint64(b[4:]),
		Packets: binary.BigEndian.Uint64(b[12:]),
	}
}
