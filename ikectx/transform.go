package ikectx

import "fmt"

// The transforms of IKEv2's "Pseudorandom Function Transform IDs" that the profile
// knows, by their IANA numbers.
const (
	PRFHMACSHA1    uint16 = 2
	PRFAES128XCBC  uint16 = 4
	PRFHMACSHA2256 uint16 = 5
	PRFHMACSHA2384 uint16 = 6
	PRFHMACSHA2512 uint16 = 7
	PRFAES128CMAC  uint16 = 8
)

// prfs are their names, and the length in octets of SK_d and SK_p: the preferred
// key length of RFC 7296 section 2.13.
var prfs = map[uint16]struct {
	name string
	key  int
}{
	PRFHMACSHA1:    {"PRF_HMAC_SHA1", 20},
	PRFAES128XCBC:  {"PRF_AES128_XCBC", 16},
	PRFHMACSHA2256: {"PRF_HMAC_SHA2_256", 32},
	PRFHMACSHA2384: {"PRF_HMAC_SHA2_384", 48},
	PRFHMACSHA2512: {"PRF_HMAC_SHA2_512", 64},
	PRFAES128CMAC:  {"PRF_AES128_CMAC", 16},
}

func prfName(id uint16) string {
	if p, ok := prfs[id]; ok {
		return fmt.Sprintf("%d (%s)", id, p.name)
	}
	return fmt.Sprint(id)
}
