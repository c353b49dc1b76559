package ikev2

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/ipsecctx"
)

// Protection is how packets are encrypted and authenticated: of IKE messages, or
// of a CHILD SA.
type Protection struct {
	Encryption uint16 // IANA "Transform Type 1"; 0 for AH
	Bits       uint16 // the Key Length attribute; 0 where the transform has none
	Integrity  uint16 // IANA "Transform Type 3"; 0 with an AEAD cipher
}

// SA is an IKE SA. The zero values of what is not needed do no harm: SPIs and
// Protection say how much key material there is and how messages look, PRF alone
// is enough for [SA.ChildKeys].
type SA struct {
	SPIi, SPIr uint64 // of the initiator and of the responder of this SA
	// Initiator: this end initiated this SA, or the rekeying that made it.
	Initiator  bool
	Protection Protection
	PRF        uint16 // IANA "Transform Type 2"
	Keys       Keys
}

// Keys are the seven keys of RFC 7296 section 2.14. Ei and Er have the salt of an
// AEAD cipher at their end, and Ai and Ar are absent then (RFC 5282 section 7).
type Keys struct{ D, Ai, Ar, Ei, Er, Pi, Pr secret.Key }

// Wipe overwrites all of them.
func (k *Keys) Wipe() {
	for _, key := range []secret.Key{k.D, k.Ai, k.Ar, k.Ei, k.Er, k.Pi, k.Pr} {
		key.Wipe()
	}
}

// Inputs are what the two ends exchanged to agree keys.
type Inputs struct {
	Ni, Nr []byte // nonces, of 16 to 256 octets
	// Secrets are the shared secrets of the key exchanges, in the order in which
	// they were made: one, or none for a CHILD SA without its own, or several with
	// RFC 9370.
	Secrets []secret.Key
}

// nonces of RFC 7296 section 3.9, in octets.
const (
	minNonce = 16
	maxNonce = 256
)

func (in *Inputs) check(exchanges int) error {
	for _, nonce := range [][]byte{in.Ni, in.Nr} {
		if len(nonce) < minNonce || len(nonce) > maxNonce {
			return fmt.Errorf("%w: a nonce of %d octets, they have %d to %d", ErrInput, len(nonce), minNonce, maxNonce)
		}
	}
	if len(in.Secrets) < exchanges {
		return fmt.Errorf("%w: %d shared secrets, %d wanted", ErrInput, len(in.Secrets), exchanges)
	}
	for i, s := range in.Secrets {
		if s.IsZero() {
			return fmt.Errorf("%w: shared secret %d is empty", ErrInput, i)
		}
	}
	return nil
}

// seed is what CREATE_CHILD_SA puts into a prf: the first shared secret if there
// is one, the nonces, and the secrets of what followed (RFC 7296 sections 2.17 and
// 2.18, RFC 9370 section 2.2.4).
func (in *Inputs) seed() [][]byte {
	parts := [][]byte{in.Ni, in.Nr}
	for i, s := range in.Secrets {
		if i == 0 {
			parts = append([][]byte{s.Bytes()}, parts...)
		} else {
			parts = append(parts, s.Bytes())
		}
	}
	return parts
}

// Derive computes the keys of an IKE SA that IKE_SA_INIT made (RFC 7296 section
// 2.14). Each further secret is that of an IKE_INTERMEDIATE exchange, after which
// both ends derive the keys again, from the SK_d that they had (RFC 9370 section
// 2.2.2).
func (sa *SA) Derive(in Inputs) error {
	if err := in.check(1); err != nil {
		return err
	}
	ni, nr := in.Ni, in.Nr
	if fixedKey(sa.PRF) {
		ni, nr = ni[:8], nr[:8]
	}
	key := bytes.Join([][]byte{ni, nr}, nil)
	prf, err := newPRF(sa.PRF, key)
	if err != nil {
		return err
	}
	if err := sa.expand(sa.PRF, prf(in.Secrets[0].Bytes()), &in); err != nil {
		return err
	}
	for _, s := range in.Secrets[1:] {
		before := sa.Keys
		step := Inputs{Ni: in.Ni, Nr: in.Nr, Secrets: []secret.Key{s}}
		err := sa.replace(Predecessor{PRF: sa.PRF, D: before.D}, &step)
		before.Wipe()
		if err != nil {
			return err
		}
	}
	return nil
}

// Predecessor is what is needed of the IKE SA that a rekeying replaced.
type Predecessor struct {
	PRF uint16
	D   secret.Key // SK_d
	// Expands: its PRF makes not SKEYSEED alone but also what is expanded from
	// that. RFC 7296 section 2.18 wants the PRF of the new SA there, strongSwan (seen
	// with 5.9.8) takes the old one. It matters only when the two differ.
	Expands bool
}

// Rekey computes the keys of an IKE SA that CREATE_CHILD_SA made in place of
// another (RFC 7296 section 2.18). SPIs and nonces are those of that exchange, and
// further secrets those of the IKE_FOLLOWUP_KE exchanges behind it (RFC 9370
// section 2.2.4).
func (sa *SA) Rekey(old Predecessor, in Inputs) error {
	if err := in.check(1); err != nil {
		return err
	}
	return sa.replace(old, &in)
}

