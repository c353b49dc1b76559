package capture

import (
	"crypto/sha256"
	"crypto/sha512"
	"fmt"

	"github.com/pion/dtls/v3"
	"github.com/pion/dtls/v3/pkg/crypto/ciphersuite"
	"github.com/pion/dtls/v3/pkg/crypto/prf"
	"github.com/pion/dtls/v3/pkg/protocol"
	"github.com/pion/dtls/v3/pkg/protocol/recordlayer"
	"golang.org/x/crypto/cryptobyte"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// suite is what the keys of a cipher suite depend on.
type suite struct {
	keySize int // of AES, in octets
	hash    prf.HashFunc
}

// implicitNonce is the part of AES-GCM's nonce that is not in the record, in
// octets (RFC 5288 section 3).
const implicitNonce = 4

var (
	aes128 = suite{16, sha256.New}
	aes256 = suite{32, sha512.New384}
)

// suites are those that package transport offers and takes.
var suites = map[dtls.CipherSuiteID]suite{
	dtls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256: aes128,
	dtls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256:   aes128,
	dtls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384: aes256,
	dtls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384:   aes256,
}

// hello is the beginning of a ClientHello or ServerHello. The suite is a
// ServerHello's alone.
type hello struct {
	random random
	suite  dtls.CipherSuiteID
}

// parseHello reads what both kinds begin with: version, random, session id; and
// two octets that are, in a ServerHello, the cipher suite (RFC 5246 section
// 7.4.1).
func parseHello(body []byte) (h hello, ok bool) {
	in := cryptobyte.String(body)
	var session cryptobyte.String
	var suite uint16
	ok = in.Skip(2) && in.CopyBytes(h.random[:]) && in.ReadUint8LengthPrefixed(&session) && in.ReadUint16(&suite)
	h.suite = dtls.CipherSuiteID(suite)
	return h, ok
}

// connection is a DTLS connection, or what would be one if a ServerHello
// answered this ClientHello, and the SCTP association in it.
type connection struct {
	client, server random
	used           bool // it has opened a record
	ends           [2]end
}

// end is what one side sends.
type end struct {
	opener  *ciphersuite.GCM
	arrived assembler
}

// newConnection derives the keys (RFC 5246 section 6.3); clientSide is the side
// that sent the ClientHello. Its fragments may wait within the budget.
func newConnection(clientSide int, client, server random, s suite, master secret.Key, budget *int) (*connection, error) {
	keys, err := prf.GenerateEncryptionKeys(master.Bytes(), client[:], server[:], 0, s.keySize, implicitNonce, s.hash)
	if err != nil {
		return nil, fmt.Errorf("failed to derive keys: %w", err)
	}
	c := &connection{client: client, server: server}
	for side := range c.ends {
		e := &c.ends[side]
		e.arrived.budget = budget
		// The library's second pair is the one that opens.
		if side == clientSide {
			e.opener, err = ciphersuite.NewGCM(keys.ServerWriteKey, keys.ServerWriteIV, keys.ClientWriteKey, keys.ClientWriteIV)
		} else {
			e.opener, err = ciphersuite.NewGCM(keys.ClientWriteKey, keys.ClientWriteIV, keys.ServerWriteKey, keys.ServerWriteIV)
		}
		if err != nil {
			return nil, fmt.Errorf("failed to use keys: %w", err)
		}
	}
	return c, nil
}

// open decrypts a record that a side has sent. The record stays as it is.
func (c *connection) open(side int, record []byte) (protocol.ContentType, []byte, bool) {
	var header recordlayer.Header
	plain, err := c.ends[side].opener.Decrypt(header, append([]byte(nil), record...))
	if err != nil || header.Unmarshal(plain) != nil || header.ContentType == protocol.ContentTypeChangeCipherSpec {
		return 0, nil, false
	}
	c.used = true
	return header.ContentType, plain[header.Size():], true
}
