package cxtp

import (
	"crypto/ecdh"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// Share is a public key of X25519 (RFC 7748): what one side of an exchange shows
// the other. Zero stands for none, and would agree on nothing.
type Share [32]byte

// IsZero reports whether this is none.
func (s Share) IsZero() bool { return s == Share{} }

// FreshTokens is how many token keys an exchange gives: a node may make as many
// requests before one of them moves it.
const FreshTokens = 8

// freshKeySize is the length of a key that an exchange gives.
const freshKeySize = sha256.Size

// exchange is one side's half of the agreement on a node's next keys
// (rfc/authorisation.md section 4).
type exchange struct {
	private secret.Key
	share   Share
}

// newExchange draws a private key: 32 octets of random.
func newExchange(random io.Reader) (*exchange, error) {
	if random == nil {
		return nil, errors.New("failed to draw an ephemeral key: no source of randomness was given")
	}
	octets := make([]byte, len(Share{}))
	if _, err := io.ReadFull(random, octets); err != nil {
		return nil, fmt.Errorf("failed to draw an ephemeral key: %w", err)
	}
	x := &exchange{private: secret.New(octets)}
	key, err := ecdh.X25519().NewPrivateKey(octets)
	if err != nil {
		return nil, fmt.Errorf("failed to draw an ephemeral key: %w", err)
	}
	x.share = Share(key.PublicKey().Bytes())
	return x, nil
}

// wipe ends an exchange, and with it the only way to its keys. A nil one has
// ended.
func (x *exchange) wipe() {
	if x != nil {
		x.private.Wipe()
	}
}

// shared is what both sides know and nobody else. It fails for a share with
// which the outcome would be zero, whatever the private key (RFC 7748 section 6.1).
func (x *exchange) shared(other Share) (secret.Key, error) {
	key, err := ecdh.X25519().NewPrivateKey(x.private.Bytes())
	if err != nil {
		return secret.Key{}, err
	}
	public, err := ecdh.X25519().NewPublicKey(other[:])
	if err != nil {
		return secret.Key{}, err
	}
	octets, err := key.ECDH(public)
	if err != nil {
		return secret.Key{}, err
	}
	return secret.New(octets), nil
}

// agreement is what both sides of an exchange put into the keys.
type agreement struct {
	session       SessionID
	number        uint64 // of the Update
	gateway, node Share
}

// renew gives the node's state with the keys that follow from an exchange: a new
// update key, and token keys 1 to FreshTokens of a generation that is numbered as
// the Update. other is the other side's share. It fails for a share that must not
// be used.
func (n NodeState) renew(x *exchange, other Share, a agreement) (NodeState, error) {
	shared, err := x.shared(other)
	if err != nil {
		return n, fmt.Errorf("failed to agree on the node's next keys: %w", err)
	}
	defer shared.Wipe()
	keys, err := nextKeys(shared, n.UpdateKey, a)
	if err != nil {
		return n, fmt.Errorf("failed to agree on the node's next keys: %w", err)
	}
	n.Generation, n.UpdateKey, n.Tokens = a.number, keys[0], make([]NumberedKey, FreshTokens)
	for i, key := range keys[1:] {
		n.Tokens[i] = NumberedKey{uint32(i + 1), key}
	}
	return n, nil
}

// exchangeLabel keeps the keys of an exchange from being any others.
const exchangeLabel = "CXTP node keys"

// nextKeys derives the update key and the token keys, in this order, with
// HKDF-SHA-256 (RFC 5869). The update key that authenticated the exchange is the
// salt: whoever breaks X25519 one day has recorded nothing of use without it.
func nextKeys(shared, update secret.Key, a agreement) ([]secret.Key, error) {
	if update.IsZero() {
		return nil, errors.New("the node has no update key")
	}
	info := append([]byte(exchangeLabel), a.session[:]...)
	info = binary.BigEndian.AppendUint64(info, a.number)
	info = append(info, a.gateway[:]...)
	info = append(info, a.node[:]...)
	text, err := hkdf.Key(sha256.New, shared.Bytes(), update.Bytes(), string(info), (1+FreshTokens)*freshKeySize)
	if err != nil {
		return nil, err
	}
	keys := make([]secret.Key, 1+FreshTokens)
	for i := range keys {
		from := i * freshKeySize
		keys[i] = secret.New(text[from : from+freshKeySize : from+freshKeySize])
	}
	return keys, nil
}

// wipeKeys forgets the keys of a node.
func (n *NodeState) wipeKeys() {
	n.UpdateKey.Wipe()
	for _, t := range n.Tokens {
		t.Key.Wipe()
	}
}
