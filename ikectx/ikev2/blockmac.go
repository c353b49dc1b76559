package ikev2

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/subtle"
	"fmt"
)

// blockMAC is a CBC-MAC of AES whose last block is masked, so that messages of
// every length are safe: CMAC and XCBC, which differ in how the masks are made.
type blockMAC struct {
	block          cipher.Block
	whole, partial [aes.BlockSize]byte // masks of a last block that is full, or padded
}

// newCMAC makes AES-CMAC of RFC 4493, which takes the masks from the encrypted
// zero block.
func newCMAC(key []byte) (*blockMAC, error) {
	block, err := newBlock(key)
	if err != nil {
		return nil, err
	}
	m := &blockMAC{block: block}
	var zero [aes.BlockSize]byte
	block.Encrypt(m.whole[:], zero[:])
	m.whole = double(m.whole)
	m.partial = double(m.whole)
	return m, nil
}

// double multiplies by x in the field of RFC 4493 section 2.3.
func double(in [aes.BlockSize]byte) (out [aes.BlockSize]byte) {
	carry := byte(0)
	for i := len(in) - 1; i >= 0; i-- {
		out[i] = in[i]<<1 | carry
		carry = in[i] >> 7
	}
	out[len(out)-1] ^= 0x87 * carry
	return out
}

// newXCBC makes AES-XCBC-MAC of RFC 3566, which takes the key and both masks from
// three encrypted constants.
func newXCBC(key []byte) (*blockMAC, error) {
	outer, err := newBlock(key)
	if err != nil {
		return nil, err
	}
	var derived [3][aes.BlockSize]byte
	for i := range derived {
		for j := range derived[i] {
			derived[i][j] = byte(i + 1)
		}
		outer.Encrypt(derived[i][:], derived[i][:])
	}
	block, err := newBlock(derived[0][:])
	if err != nil {
		return nil, err
	}
	return &blockMAC{block: block, whole: derived[1], partial: derived[2]}, nil
}

// newBlock makes AES-128. Longer and shorter keys, which RFC 4434 and RFC 4615
// allow, do not occur in IKEv2 (RFC 7296 section 2.14).
func newBlock(key []byte) (cipher.Block, error) {
	if len(key) != aes.BlockSize {
		return nil, fmt.Errorf("%w: a key of %d octets, AES-XCBC and AES-CMAC have 16", ErrInput, len(key))
	}
	return aes.NewCipher(key)
}

// sum computes the MAC of the parts, one after the other.
func (m *blockMAC) sum(parts ...[]byte) []byte {
	var state, last [aes.BlockSize]byte
	n := 0 // octets in last
	for _, part := range parts {
		for len(part) > 0 {
			if n == len(last) {
				m.absorb(&state, &last)
				n = 0
			}
			k := copy(last[n:], part)
			n, part = n+k, part[k:]
		}
	}
	mask := &m.whole
	if n < len(last) {
		mask = &m.partial
		clear(last[n:])
		last[n] = 0x80
	}
	subtle.XORBytes(last[:], last[:], mask[:])
	m.absorb(&state, &last)
	return state[:]
}

func (m *blockMAC) absorb(state, block *[aes.BlockSize]byte) {
	subtle.XORBytes(state[:], state[:], block[:])
	m.block.Encrypt(state[:], state[:])
}
