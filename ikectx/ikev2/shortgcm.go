package ikev2

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"encoding/binary"
	"errors"
)

// shortGCM is AES-GCM with an ICV of 8 octets (RFC 5282 section 10.1), the first ones
// of the full tag. The standard library does not go below 12.
type shortGCM struct {
	cipher.AEAD // with the full tag
	block       cipher.Block
}

const shortTag = 8

func newShortGCM(block cipher.Block) (cipher.AEAD, error) {
	full, err := cipher.NewGCM(block)
	if err != nil {
		return nil, err
	}
	return &shortGCM{AEAD: full, block: block}, nil
}

func (*shortGCM) Overhead() int { return shortTag }

func (g *shortGCM) Seal(dst, nonce, plaintext, additional []byte) []byte {
	sealed := g.AEAD.Seal(nil, nonce, plaintext, additional)
	return append(dst, sealed[:len(plaintext)+shortTag]...)
}

// Open decrypts first, because the full tag can be had by encrypting again only.
func (g *shortGCM) Open(dst, nonce, ciphertext, additional []byte) ([]byte, error) {
	n := len(ciphertext) - shortTag
	if n < 0 {
		return nil, errors.New("ciphertext is shorter than its tag")
	}
	// With a nonce of 12 octets, the first counter block of the payload is 2
	// (NIST SP 800-38D section 7.1).
	var counter [aes.BlockSize]byte
	binary.BigEndian.PutUint32(counter[copy(counter[:], nonce):], 2)
	plaintext := make([]byte, n)
	cipher.NewCTR(g.block, counter[:]).XORKeyStream(plaintext, ciphertext[:n])
	if !hmac.Equal(g.Seal(nil, nonce, plaintext, additional)[n:], ciphertext[n:]) {
		clear(plaintext)
		return nil, errors.New("message authentication failed")
	}
	return append(dst, plaintext...), nil
}
