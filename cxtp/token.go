package cxtp

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// Algorithm is how a node's authorisation tokens are made. A node is provisioned
// with one, and no token of another is accepted from it.
type Algorithm uint16

const (
	// AlgorithmHMACSHA1 is the one algorithm that RFC 4067 section 2.5.3 and RFC
	// 4065 section 7 define: a token of 32 bits.
	AlgorithmHMACSHA1 Algorithm = 1
	// AlgorithmHMACSHA256 is private: a tag of 256 bits, in a [StrongToken].
	AlgorithmHMACSHA256 Algorithm = 0xFF01
)

var algorithmNames = map[Algorithm]string{
	AlgorithmHMACSHA1:   "hmac-sha1",
	AlgorithmHMACSHA256: "hmac-sha256",
}

func (a Algorithm) String() string {
	if name, ok := algorithmNames[a]; ok {
		return name
	}
	return fmt.Sprintf("token algorithm %#04x", uint16(a))
}

// Known reports whether this version makes and verifies tokens of the algorithm.
func (a Algorithm) Known() bool { return algorithmNames[a] != "" }

// CheckKey says what is wrong with a key that a token of the algorithm is to be
// made with: HMAC-SHA-256 wants one of its own length (RFC 2104 section 3).
func (a Algorithm) CheckKey(key secret.Key) error {
	if a == AlgorithmHMACSHA256 && key.Len() < TagSize {
		return fmt.Errorf("a key of %d octets: %s needs one of at least %d", key.Len(), a, TagSize)
	}
	return nil
}

// MarshalText implements [encoding.TextMarshaler].
func (a Algorithm) MarshalText() ([]byte, error) { return []byte(a.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler]. It fails unless the
// algorithm is [Algorithm.Known].
func (a *Algorithm) UnmarshalText(text []byte) error {
	for known, name := range algorithmNames {
		if name == string(text) {
			*a = known
			return nil
		}
	}
	return fmt.Errorf("%q is no token algorithm: write %q or %q", text, AlgorithmHMACSHA256, AlgorithmHMACSHA1)
}

// Token is the MN Authorization Token of RFC 4067 section 2.5.1.
type Token [4]byte

// IsZero reports whether this is the null token, which stands for none.
func (t Token) IsZero() bool { return t == Token{} }

// errNullToken says that the null token would authorise a request: it stands for
// none.
var errNullToken = errors.New("it came out null: take another sequence number")

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
		return token, fmt.Errorf("failed to compute a token: %w", errNullToken)
	}
	return token, nil
}

// VerifyToken reports, in constant time, whether token is the one that
// [ComputeToken] gives. The null token is never right.
func VerifyToken(key secret.Key, previous netip.Addr, sequence uint32, requests []CDB, token Token) bool {
	want, err := ComputeToken(key, previous, sequence, requests)
	return err == nil && hmac.Equal(want[:], token[:])
}
