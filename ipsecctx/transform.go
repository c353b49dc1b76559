package ipsecctx

import (
	"fmt"
	"slices"
)

// The transforms of the "Encryption Algorithm Transform IDs" registry of IKEv2
// that the profile knows, by their IANA numbers.
const (
	Encr3DES                uint16 = 3
	EncrNull                uint16 = 11
	EncrAESCBC              uint16 = 12
	EncrAESCTR              uint16 = 13
	EncrAESCCM8             uint16 = 14
	EncrAESCCM12            uint16 = 15
	EncrAESCCM16            uint16 = 16
	EncrAESGCM8             uint16 = 18
	EncrAESGCM12            uint16 = 19
	EncrAESGCM16            uint16 = 20
	EncrNullAuthAESGMAC     uint16 = 21
	EncrCamelliaCBC         uint16 = 23
	EncrChaCha20Poly1305    uint16 = 28
	EncrAESCCM8IIV          uint16 = 29
	EncrAESGCM16IIV         uint16 = 30
	EncrChaCha20Poly1305IIV uint16 = 31
	AuthNone                uint16 = 0
	AuthHMACSHA1_96         uint16 = 2
	AuthAESXCBC96           uint16 = 5
	AuthAESCMAC96           uint16 = 8
	AuthAES128GMAC          uint16 = 9
	AuthAES192GMAC          uint16 = 10
	AuthAES256GMAC          uint16 = 11
	AuthHMACSHA2_256_128    uint16 = 12
	AuthHMACSHA2_384_192    uint16 = 13
	AuthHMACSHA2_512_256    uint16 = 14
)

// CipherFamily says how a cipher uses its IV, which decides what it may be.
type CipherFamily uint8

const (
	FamilyNull     CipherFamily = iota // no IV
	FamilyCBC                          // unpredictable IV
	FamilyCounter                      // IV that must never repeat
	FamilyImplicit                     // the sequence number is the IV, RFC 8750
)

// CipherTransform is what the profile knows of an encryption transform.
type CipherTransform struct {
	ID     uint16
	Name   string // as in the IANA registry
	Family CipherFamily
	// KeyBits lists the values that the Key Length attribute may have. A
	// transform with a single key length has no attribute, and FixedBits instead.
	KeyBits   []uint16
	FixedBits uint16
	Salt      int // octets of the nonce that are not sent
	IV        int // octets of IV in each packet
	ICV       int // octets; 0 = the transform is not an AEAD one
}

// AEAD reports whether the transform authenticates as well.
func (t *CipherTransform) AEAD() bool { return t.ICV > 0 }

// KeyOctets is the length of a key without its salt, for a value of the Key Length
// attribute; false = the transform has no such keys.
func (t *CipherTransform) KeyOctets(bits uint16) (int, bool) {
	if len(t.KeyBits) == 0 {
		return int(t.FixedBits) / 8, bits == 0
	}
	return int(bits) / 8, slices.Contains(t.KeyBits, bits)
}

// AuthTransform is what the profile knows of an integrity transform.
type AuthTransform struct {
	ID   uint16
	Name string // as in the IANA registry
	Key  int    // octets; for AES-GMAC the last four of them are the salt
	ICV  int    // octets of MAC in each packet
	MAC  int    // octets before truncation
	GMAC bool   // has an IV, and so is for AH only (RFC 4543 section 4)
}

var aesBits = []uint16{128, 192, 256}

