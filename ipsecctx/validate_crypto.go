package ipsecctx

import (
	"slices"

	"github.com/cxtp/cxtp/cxtp"
)

func unfit(format string, args ...any) *fault {
	return faultf(cxtp.StatusAlgorithm, format, args...)
}

func checkCipher(sa *SA) *fault {
	c := &sa.Encryption
	if !c.ChainIV.IsZero() {
		return wrong("a chained IV in the static part would be stale: it belongs into the dynamic part")
	}
	if c.ID == 0 || sa.Protocol == AH {
		switch {
		case sa.Protocol == ESP:
			return wrong("ESP without an encryption transform: ENCR_NULL is %d", EncrNull)
		case c.ID != 0:
			return wrong("AH with encryption transform %d", c.ID)
		case c.Bits != 0 || !c.Key.IsZero() || !c.Salt.IsZero():
			return wrong("an encryption key without a transform")
		}
		return nil
	}
	t, ok := CipherByID(c.ID)
	if !ok {
		return unfit("encryption transform %d is not in this profile", c.ID)
	}
	octets, ok := t.KeyOctets(c.Bits)
	switch {
	case !ok && len(t.KeyBits) == 0:
		return unfit("%s with a key length attribute of %d bits: it has none", t.Name, c.Bits)
	case !ok:
		return unfit("%s with a key of %d bits: %v are known", t.Name, c.Bits, t.KeyBits)
	case c.Key.Len() != octets:
		return unfit("%s with a key of %d octets: %d bits are announced", t.Name, c.Key.Len(), 8*octets)
	case c.Salt.Len() != t.Salt:
		return unfit("%s with a salt of %d octets: it has %d", t.Name, c.Salt.Len(), t.Salt)
	}
	return nil
}

func checkAuth(sa *SA) *fault {
	a := &sa.Integrity
	if a.ID == AuthNone {
		if !a.Key.IsZero() || a.Truncate != 0 {
			return wrong("an integrity key or ICV length without a transform")
		}
		if c, ok := CipherByID(sa.Encryption.ID); !ok || !c.AEAD() {
			return unfit("no integrity protection: anti-replay would mean nothing (RFC 8221 section 4)")
		}
		return nil
	}
	t, ok := AuthByID(a.ID)
	if !ok {
		return unfit("integrity transform %d is not in this profile", a.ID)
	}
	c, hasCipher := CipherByID(sa.Encryption.ID)
	switch {
	case hasCipher && c.AEAD():
		return unfit("%s authenticates by itself, but %s is set as well", c.Name, t.Name)
	case t.GMAC && sa.Protocol != AH:
		return unfit("%s is for AH: ESP has %s", t.Name, "ENCR_NULL_AUTH_AES_GMAC")
	case a.Key.Len() != t.Key:
		return unfit("%s with a key of %d octets: it has %d", t.Name, a.Key.Len(), t.Key)
	case a.Truncate != 0 && (a.Truncate%8 != 0 || a.Truncate < minICVBits || int(a.Truncate) > 8*t.MAC):
		return unfit("%s cut to %d bits: whole octets from %d to %d bits are possible", t.Name, a.Truncate, minICVBits, 8*t.MAC)
	case a.Truncate != 0 && t.GMAC:
		return unfit("%s may not be cut (RFC 4543 section 3.4)", t.Name)
	}
	return nil
}

// minICVBits is the shortest ICV that any transform of the registry has.
const minICVBits = 64

// ivModes are the ways in which each family may make its IVs.
var ivModes = [...][]IVMode{
	FamilyNull:     {IVDefault},
	FamilyCBC:      {IVDefault, IVRandom, IVChained},
	FamilyCounter:  {IVDefault, IVRandom, IVCounter, IVSalted},
	FamilyImplicit: {IVDefault, IVImplicit},
}

func checkIV(sa *SA) *fault {
	family, name := FamilyNull, "the SA"
	if c, ok := CipherByID(sa.Encryption.ID); ok {
		family, name = c.Family, c.Name
	}
	if a, ok := AuthByID(sa.Integrity.ID); ok && a.GMAC {
		family, name = FamilyCounter, a.Name
	}
	mode := sa.Encryption.IV
	switch {
	case !slices.Contains(ivModes[family], mode):
		return unfit("IV mode %d does not go with %s", mode, name)
	case sa.Overflow && (mode == IVCounter || family == FamilyImplicit):
		return wrong("sequence numbers that roll over would repeat the IVs of %s", name)
	}
	return nil
}
