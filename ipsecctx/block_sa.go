package ipsecctx

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features/profile"
)

// The fields of the SA block (IPsec profile section 5) in the order of their
// presence bits.
const (
	saDirection = iota
	saProtocol
	saSPI
	saMode
	saPair
	saReplaces
	saOuter
	saEncap
	saCipher
	saCipherBits
	saCipherKey
	saSalt
	saIVMode
	saAuth
	saAuthKey
	saAuthTruncate
	saFlags
	saWindow
	saSoft
	saHard
	saPathMTU
	saDF
	saDSCP
	saMapDSCP
	saSelectors
)

var saLayout = profile.NewLayout(cxtp.FPTIPsecSA, "IPsec SA block",
	[]int{saDirection, saSPI, saOuter, saSelectors},
	[]string{
		saDirection:    "direction",
		saProtocol:     "protocol",
		saSPI:          "SPI",
		saMode:         "mode",
		saPair:         "pair",
		saReplaces:     "replaces",
		saOuter:        "outer addresses",
		saEncap:        "UDP encapsulation",
		saCipher:       "encryption transform",
		saCipherBits:   "encryption key length",
		saCipherKey:    "encryption key",
		saSalt:         "salt",
		saIVMode:       "IV mode",
		saAuth:         "integrity transform",
		saAuthKey:      "integrity key",
		saAuthTruncate: "ICV length",
		saFlags:        "flags",
		saWindow:       "anti-replay window size",
		saSoft:         "soft lifetime",
		saHard:         "hard lifetime",
		saPathMTU:      "path MTU",
		saDF:           "DF bit",
		saDSCP:         "DSCP values",
		saMapDSCP:      "DSCP map",
		saSelectors:    "selectors",
	})

// The flags of an SA block.
const (
	flagESN               = 0x80
	flagOverflow          = 0x40
	flagCopyDSCP          = 0x20
	flagStatefulFragments = 0x10
	flagNoRekey           = 0x08
	flagsSA               = flagESN | flagOverflow | flagCopyDSCP | flagStatefulFragments | flagNoRekey
)

// encode appends the block's data to arena.
func (sa *SA) encode(arena []byte) (cxtp.CDB, error) {
	w := writer{profile.NewWriter(saLayout, arena)}
	w.U8(saDirection, uint8(sa.Direction), 0)
	w.U8(saProtocol, uint8(sa.Protocol), uint8(ESP))
	w.U32(saSPI, sa.SPI, 0)
	w.U8(saMode, uint8(sa.Mode), uint8(Tunnel))
	w.U32(saPair, sa.Pair, 1)
	w.U32(saReplaces, sa.Replaces, 0)
	w.outer(sa.Local, sa.Remote)
	if sa.Encap.Enabled() {
		w.Mark(saEncap)
		w.Put16(sa.Encap.LocalPort)
		w.Put16(sa.Encap.RemotePort)
	}
	w.U16(saCipher, sa.Encryption.ID, 0)
	w.U16(saCipherBits, sa.Encryption.Bits, 0)
	w.Octets(saCipherKey, sa.Encryption.Key.Bytes())
	w.Octets(saSalt, sa.Encryption.Salt.Bytes())
	w.U8(saIVMode, uint8(sa.Encryption.IV), uint8(IVDefault))
	if !sa.Encryption.ChainIV.IsZero() {
		w.Fail(saIVMode, errors.New("a chained IV in the static part would be stale: it belongs into the dynamic part"))
	}
	w.U16(saAuth, sa.Integrity.ID, 0)
	w.Octets(saAuthKey, sa.Integrity.Key.Bytes())
	w.U16(saAuthTruncate, sa.Integrity.Truncate, 0)
	w.U8(saFlags, sa.flags(), 0)
	w.U32(saWindow, sa.Window, 0)
	w.lifetime(saSoft, sa.Soft, w.PutLimit)
	w.lifetime(saHard, sa.Hard, w.PutLimit)
	w.U16(saPathMTU, sa.PathMTU, 0)
	w.U8(saDF, uint8(sa.DF), uint8(DFCopy))
	w.dscp(sa)
	w.selectors(sa.Selectors)
	return w.Finish(sa.ID().String)
}