var cipherTransforms = []CipherTransform{
	{ID: Encr3DES, Name: "ENCR_3DES", Family: FamilyCBC, FixedBits: 192, IV: 8},
	{ID: EncrNull, Name: "ENCR_NULL", Family: FamilyNull},
	{ID: EncrAESCBC, Name: "ENCR_AES_CBC", Family: FamilyCBC, KeyBits: aesBits, IV: 16},
	{ID: EncrAESCTR, Name: "ENCR_AES_CTR", Family: FamilyCounter, KeyBits: aesBits, Salt: 4, IV: 8},
	{ID: EncrAESCCM8, Name: "ENCR_AES_CCM_8", Family: FamilyCounter, KeyBits: aesBits, Salt: 3, IV: 8, ICV: 8},
	{ID: EncrAESCCM12, Name: "ENCR_AES_CCM_12", Family: FamilyCounter, KeyBits: aesBits, Salt: 3, IV: 8, ICV: 12},
	{ID: EncrAESCCM16, Name: "ENCR_AES_CCM_16", Family: FamilyCounter, KeyBits: aesBits, Salt: 3, IV: 8, ICV: 16},
	{ID: EncrAESGCM8, Name: "ENCR_AES_GCM_8", Family: FamilyCounter, KeyBits: aesBits, Salt: 4, IV: 8, ICV: 8},
	{ID: EncrAESGCM12, Name: "ENCR_AES_GCM_12", Family: FamilyCounter, KeyBits: aesBits, Salt: 4, IV: 8, ICV: 12},
	{ID: EncrAESGCM16, Name: "ENCR_AES_GCM_16", Family: FamilyCounter, KeyBits: aesBits, Salt: 4, IV: 8, ICV: 16},
	{ID: EncrNullAuthAESGMAC, Name: "ENCR_NULL_AUTH_AES_GMAC", Family: FamilyCounter, KeyBits: aesBits, Salt: 4, IV: 8, ICV: 16},
	{ID: EncrCamelliaCBC, Name: "ENCR_CAMELLIA_CBC", Family: FamilyCBC, KeyBits: aesBits, IV: 16},
	{ID: EncrChaCha20Poly1305, Name: "ENCR_CHACHA20_POLY1305", Family: FamilyCounter, FixedBits: 256, Salt: 4, IV: 8, ICV: 16},
	{ID: EncrAESCCM8IIV, Name: "ENCR_AES_CCM_8_IIV", Family: FamilyImplicit, KeyBits: aesBits, Salt: 3, ICV: 8},
	{ID: EncrAESGCM16IIV, Name: "ENCR_AES_GCM_16_IIV", Family: FamilyImplicit, KeyBits: aesBits, Salt: 4, ICV: 16},
	{ID: EncrChaCha20Poly1305IIV, Name: "ENCR_CHACHA20_POLY1305_IIV", Family: FamilyImplicit, FixedBits: 256, Salt: 4, ICV: 16},
}

var authTransforms = []AuthTransform{
	{ID: AuthHMACSHA1_96, Name: "AUTH_HMAC_SHA1_96", Key: 20, ICV: 12, MAC: 20},
	{ID: AuthAESXCBC96, Name: "AUTH_AES_XCBC_96", Key: 16, ICV: 12, MAC: 16},
	{ID: AuthAESCMAC96, Name: "AUTH_AES_CMAC_96", Key: 16, ICV: 12, MAC: 16},
	{ID: AuthAES128GMAC, Name: "AUTH_AES_128_GMAC", Key: 16 + 4, ICV: 16, MAC: 16, GMAC: true},
	{ID: AuthAES192GMAC, Name: "AUTH_AES_192_GMAC", Key: 24 + 4, ICV: 16, MAC: 16, GMAC: true},
	{ID: AuthAES256GMAC, Name: "AUTH_AES_256_GMAC", Key: 32 + 4, ICV: 16, MAC: 16, GMAC: true},
	{ID: AuthHMACSHA2_256_128, Name: "AUTH_HMAC_SHA2_256_128", Key: 32, ICV: 16, MAC: 32},
	{ID: AuthHMACSHA2_384_192, Name: "AUTH_HMAC_SHA2_384_192", Key: 48, ICV: 24, MAC: 48},
	{ID: AuthHMACSHA2_512_256, Name: "AUTH_HMAC_SHA2_512_256", Key: 64, ICV: 32, MAC: 64},
}

// CipherByID finds an encryption transform by its IANA number. The result is
// shared: do not change it.
func CipherByID(id uint16) (*CipherTransform, bool) {
	for i := range cipherTransforms {
		if cipherTransforms[i].ID == id {
			return &cipherTransforms[i], true
		}
	}
	return nil, false
}

// AuthByID finds an integrity transform by its IANA number. The result is
// shared: do not change it.
func AuthByID(id uint16) (*AuthTransform, bool) {
	for i := range authTransforms {
		if authTransforms[i].ID == id {
			return &authTransforms[i], true
		}
	}
	return nil, false
}

// CipherName is an encryption transform's number, with its name where it is known.
func CipherName(id uint16) string {
	if t, ok := CipherByID(id); ok {
		return fmt.Sprintf("%d (%s)", id, t.Name)
	}
	return fmt.Sprint(id)
}

// AuthName is the same for an integrity transform.
func AuthName(id uint16) string {
	if t, ok := AuthByID(id); ok {
		return fmt.Sprintf("%d (%s)", id, t.Name)
	}
	return fmt.Sprint(id)
}
