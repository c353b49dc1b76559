package soft

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"

	"golang.org/x/crypto/chacha20poly1305"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
)

// errAuth says that the integrity check value is not the packet's.
var errAuth = errors.New("integrity check failed")

// A suite protects whole ESP packets under one SA's keys. The packets lie in
// memory as on the wire:
//
//	SPI (4) | sequence number (4) | IV | payload, padding, trailer | ICV
//
// A suite has scratch memory and so serves one goroutine at a time.
type suite interface {
	// layout gives the sizes that the transform imposes, in octets.
	layout() layout
	// makeIV fills iv for the packet with this sequence number.
	makeIV(iv []byte, seq uint64)
	// seal encrypts in place and fills the ICV; header and IV are there already.
	seal(packet []byte, seq uint64)
	// open checks the ICV and decrypts in place. After errAuth the packet's
	// content is undefined.
	open(packet []byte, seq uint64) error
}

// layout is the shape that a transform gives an ESP packet, in octets. The
// encrypted part is a multiple of align long.
type layout struct{ iv, icv, align int }

const (
	headerLen = 8  // SPI and sequence number
	maxIV     = 16 // the largest layout.iv
	maxICV    = 16 // the largest layout.icv
	maxAlign  = 16 // the largest layout.align
)

// newSuite builds the transforms of a valid SA from its keys. It refuses with
// [cxtp.StatusAlgorithm] what it cannot do.
func newSuite(sa *ipsecctx.SA) (suite, error) {
	if err := checkTransforms(sa); err != nil {
		return nil, err
	}
	key := sa.Encryption.Key.Bytes()
	var (
		aead cipher.AEAD
		err  error
	)
	switch sa.Encryption.ID {
	case ipsecctx.EncrAESCBC:
		return newCBC(key, sa.Integrity.Key.Bytes(), sa.ESN)
	case ipsecctx.EncrChaCha20Poly1305:
		aead, err = chacha20poly1305.New(key)
	default:
		var block cipher.Block
		if block, err = aes.NewCipher(key); err == nil {
			aead, err = cipher.NewGCM(block)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("failed to set up encryption transform %d: %w", sa.Encryption.ID, err)
	}
	s := &aeadSuite{aead: aead, esn: sa.ESN}
	copy(s.nonce[:], sa.Encryption.Salt.Bytes())
	return s, nil
}

// checkTransforms compares the transforms of a valid SA with those that there
// are here. IVs are judged too, because two gateways that make them differently
// may repeat one.
func checkTransforms(sa *ipsecctx.SA) error {
	enc, auth := &sa.Encryption, &sa.Integrity
	aead := enc.ID == ipsecctx.EncrAESGCM16 || enc.ID == ipsecctx.EncrChaCha20Poly1305
	switch {
	case !aead && enc.ID != ipsecctx.EncrAESCBC:
		return refuse(cxtp.StatusAlgorithm, "encryption transform %d: 12, 20 and 28 are possible here", enc.ID)
	case enc.Bits == 192:
		return refuse(cxtp.StatusAlgorithm, "encryption transform %d with keys of 192 bits: 128 or 256 are possible here", enc.ID)
	case !aead && auth.ID != ipsecctx.AuthHMACSHA2_256_128:
		return refuse(cxtp.StatusAlgorithm, "integrity transform %d: 12 is possible here", auth.ID)
	case auth.Truncate != 0 && auth.Truncate != 8*maxICV:
		return refuse(cxtp.StatusAlgorithm, "ICV of %d bits: only the transform's own 128 are possible here", auth.Truncate)
	case aead && enc.IV == ipsecctx.IVRandom && sa.Direction == ipsecctx.Outbound:
		return refuse(cxtp.StatusAlgorithm, "IVs that are sequence numbers here could repeat the random ones of the gateway before")
	}
	return nil
}

// aeadSuite is a combined-mode cipher with a salt of four octets and an
// explicit IV of eight: RFC 4106 and RFC 7634, which differ in the cipher only.
type aeadSuite struct {
	aead  cipher.AEAD
	esn   bool
	nonce [12]byte // salt, IV
	aad   [12]byte // SPI, sequence number in 32 or 64 bits
}

func (*aeadSuite) layout() layout { return layout{iv: 8, icv: 16, align: 4} }

// makeIV takes the sequence number itself, which never repeats under one key
// (RFC 4106 section 3.1, RFC 7634 section 2).
func (*aeadSuite) makeIV(iv []byte, seq uint64) { binary.BigEndian.PutUint64(iv, seq) }

// prepare sets nonce and additional data (RFC 4106 sections 4 and 5) and
// returns the latter.
func (s *aeadSuite) prepare(packet []byte, seq uint64) []byte {
	copy(s.nonce[4:], packet[headerLen:headerLen+8])
	copy(s.aad[:4], packet)
	if !s.esn {
		copy(s.aad[4:], packet[4:headerLen])
		return s.aad[:8]
	}
	binary.BigEndian.PutUint64(s.aad[4:], seq)
	return s.aad[:]
}

func (s *aeadSuite) seal(packet []byte, seq uint64) {
	aad := s.prepare(packet, seq)
	body := packet[headerLen+8 : len(packet)-16]
	s.aead.Seal(body[:0], s.nonce[:], body, aad)
}

func (s *aeadSuite) open(packet []byte, seq uint64) error {
	aad := s.prepare(packet, seq)
	body := packet[headerLen+8:]
	if _, err := s.aead.Open(body[:0], s.nonce[:], body, aad); err != nil {
		return errAuth
	}
	return nil
}

// cbcMode is what the standard library's CBC modes are besides a BlockMode:
// one object serves every packet.
type cbcMode interface {
	cipher.BlockMode
	SetIV(iv []byte)
}

// cbcSuite is AES-CBC (RFC 3602) with HMAC-SHA-256-128 (RFC 4868) over the
// ciphertext.
type cbcSuite struct {
	encrypt, decrypt cbcMode
	mac              hash.Hash
	esn              bool
	high             [4]byte
	sum              [sha256.Size]byte
}

func newCBC(key, authKey []byte, esn bool) (suite, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("failed to set up AES-CBC: %w", err)
	}
	iv := make([]byte, aes.BlockSize)
	encrypt, ok := cipher.NewCBCEncrypter(block, iv).(cbcMode)
	decrypt, ok2 := cipher.NewCBCDecrypter(block, iv).(cbcMode)
	if !ok || !ok2 {
		return nil, errors.New("failed to set up AES-CBC: this Go toolchain's mode cannot change its IV")
	}
	return &cbcSuite{encrypt: encrypt, decrypt: decrypt, mac: hmac.New(sha256.New, authKey), esn: esn}, nil
}

