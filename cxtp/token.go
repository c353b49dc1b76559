package cxtp

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"net/netip"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// AlgorithmHMACSHA1 is the one algorithm for authorisation tokens that RFC 4067
// section 2.5.3 and RFC 4065 section 7 define.
const AlgorithmHMACSHA1 uint16 = 1

// Token is the MN Authorization Token of RFC 4067 section 2.5.1.
type Token [4]byte

// IsZero reports whether this is the null token, which stands for none.
func (t Token) IsZero() bool { return t == Token{} }

// ComputeToken is the first 32 bits of HMAC-SHA-1 over the MN's previous
// address, the sequence number and the request blocks as they are encoded (RFC
// 4067 section 2.5.1).
//
// It fails without a key or an address, when a block is too large, and in one
// case of 2^32 when the token comes out null: the MN then takes another
// sequence number.
func ComputeToken(key secret.Key, previous netip.Addr, sequence uint32, requests []CDB) (Token, error) {
	var token Token
	previous = previous.Unmap()
	if err := checkAddress("MN's previous address", previous); err != nil {
		return token, err
	}
	if key.IsZero() {
		return token, errors.New("failed to compute a token: no token key")
	}
	text := appendAddress(nil, previous)
	text = binary.BigEndian.AppendUint32(text, sequence)
	text, err := appendBlocks(text, requests)
	if err != nil {
		return token, err
	}
	h := hmac.New(sha1.New, key.Bytes())
	h.Write(text)
	copy(token[:], h.Sum(nil))
	if token.IsZero() {
		return token, errors.New("failed to compute a token: it came out null; take another sequence number")
	}
	return token, nil
}

// VerifyToken reports, in constant time, whether token is the one that
// [ComputeToken] gives. The null token is never right.
func VerifyToken(key secret.Key, previous netip.Addr, sequence uint32, requests []CDB, token Token) bool {
	want, err := ComputeToken(key, previous, sequence, requests)
	return err == nil && hmac.Equal(want[:], token[:])
}
