package ipsecctx

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cxtp/cxtp/cxtp"
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

var saLayout = newLayout(cxtp.FPTIPsecSA, "IPsec SA block",
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
	w := writer{layout: saLayout, id: sa.ID(), dst: arena, start: len(arena)}
	w.u8(saDirection, uint8(sa.Direction), 0)
	w.u8(saProtocol, uint8(sa.Protocol), uint8(ESP))
	w.u32(saSPI, sa.SPI, 0)
	w.u8(saMode, uint8(sa.Mode), uint8(Tunnel))
	w.u32(saPair, sa.Pair, 1)
	w.u32(saReplaces, sa.Replaces, 0)
	w.outer(sa.Local, sa.Remote)
	if sa.Encap.Enabled() {
		w.mark(saEncap)
		w.dst = binary.BigEndian.AppendUint16(w.dst, sa.Encap.LocalPort)
		w.dst = binary.BigEndian.AppendUint16(w.dst, sa.Encap.RemotePort)
	}
	w.u16(saCipher, sa.Encryption.ID, 0)
	w.u16(saCipherBits, sa.Encryption.Bits, 0)
	w.octets(saCipherKey, sa.Encryption.Key.Bytes())
	w.octets(saSalt, sa.Encryption.Salt.Bytes())
	w.u8(saIVMode, uint8(sa.Encryption.IV), uint8(IVDefault))
	if !sa.Encryption.ChainIV.IsZero() {
		w.fail(saIVMode, errors.New("a chained IV in the static part would be stale: it belongs into the dynamic part"))
	}
	w.u16(saAuth, sa.Integrity.ID, 0)
	w.octets(saAuthKey, sa.Integrity.Key.Bytes())
	w.u16(saAuthTruncate, sa.Integrity.Truncate, 0)
	w.u8(saFlags, sa.flags(), 0)
	w.u32(saWindow, sa.Window, 0)
	w.lifetime(saSoft, sa.Soft, roundLimit)
	w.lifetime(saHard, sa.Hard, roundLimit)
	w.u16(saPathMTU, sa.PathMTU, 0)
	w.u8(saDF, uint8(sa.DF), uint8(DFCopy))
	w.dscp(sa)
	w.selectors(sa.Selectors)
	return w.finish()
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
		w.fail(saOuter, errors.New("local or remote address missing"))
	case local.Is4() != remote.Is4():
		w.fail(saOuter, fmt.Errorf("%s and %s are not of one family", local, remote))
	default:
		w.mark(saOuter)
		w.dst = append(w.dst, familyOf(local))
		w.address(saOuter, local)
		w.address(saOuter, remote)
	}
}

func (w *writer) dscp(sa *SA) {
	if len(sa.DSCP) > 0 {
		w.mark(saDSCP)
		if w.count(saDSCP, len(sa.DSCP)) {
			w.dst = append(w.dst, sa.DSCP...)
		}
	}
	if len(sa.MapDSCP) > 0 {
		w.mark(saMapDSCP)
		if w.count(saMapDSCP, len(sa.MapDSCP)) {
			for _, m := range sa.MapDSCP {
				w.dst = append(w.dst, m.Inner, m.Outer)
			}
		}
	}
}

// read reads the block into sa. What is absent gets its default, never what sa
// had before.
func (sa *SA) read(r *reader) {
	sa.Direction = Direction(r.u8(saDirection, 0))
	sa.Protocol = Protocol(r.u8(saProtocol, uint8(ESP)))
	sa.SPI = r.u32(saSPI, 0)
	sa.Mode = Mode(r.u8(saMode, uint8(Tunnel)))
	sa.Pair = r.u32(saPair, 1)
	sa.Replaces = r.u32(saReplaces, 0)
	sa.Local, sa.Remote = r.outer()
	sa.Encap = Encap{}
	if r.has(saEncap) {
		sa.Encap = Encap{LocalPort: r.next16(), RemotePort: r.next16()}
	}
	sa.Encryption = Cipher{
		ID:   r.u16(saCipher, 0),
		Bits: r.u16(saCipherBits, 0),
		Key:  r.key(saCipherKey),
		Salt: r.key(saSalt),
		IV:   IVMode(r.u8(saIVMode, uint8(IVDefault))),
	}
	sa.Integrity = Authenticator{
		ID:       r.u16(saAuth, 0),
		Key:      r.key(saAuthKey),
		Truncate: r.u16(saAuthTruncate, 0),
	}
	sa.readFlags(r)
	sa.Window = r.u32(saWindow, 0)
	sa.Soft = r.lifetime(saSoft)
	sa.Hard = r.lifetime(saHard)
	sa.PathMTU = r.u16(saPathMTU, 0)
	sa.DF = DFBit(r.u8(saDF, uint8(DFCopy)))
	sa.readDSCP(r)
	sa.Selectors = r.selectors(sa.Selectors[:0])
}

func (sa *SA) readFlags(r *reader) {
	flags := r.u8(saFlags, 0)
	r.unknownFlags(flags &^ flagsSA)
	sa.ESN = flags&flagESN != 0
	sa.Overflow = flags&flagOverflow != 0
	sa.CopyDSCP = flags&flagCopyDSCP != 0
	sa.StatefulFragments = flags&flagStatefulFragments != 0
	sa.NoRekey = flags&flagNoRekey != 0
}

func (sa *SA) readDSCP(r *reader) {
	sa.DSCP = sa.DSCP[:0]
	if r.has(saDSCP) {
		sa.DSCP = append(sa.DSCP, r.take(int(r.next8()))...)
	}
	sa.MapDSCP = sa.MapDSCP[:0]
	if r.has(saMapDSCP) {
		pairs := r.take(2 * int(r.next8()))
		for ; len(pairs) > 0; pairs = pairs[2:] {
			sa.MapDSCP = append(sa.MapDSCP, DSCPMapping{Inner: pairs[0], Outer: pairs[1]})
		}
	}
}

func (r *reader) outer() (local, remote netip.Addr) {
	if r.has(saOuter) {
		size := r.family()
		local, remote = r.address(size), r.address(size)
	}
	return local, remote
}