func (*cbcSuite) layout() layout { return layout{iv: aes.BlockSize, icv: 16, align: aes.BlockSize} }

// makeIV draws the IV at random: it has to be unpredictable (RFC 3602
// section 3).
func (*cbcSuite) makeIV(iv []byte, _ uint64) { rand.Read(iv) }

// icv computes the ICV over everything before it, and over the high-order half
// of the sequence number that is not sent (RFC 4303 section 2.2.1).
func (s *cbcSuite) icv(covered []byte, seq uint64) []byte {
	s.mac.Reset()
	s.mac.Write(covered)
	if s.esn {
		binary.BigEndian.PutUint32(s.high[:], uint32(seq>>32))
		s.mac.Write(s.high[:])
	}
	return s.mac.Sum(s.sum[:0])[:maxICV]
}

func (s *cbcSuite) seal(packet []byte, seq uint64) {
	covered := packet[:len(packet)-maxICV]
	iv, body := covered[headerLen:headerLen+aes.BlockSize], covered[headerLen+aes.BlockSize:]
	s.encrypt.SetIV(iv)
	s.encrypt.CryptBlocks(body, body)
	copy(packet[len(covered):], s.icv(covered, seq))
}

func (s *cbcSuite) open(packet []byte, seq uint64) error {
	covered := packet[:len(packet)-maxICV]
	if !hmac.Equal(s.icv(covered, seq), packet[len(covered):]) {
		return errAuth
	}
	iv, body := covered[headerLen:headerLen+aes.BlockSize], covered[headerLen+aes.BlockSize:]
	s.decrypt.SetIV(iv)
	s.decrypt.CryptBlocks(body, body)
	return nil
}
