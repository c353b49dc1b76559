package xfrm

import (
	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

// cipherNames are the kernel's names of IANA's encryption transforms. The
// transforms with implicit IVs (RFC 8750) have none: the kernel sends every IV.
var cipherNames = map[uint16]string{
	ipsecctx.Encr3DES:             "cbc(des3_ede)",
	ipsecctx.EncrNull:             "ecb(cipher_null)",
	ipsecctx.EncrAESCBC:           "cbc(aes)",
	ipsecctx.EncrAESCTR:           "rfc3686(ctr(aes))",
	ipsecctx.EncrAESCCM8:          "rfc4309(ccm(aes))",
	ipsecctx.EncrAESCCM12:         "rfc4309(ccm(aes))",
	ipsecctx.EncrAESCCM16:         "rfc4309(ccm(aes))",
	ipsecctx.EncrAESGCM8:          "rfc4106(gcm(aes))",
	ipsecctx.EncrAESGCM12:         "rfc4106(gcm(aes))",
	ipsecctx.EncrAESGCM16:         "rfc4106(gcm(aes))",
	ipsecctx.EncrNullAuthAESGMAC:  "rfc4543(gcm(aes))",
	ipsecctx.EncrCamelliaCBC:      "cbc(camellia)",
	ipsecctx.EncrChaCha20Poly1305: "rfc7539esp(chacha20,poly1305)",
}

// authNames are the kernel's names of IANA's integrity transforms. AH with
// AES-GMAC has none: the kernel's AH takes hash functions only.
var authNames = map[uint16]string{
	ipsecctx.AuthHMACSHA1_96:      "hmac(sha1)",
	ipsecctx.AuthAESXCBC96:        "xcbc(aes)",
	ipsecctx.AuthAESCMAC96:        "cmac(aes)",
	ipsecctx.AuthHMACSHA2_256_128: "hmac(sha256)",
	ipsecctx.AuthHMACSHA2_384_192: "hmac(sha384)",
	ipsecctx.AuthHMACSHA2_512_256: "hmac(sha512)",
}

// setAlgorithms gives st the transforms and keys of sa. The keys are copies,
// which whoever made st wipes.
func setAlgorithms(st *uapi.State, sa *ipsecctx.SA) error {
	if c := &sa.Encryption; c.ID != 0 {
		t, known := ipsecctx.CipherByID(c.ID)
		name, mapped := cipherNames[c.ID]
		switch {
		case !known || !mapped:
			return refuse(cxtp.StatusAlgorithm, "%s: Linux has no cipher for encryption transform %d", sa.ID(), c.ID)
		case t.AEAD():
			st.AEAD = &uapi.AEAD{Name: name, Key: joined(c.Key, c.Salt), ICVBits: 8 * uint32(t.ICV)}
		default:
			st.Crypt = &uapi.Cipher{Name: name, Key: joined(c.Key, c.Salt)}
		}
	}
	if a := &sa.Integrity; a.ID != ipsecctx.AuthNone {
		t, known := ipsecctx.AuthByID(a.ID)
		name, mapped := authNames[a.ID]
		if !known || !mapped {
			return refuse(cxtp.StatusAlgorithm, "%s: Linux has no hash for integrity transform %d", sa.ID(), a.ID)
		}
		bits := 8 * uint32(t.ICV)
		if a.Truncate != 0 {
			bits = uint32(a.Truncate)
		}
		st.Auth = &uapi.Auth{Name: name, Key: joined(a.Key, secret.Key{}), TruncBits: bits}
	}
	return nil
}

// joined is the kernel's form of a key: with the implicit part of the nonce
// behind it.
func joined(key, salt secret.Key) secret.Key {
	octets := make([]byte, 0, key.Len()+salt.Len())
	return secret.New(append(append(octets, key.Bytes()...), salt.Bytes()...))
}

// takeKeys gives sa, whose transforms are known, copies of the keys of st. It
// reports whether st has those transforms, with keys of their lengths.
func takeKeys(sa *ipsecctx.SA, st *uapi.State) bool {
	var cipher, auth secret.Key
	switch {
	case st.AEAD != nil:
		cipher = st.AEAD.Key
	case st.Crypt != nil:
		cipher = st.Crypt.Key
	}
	if st.Auth != nil {
		auth = st.Auth.Key
	}
	if t, ok := ipsecctx.CipherByID(sa.Encryption.ID); ok {
		bits := max(sa.Encryption.Bits, t.FixedBits)
		at := int(bits) / 8
		if cipher.Len() != at+t.Salt {
			return false
		}
		sa.Encryption.Key = secret.Clone(cipher.Bytes()[:at])
		sa.Encryption.Salt = secret.Clone(cipher.Bytes()[at:])
	} else if !cipher.IsZero() {
		return false
	}
	if t, ok := ipsecctx.AuthByID(sa.Integrity.ID); ok {
		if auth.Len() != t.Key {
			return false
		}
		sa.Integrity.Key = secret.Clone(auth.Bytes())
	} else if !auth.IsZero() {
		return false
	}
	return true
}

// ivMode is how the kernel makes the IVs of a transform.
func ivMode(id uint16) ipsecctx.IVMode {
	t, ok := ipsecctx.CipherByID(id)
	switch {
	case !ok || t.IV == 0:
		return ipsecctx.IVDefault
	case t.Family == ipsecctx.FamilyCBC:
		return ipsecctx.IVRandom
	default:
		return ipsecctx.IVSalted
	}
}

// transformsOf are the transforms of a kernel's SA, without keys; ID 0 where there
// is none, or none that has a number.
func transformsOf(st *uapi.State) (c ipsecctx.Cipher, a ipsecctx.Authenticator) {
	switch {
	case st.AEAD != nil:
		c = cipherOf(st.AEAD.Name, int(st.AEAD.ICVBits)/8, st.AEAD.Key.Len())
	case st.Crypt != nil:
		c = cipherOf(st.Crypt.Name, 0, st.Crypt.Key.Len())
	}
	if st.Auth == nil {
		return c, a
	}
	for id, name := range authNames {
		if t, _ := ipsecctx.AuthByID(id); name == st.Auth.Name {
			a.ID = id
			if bits := st.Auth.TruncBits; bits != 8*uint32(t.ICV) {
				a.Truncate = uint16(bits)
			}
		}
	}
	return c, a
}

// cipherOf finds a transform by the kernel's name of it, the octets of its ICV (0 =
// it is no AEAD one) and those of its key, salt included.
func cipherOf(name string, icv, key int) ipsecctx.Cipher {
	for id, known := range cipherNames {
		t, _ := ipsecctx.CipherByID(id)
		if known != name || t.ICV != icv {
			continue
		}
		c := ipsecctx.Cipher{ID: id, IV: ivMode(id)}
		if len(t.KeyBits) > 0 {
			c.Bits = uint16(8 * (key - t.Salt))
		}
		return c
	}
	return ipsecctx.Cipher{}
}

// sameTransforms reports whether two SAs of the kernel have the same algorithms.
func sameTransforms(a, b *uapi.State) bool {
	switch {
	case (a.AEAD == nil) != (b.AEAD == nil), (a.Crypt == nil) != (b.Crypt == nil), (a.Auth == nil) != (b.Auth == nil):
		return false
	case a.AEAD != nil && (a.AEAD.Name != b.AEAD.Name || a.AEAD.ICVBits != b.AEAD.ICVBits):
		return false
	case a.Crypt != nil && a.Crypt.Name != b.Crypt.Name:
		return false
	}
	return a.Auth == nil || a.Auth.Name == b.Auth.Name && a.Auth.TruncBits == b.Auth.TruncBits
}

// sameKeys reports whether two SAs with the same algorithms have the same keys.
func sameKeys(a, b *uapi.State) bool {
	switch {
	case a.AEAD != nil && !a.AEAD.Key.Equal(b.AEAD.Key), a.Crypt != nil && !a.Crypt.Key.Equal(b.Crypt.Key):
		return false
	}
	return a.Auth == nil || a.Auth.Key.Equal(b.Auth.Key)
}