// replace derives the keys from an SK_d.
func (sa *SA) replace(old Predecessor, in *Inputs) error {
	prf, err := newPRF(old.PRF, old.D.Bytes())
	if err != nil {
		return err
	}
	id := sa.PRF
	if old.Expands {
		id = old.PRF
	}
	return sa.expand(id, prf(in.seed()...), in)
}

// expand makes the seven keys of SKEYSEED, which it wipes. The lengths of SK_d and
// SK_p are those of the SA's own PRF, whichever one expands.
func (sa *SA) expand(id uint16, skeyseed []byte, in *Inputs) error {
	defer clear(skeyseed)
	p, err := PRFKeyLen(sa.PRF)
	if err != nil {
		return err
	}
	size, err := sa.Protection.sizes()
	if err != nil {
		return err
	}
	prf, err := newPRF(id, skeyseed)
	if err != nil {
		return err
	}
	a, e := size.integrity, size.encryption+size.salt
	var spis [16]byte
	binary.BigEndian.PutUint64(spis[:], sa.SPIi)
	binary.BigEndian.PutUint64(spis[8:], sa.SPIr)
	material := expand(prf, 3*p+2*a+2*e, in.Ni, in.Nr, spis[:])
	next := cutter(material)
	sa.Keys = Keys{D: next(p), Ai: next(a), Ar: next(a), Ei: next(e), Er: next(e), Pi: next(p), Pr: next(p)}
	return nil
}

// cutter cuts keys off key material. Each owns its octets.
func cutter(material []byte) func(n int) secret.Key {
	return func(n int) secret.Key {
		key := secret.Clone(material[:n])
		clear(material[:n])
		material = material[n:]
		return key
	}
}

// ChildKeys are the keys of a CHILD SA, one set for each direction. The initiator
// is that of the exchange which made the CHILD SA, not of the IKE SA.
type ChildKeys struct {
	FromInitiator, FromResponder PacketKeys
}

// PacketKeys are the keys of one ESP or AH SA. What its transforms do not need is
// absent. The key of AES-GMAC in AH has its salt at the end.
type PacketKeys struct{ Encryption, Salt, Integrity secret.Key }

// Wipe overwrites all of them.
func (k *ChildKeys) Wipe() {
	for _, p := range []PacketKeys{k.FromInitiator, k.FromResponder} {
		p.Encryption.Wipe()
		p.Salt.Wipe()
		p.Integrity.Wipe()
	}
}

// ChildKeys computes the keys of a CHILD SA from SK_d (RFC 7296 section 2.17). The
// inputs are those of CREATE_CHILD_SA, with a secret if it had a key exchange, and
// those of the IKE_FOLLOWUP_KE exchanges behind it. For the CHILD SA that IKE_AUTH
// made they are the nonces of IKE_SA_INIT and no secret.
func (sa *SA) ChildKeys(p Protection, in Inputs) (ChildKeys, error) {
	if err := in.check(0); err != nil {
		return ChildKeys{}, err
	}
	size, err := p.sizes()
	if err != nil {
		return ChildKeys{}, err
	}
	if sa.Keys.D.IsZero() {
		return ChildKeys{}, fmt.Errorf("%w: the IKE SA has no SK_d", ErrInput)
	}
	prf, err := newPRF(sa.PRF, sa.Keys.D.Bytes())
	if err != nil {
		return ChildKeys{}, err
	}
	next := cutter(expand(prf, 2*(size.encryption+size.salt+size.integrity), in.seed()...))
	direction := func() PacketKeys {
		return PacketKeys{Encryption: next(size.encryption), Salt: next(size.salt), Integrity: next(size.integrity)}
	}
	return ChildKeys{FromInitiator: direction(), FromResponder: direction()}, nil
}

// sizes are the lengths in octets of the keys of one direction.
type sizes struct{ encryption, salt, integrity int }

func (p Protection) sizes() (s sizes, err error) {
	aead := false
	if p.Encryption != 0 {
		t, ok := ipsecctx.CipherByID(p.Encryption)
		if !ok {
			return s, fmt.Errorf("%w: encryption transform %d", ErrTransform, p.Encryption)
		}
		bits, err := keyBits(t, p.Bits)
		if err != nil {
			return s, err
		}
		s.encryption, s.salt, aead = bits/8, t.Salt, t.AEAD()
	}
	if p.Integrity != 0 {
		t, ok := ipsecctx.AuthByID(p.Integrity)
		if !ok {
			return s, fmt.Errorf("%w: integrity transform %d", ErrTransform, p.Integrity)
		}
		s.integrity = t.Key
	}
	if aead == (p.Integrity != 0) {
		return s, fmt.Errorf("%w: encryption %d with integrity %d, one of the two has to protect integrity", ErrTransform, p.Encryption, p.Integrity)
	}
	return s, nil
}

// keyBits is the key length of a cipher for the value of the Key Length attribute.
func keyBits(t *ipsecctx.CipherTransform, attribute uint16) (int, error) {
	if len(t.KeyBits) == 0 && attribute == 0 {
		return int(t.FixedBits), nil
	}
	for _, bits := range t.KeyBits {
		if bits == attribute {
			return int(bits), nil
		}
	}
	return 0, fmt.Errorf("%w: %s with keys of %d bits", ErrTransform, t.Name, attribute)
}
