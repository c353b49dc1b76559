package ikev2

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/des"
	"crypto/hmac"
	"fmt"

	"github.com/pion/dtls/v3/pkg/crypto/ccm"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/cxtp/cxtp/ipsecctx"
)

// protector protects the messages of one direction. A message lies in memory as
// on the wire: up to at what is authenticated only, then
//
//	IV | payloads, padding, pad length | ICV
type protector interface {
	layout() layout
	// seal encrypts in place and fills the ICV. The IV is there already.
	seal(message []byte, at int)
	// open checks the ICV and gives the decrypted part, in memory of its own. The
	// length is one that the layout allows.
	open(message []byte, at int) ([]byte, error)
}

// layout is the shape that the transforms give the protected part, in octets. The
// encrypted part is a multiple of align long.
type layout struct{ iv, icv, align int }

// newProtector makes the protection of messages with one direction's keys.
func (sa *SA) newProtector(fromInitiator bool) (protector, error) {
	e, a := sa.Keys.Er.Bytes(), sa.Keys.Ar.Bytes()
	if fromInitiator {
		e, a = sa.Keys.Ei.Bytes(), sa.Keys.Ai.Bytes()
	}
	size, err := sa.Protection.sizes()
	if err != nil {
		return nil, err
	}
	if len(e) != size.encryption+size.salt || len(a) != size.integrity {
		return nil, fmt.Errorf("%w: SK_e of %d and SK_a of %d octets, the transforms want %d and %d",
			ErrInput, len(e), len(a), size.encryption+size.salt, size.integrity)
	}
	if size.integrity > 0 {
		return newCBC(sa.Protection, e, a)
	}
	aead, err := newAEAD(sa.Protection.Encryption, e[:size.encryption], size.salt)
	if err != nil {
		return nil, err
	}
	return &aeadMessages{aead: aead, salt: e[size.encryption:]}, nil
}

// newAEAD makes the combined-mode ciphers of RFC 5282 and RFC 7634.
func newAEAD(id uint16, key []byte, salt int) (cipher.AEAD, error) {
	if id == ipsecctx.EncrChaCha20Poly1305 {
		return chacha20poly1305.New(key)
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("failed to set up AES: %w", err)
	}
	t, _ := ipsecctx.CipherByID(id)
	switch id {
	case ipsecctx.EncrAESGCM16, ipsecctx.EncrAESGCM12:
		return cipher.NewGCMWithTagSize(block, t.ICV)
	case ipsecctx.EncrAESGCM8:
		return newShortGCM(block)
	case ipsecctx.EncrAESCCM16, ipsecctx.EncrAESCCM12, ipsecctx.EncrAESCCM8:
		return ccm.NewCCM(block, t.ICV, salt+t.IV)
	}
	return nil, fmt.Errorf("%w: %s for IKE messages", ErrTransform, t.Name)
}

// aeadMessages is protection by a combined-mode cipher: the nonce is salt and IV,
// and the additional data is everything before the IV (RFC 5282 sections 4 and 5.1,
// RFC 7383 section 2.5).
type aeadMessages struct {
	aead cipher.AEAD
	salt []byte
}

const aeadIV = 8 // octets of IV with every such cipher

func (m *aeadMessages) layout() layout {
	return layout{iv: aeadIV, icv: m.aead.Overhead(), align: 1}
}

func (m *aeadMessages) nonce(message []byte, at int) []byte {
	return append(append(make([]byte, 0, 12), m.salt...), message[at:at+aeadIV]...)
}

func (m *aeadMessages) seal(message []byte, at int) {
	body := message[at+aeadIV : len(message)-m.aead.Overhead()]
	copy(message[at+aeadIV:], m.aead.Seal(nil, m.nonce(message, at), body, message[:at]))
}

func (m *aeadMessages) open(message []byte, at int) ([]byte, error) {
	body, err := m.aead.Open(nil, m.nonce(message, at), message[at+aeadIV:], message[:at])
	if err != nil {
		return nil, ErrAuth
	}
	return body, nil
}

// cbcMessages is protection by a cipher in CBC mode and a MAC over everything
// before the ICV (RFC 7296 section 3.14).
type cbcMessages struct {
	block cipher.Block
	mac   mac
	icv   int
}

func newCBC(p Protection, key, authKey []byte) (*cbcMessages, error) {
	var block cipher.Block
	var err error
	switch p.Encryption {
	case ipsecctx.EncrAESCBC:
		block, err = aes.NewCipher(key)
	case ipsecctx.Encr3DES:
		block, err = des.NewTripleDESCipher(key)
	default:
		err = fmt.Errorf("%w: encryption transform %d for IKE messages", ErrTransform, p.Encryption)
	}
	if err != nil {
		return nil, err
	}
	mac, err := newAuth(p.Integrity, authKey)
	if err != nil {
		return nil, err
	}
	t, _ := ipsecctx.AuthByID(p.Integrity)
	return &cbcMessages{block: block, mac: mac, icv: t.ICV}, nil
}

func (m *cbcMessages) layout() layout {
	return layout{iv: m.block.BlockSize(), icv: m.icv, align: m.block.BlockSize()}
}

// parts are the IV, the encrypted part, and where the ICV begins.
func (m *cbcMessages) parts(message []byte, at int) (iv, body []byte, end int) {
	end = len(message) - m.icv
	start := at + m.block.BlockSize()
	return message[at:start], message[start:end], end
}

func (m *cbcMessages) seal(message []byte, at int) {
	iv, body, end := m.parts(message, at)
	cipher.NewCBCEncrypter(m.block, iv).CryptBlocks(body, body)
	copy(message[end:], m.mac(message[:end])[:m.icv])
}

func (m *cbcMessages) open(message []byte, at int) ([]byte, error) {
	iv, body, end := m.parts(message, at)
	if !hmac.Equal(m.mac(message[:end])[:m.icv], message[end:]) {
		return nil, ErrAuth
	}
	out := make([]byte, len(body))
	cipher.NewCBCDecrypter(m.block, iv).CryptBlocks(out, body)
	return out, nil
}