func (sa *SA) flags() (flags uint8) {
	for _, f := range [...]struct {
		set  bool
		flag uint8
	}{
		{sa.ESN, flagESN},
		{sa.Overflow, flagOverflow},
		{sa.CopyDSCP, flagCopyDSCP},
		{sa.StatefulFragments, flagStatefulFragments},
		{sa.NoRekey, flagNoRekey},
	} {
		if f.set {
			flags |= f.flag
		}
	}
	return flags
}

// outer writes the pair of outer addresses under one family octet.
func (w *writer) outer(local, remote netip.Addr) {
	switch {
	case !local.IsValid() || !remote.IsValid():
		w.Fail(saOuter, errors.New("local or remote address missing"))
	case local.Is4() != remote.Is4():
		w.Fail(saOuter, fmt.Errorf("%s and %s are not of one family", local, remote))
	default:
		w.Mark(saOuter)
		w.Put(profile.FamilyOf(local))
		w.PutAddress(saOuter, local)
		w.PutAddress(saOuter, remote)
	}
}

func (w *writer) dscp(sa *SA) {
	if w.Begin(saDSCP, len(sa.DSCP)) {
		w.Put(sa.DSCP...)
	}
	if w.Begin(saMapDSCP, len(sa.MapDSCP)) {
		for _, m := range sa.MapDSCP {
			w.Put(m.Inner, m.Outer)
		}
	}
}

// read reads the block into sa. What is absent gets its default, never what sa
// had before.
func (sa *SA) read(r *reader) {
	sa.Direction = Direction(r.U8(saDirection, 0))
	sa.Protocol = Protocol(r.U8(saProtocol, uint8(ESP)))
	sa.SPI = r.U32(saSPI, 0)
	sa.Mode = Mode(r.U8(saMode, uint8(Tunnel)))
	sa.Pair = r.U32(saPair, 1)
	sa.Replaces = r.U32(saReplaces, 0)
	sa.Local, sa.Remote = r.outer()
	sa.Encap = Encap{}
	if r.Has(saEncap) {
		sa.Encap = Encap{LocalPort: r.Next16(), RemotePort: r.Next16()}
	}
	sa.Encryption = Cipher{
		ID:   r.U16(saCipher, 0),
		Bits: r.U16(saCipherBits, 0),
		Key:  r.Key(saCipherKey),
		Salt: r.Key(saSalt),
		IV:   IVMode(r.U8(saIVMode, uint8(IVDefault))),
	}
	sa.Integrity = Authenticator{
		ID:       r.U16(saAuth, 0),
		Key:      r.Key(saAuthKey),
		Truncate: r.U16(saAuthTruncate, 0),
	}
	sa.readFlags(r)
	sa.Window = r.U32(saWindow, 0)
	sa.Soft = r.lifetime(saSoft)
	sa.Hard = r.lifetime(saHard)
	sa.PathMTU = r.U16(saPathMTU, 0)
	sa.DF = DFBit(r.U8(saDF, uint8(DFCopy)))
	sa.readDSCP(r)
	sa.Selectors = r.selectors(sa.Selectors[:0])
}

func (sa *SA) readFlags(r *reader) {
	flags := r.U8(saFlags, 0)
	r.Unassigned("flags", uint32(flags&^flagsSA), 1)
	sa.ESN = flags&flagESN != 0
	sa.Overflow = flags&flagOverflow != 0
	sa.CopyDSCP = flags&flagCopyDSCP != 0
	sa.StatefulFragments = flags&flagStatefulFragments != 0
	sa.NoRekey = flags&flagNoRekey != 0
}

func (sa *SA) readDSCP(r *reader) {
	sa.DSCP = sa.DSCP[:0]
	if r.Has(saDSCP) {
		sa.DSCP = append(sa.DSCP, r.Take(r.NextCount())...)
	}
	sa.MapDSCP = sa.MapDSCP[:0]
	if r.Has(saMapDSCP) {
		pairs := r.Take(2 * r.NextCount())
		for ; len(pairs) > 0; pairs = pairs[2:] {
			sa.MapDSCP = append(sa.MapDSCP, DSCPMapping{Inner: pairs[0], Outer: pairs[1]})
		}
	}
}

func (r *reader) outer() (local, remote netip.Addr) {
	if r.Has(saOuter) {
		size := r.NextFamily()
		local, remote = r.NextAddress(size), r.NextAddress(size)
	}
	return local, remote
}
