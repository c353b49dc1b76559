package ikectx

import (
	"fmt"

	"github.com/cxtp/cxtp/ikectx/ikev2"
)

// prfNames are the transforms of IKEv2's "Pseudorandom Function Transform IDs" that
// the profile knows.
var prfNames = map[uint16]string{
	ikev2.PRFHMACSHA1:    "PRF_HMAC_SHA1",
	ikev2.PRFAES128XCBC:  "PRF_AES128_XCBC",
	ikev2.PRFHMACSHA2256: "PRF_HMAC_SHA2_256",
	ikev2.PRFHMACSHA2384: "PRF_HMAC_SHA2_384",
	ikev2.PRFHMACSHA2512: "PRF_HMAC_SHA2_512",
	ikev2.PRFAES128CMAC:  "PRF_AES128_CMAC",
}

func prfName(id uint16) string {
	if name, ok := prfNames[id]; ok {
		return fmt.Sprintf("%d (%s)", id, name)
	}
	return fmt.Sprint(id)
}
