package ikev2

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"crypto/sha512"
	"fmt"
	"hash"

	"github.com/cxtp/cxtp/ipsecctx"
)

// The transforms of IKEv2's "Pseudorandom Function Transform IDs" registry that
// this package has, by their IANA numbers.
const (
	PRFHMACSHA1    uint16 = 2
	PRFAES128XCBC  uint16 = 4
	PRFHMACSHA2256 uint16 = 5
	PRFHMACSHA2384 uint16 = 6
	PRFHMACSHA2512 uint16 = 7
	PRFAES128CMAC  uint16 = 8
)

// mac computes a keyed function of the parts, one after the other.
type mac func(parts ...[]byte) []byte

// hmacOf makes HMAC (RFC 2104) with a hash.
func hmacOf(hash func() hash.Hash, key []byte) mac {
	h := hmac.New(hash, key)
	return func(parts ...[]byte) []byte {
		h.Reset()
		for _, part := range parts {
			h.Write(part)
		}
		return h.Sum(nil)
	}
}

// ofBlock gives the MAC of a constructor.
func ofBlock(m *blockMAC, err error) (mac, error) {
	if err != nil {
		return nil, err
	}
	return m.sum, nil
}

// newPRF makes a pseudorandom function with its key.
func newPRF(id uint16, key []byte) (mac, error) {
	switch id {
	case PRFHMACSHA1:
		return hmacOf(sha1.New, key), nil
	case PRFHMACSHA2256:
		return hmacOf(sha256.New, key), nil
	case PRFHMACSHA2384:
		return hmacOf(sha512.New384, key), nil
	case PRFHMACSHA2512:
		return hmacOf(sha512.New, key), nil
	case PRFAES128XCBC:
		return ofBlock(newXCBC(key))
	case PRFAES128CMAC:
		return ofBlock(newCMAC(key))
	}
	return nil, fmt.Errorf("%w: PRF %d", ErrTransform, id)
}

// PRFKeyLen is a PRF's preferred key length in octets, which is that of SK_d and SK_p
// (RFC 7296 section 2.13); [ErrTransform] for one that this package has not.
func PRFKeyLen(id uint16) (int, error) {
	switch id {
	case PRFHMACSHA1:
		return sha1.Size, nil
	case PRFHMACSHA2256:
		return sha256.Size, nil
	case PRFHMACSHA2384:
		return sha512.Size384, nil
	case PRFHMACSHA2512:
		return sha512.Size, nil
	case PRFAES128XCBC, PRFAES128CMAC:
		return 16, nil
	}
	return 0, fmt.Errorf("%w: PRF %d", ErrTransform, id)
}

// fixedKey reports whether SKEYSEED is computed from 64 bits of each nonce
// (RFC 7296 section 2.14).
func fixedKey(prf uint16) bool { return prf == PRFAES128XCBC || prf == PRFAES128CMAC }

// newAuth makes an integrity transform with its key. It gives the whole MAC, of
// which a message has the first octets.
func newAuth(id uint16, key []byte) (mac, error) {
	switch id {
	case ipsecctx.AuthHMACSHA1_96:
		return hmacOf(sha1.New, key), nil
	case ipsecctx.AuthHMACSHA2_256_128:
		return hmacOf(sha256.New, key), nil
	case ipsecctx.AuthHMACSHA2_384_192:
		return hmacOf(sha512.New384, key), nil
	case ipsecctx.AuthHMACSHA2_512_256:
		return hmacOf(sha512.New, key), nil
	case ipsecctx.AuthAESXCBC96:
		return ofBlock(newXCBC(key))
	case ipsecctx.AuthAESCMAC96:
		return ofBlock(newCMAC(key))
	}
	return nil, fmt.Errorf("%w: integrity transform %d for IKE messages", ErrTransform, id)
}

// expand gives n octets of prf+ (RFC 7296 section 2.13). No transforms need more
// than the 255 blocks for which it is defined. The caller wipes the result.
func expand(prf mac, n int, seed ...[]byte) []byte {
	out := make([]byte, 0, n+sha512.Size)
	input := append([][]byte{nil}, seed...)
	input = append(input, []byte{0})
	counter := input[len(input)-1]
	for len(out) < n {
		counter[0]++
		block := prf(input...)
		out = append(out, block...)
		clear(input[0])
		input[0] = block
	}
	clear(input[0])
	clear(out[n:])
	return out[:n:n]
}
