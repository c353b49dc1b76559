//go:build linux && lab

package lab

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

// suite is a set of transforms, by the names of both sides: the kernel's, and
// IANA's. They are written down here on their own, so that a gateway's table is
// checked against another.
type suite struct {
	name  string
	proto uapi.Proto

	aead string // or else:
	crypt,
	auth string

	cipherKey, salt, authKey int    // octets
	icv                      uint32 // bits
	iv                       int    // octets that must not repeat; 0 = they are random, or there are none

	cipherID, integrityID uint16
	bits                  uint16 // the key length attribute
}

var suites = []suite{
	{name: "gcm", proto: uapi.ESP, aead: "rfc4106(gcm(aes))", cipherKey: 16, salt: 4, icv: 128, iv: 8,
		cipherID: ipsecctx.EncrAESGCM16, bits: 128},
	{name: "gcm256", proto: uapi.ESP, aead: "rfc4106(gcm(aes))", cipherKey: 32, salt: 4, icv: 128, iv: 8,
		cipherID: ipsecctx.EncrAESGCM16, bits: 256},
	{name: "gcm-8", proto: uapi.ESP, aead: "rfc4106(gcm(aes))", cipherKey: 24, salt: 4, icv: 64, iv: 8,
		cipherID: ipsecctx.EncrAESGCM8, bits: 192},
	{name: "ccm", proto: uapi.ESP, aead: "rfc4309(ccm(aes))", cipherKey: 16, salt: 3, icv: 128, iv: 8,
		cipherID: ipsecctx.EncrAESCCM16, bits: 128},
	{name: "chacha", proto: uapi.ESP, aead: "rfc7539esp(chacha20,poly1305)", cipherKey: 32, salt: 4, icv: 128, iv: 8,
		cipherID: ipsecctx.EncrChaCha20Poly1305},
	{name: "gmac", proto: uapi.ESP, aead: "rfc4543(gcm(aes))", cipherKey: 16, salt: 4, icv: 128, iv: 8,
		cipherID: ipsecctx.EncrNullAuthAESGMAC, bits: 128},
	{name: "cbc-sha256", proto: uapi.ESP, crypt: "cbc(aes)", auth: "hmac(sha256)", cipherKey: 16, authKey: 32, icv: 128,
		cipherID: ipsecctx.EncrAESCBC, bits: 128, integrityID: ipsecctx.AuthHMACSHA2_256_128},
	{name: "cbc256-sha256", proto: uapi.ESP, crypt: "cbc(aes)", auth: "hmac(sha256)", cipherKey: 32, authKey: 32, icv: 128,
		cipherID: ipsecctx.EncrAESCBC, bits: 256, integrityID: ipsecctx.AuthHMACSHA2_256_128},
	{name: "cbc256-sha512", proto: uapi.ESP, crypt: "cbc(aes)", auth: "hmac(sha512)", cipherKey: 32, authKey: 64, icv: 256,
		cipherID: ipsecctx.EncrAESCBC, bits: 256, integrityID: ipsecctx.AuthHMACSHA2_512_256},
	{name: "cbc-xcbc", proto: uapi.ESP, crypt: "cbc(aes)", auth: "xcbc(aes)", cipherKey: 16, authKey: 16, icv: 96,
		cipherID: ipsecctx.EncrAESCBC, bits: 128, integrityID: ipsecctx.AuthAESXCBC96},
	{name: "ctr-sha384", proto: uapi.ESP, crypt: "rfc3686(ctr(aes))", auth: "hmac(sha384)", cipherKey: 16, salt: 4, authKey: 48, icv: 192, iv: 8,
		cipherID: ipsecctx.EncrAESCTR, bits: 128, integrityID: ipsecctx.AuthHMACSHA2_384_192},
	{name: "3des-sha1", proto: uapi.ESP, crypt: "cbc(des3_ede)", auth: "hmac(sha1)", cipherKey: 24, authKey: 20, icv: 96,
		cipherID: ipsecctx.Encr3DES, integrityID: ipsecctx.AuthHMACSHA1_96},
	{name: "null-sha256", proto: uapi.ESP, crypt: "ecb(cipher_null)", auth: "hmac(sha256)", authKey: 32, icv: 128,
		cipherID: ipsecctx.EncrNull, integrityID: ipsecctx.AuthHMACSHA2_256_128},
	{name: "ah-sha256", proto: uapi.AH, auth: "hmac(sha256)", authKey: 32, icv: 128,
		integrityID: ipsecctx.AuthHMACSHA2_256_128},
}

// suiteNames are the suites' names, as an axis of a matrix.
func suiteNames() []string {
	names := make([]string, len(suites))
	for i, s := range suites {
		names[i] = s.name
	}
	return names
}

func suiteNamed(name string) suite {
	for _, s := range suites {
		if s.name == name {
			return s
		}
	}
	panic("no suite " + name)
}

// material is key material that depends on what it is for.
func material(spi uint32, use string, octets int) []byte {
	var b []byte
	for block := byte(0); len(b) < octets; block++ {
		sum := sha256.Sum256(append(binary.BigEndian.AppendUint32(nil, spi), use+string(block)...))
		b = append(b, sum[:]...)
	}
	return b[:octets]
}

// cipherMaterial is the cipher's key with the salt behind it, as the kernel
// has it. The three parts of a 3DES key differ.
func (s suite) cipherMaterial(spi uint32) []byte { return material(spi, "cipher", s.cipherKey+s.salt) }

// protect gives a kernel's SA the suite's algorithms and keys.
func (s suite) protect(state *uapi.State) {
	if s.aead != "" {
		state.AEAD = &uapi.AEAD{Name: s.aead, Key: secret.New(s.cipherMaterial(state.SPI)), ICVBits: s.icv}
		return
	}
	if s.crypt != "" {
		state.Crypt = &uapi.Cipher{Name: s.crypt, Key: secret.New(s.cipherMaterial(state.SPI))}
	}
	state.Auth = &uapi.Auth{Name: s.auth, Key: secret.New(material(state.SPI, "auth", s.authKey)), TruncBits: s.icv}
}

// transforms gives a context's SA the suite's transforms and keys.
func (s suite) transforms(sa *ipsecctx.SA) {
	key := s.cipherMaterial(sa.SPI)
	sa.Encryption = ipsecctx.Cipher{ID: s.cipherID, Bits: s.bits,
		Key: secret.New(key[:s.cipherKey]), Salt: secret.New(key[s.cipherKey:])}
	if s.integrityID != 0 {
		sa.Integrity = ipsecctx.Authenticator{ID: s.integrityID, Key: secret.New(material(sa.SPI, "auth", s.authKey))}
	}
}
