package ikev2

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"fmt"
	"hash"
	"slices"
	"testing"

	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/ipsecctx"
)

// fill gives n octets that differ from those of another seed.
func fill(seed byte, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = seed + byte(i)
	}
	return b
}

func testInputs(secrets int) Inputs {
	in := Inputs{Ni: fill(1, 32), Nr: fill(101, 24)}
	for i := range secrets {
		in.Secrets = append(in.Secrets, secret.New(fill(byte(51*i+7), 32+i)))
	}
	return in
}

var gcm = Protection{Encryption: ipsecctx.EncrAESGCM16, Bits: 128}

// reference is HMAC over the parts, and prf+ over it, written down once more.
func reference(h func() hash.Hash, key []byte, parts ...[]byte) []byte {
	m := hmac.New(h, key)
	m.Write(slices.Concat(parts...))
	return m.Sum(nil)
}

func referencePlus(h func() hash.Hash, key []byte, n int, parts ...[]byte) []byte {
	seed := slices.Concat(parts...)
	var out, last []byte
	for i := 1; len(out) < n; i++ {
		last = reference(h, key, last, seed, []byte{byte(i)})
		out = append(out, last...)
	}
	return out[:n]
}

func joined(k Keys) []byte {
	var all []byte
	for _, key := range []secret.Key{k.D, k.Ai, k.Ar, k.Ei, k.Er, k.Pi, k.Pr} {
		all = append(all, key.Bytes()...)
	}
	return all
}

// TestSeveralKeyExchanges: IKE_INTERMEDIATE and IKE_FOLLOWUP_KE, for which no
// recording is there, against the formulas of RFC 9370.
func TestSeveralKeyExchanges(t *testing.T) {
	in := testInputs(3)
	s := [3][]byte{in.Secrets[0].Bytes(), in.Secrets[1].Bytes(), in.Secrets[2].Bytes()}
	sa := SA{SPIi: 0x0102030405060708, SPIr: 0x1112131415161718, Protection: gcm, PRF: PRFHMACSHA2256}
	spis := append(unhex(t, "0102030405060708"), unhex(t, "1112131415161718")...)
	const size = 3*32 + 2*20

	if err := sa.Derive(in); err != nil {
		t.Fatal(err)
	}
	all := referencePlus(sha256.New, reference(sha256.New, append(bytes.Clone(in.Ni), in.Nr...), s[0]), size, in.Ni, in.Nr, spis)
	for _, next := range s[1:] {
		all = referencePlus(sha256.New, reference(sha256.New, all[:32], next, in.Ni, in.Nr), size, in.Ni, in.Nr, spis)
	}
	if !bytes.Equal(joined(sa.Keys), all) {
		t.Error("keys after two IKE_INTERMEDIATE differ from RFC 9370 section 2.2.2")
	}

	child, err := sa.ChildKeys(Protection{Encryption: ipsecctx.EncrAESCCM16, Bits: 256}, in)
	if err != nil {
		t.Fatal(err)
	}
	seed := slices.Concat(s[0], in.Ni, in.Nr, s[1], s[2])
	want := referencePlus(sha256.New, all[:32], 2*35, seed)
	i, r := child.FromInitiator, child.FromResponder
	got := slices.Concat(i.Encryption.Bytes(), i.Salt.Bytes(), r.Encryption.Bytes(), r.Salt.Bytes())
	if !bytes.Equal(got, want) || i.Salt.Len() != 3 || !i.Integrity.IsZero() {
		t.Error("keys of a CHILD SA differ from RFC 9370 section 2.2.4")
	}

	// RFC 7296 section 2.18: the old PRF for SKEYSEED, the new one for the rest.
	next := SA{SPIi: sa.SPIi, SPIr: sa.SPIr, Protection: gcm, PRF: PRFHMACSHA2512}
	if err := next.Rekey(Predecessor{PRF: sa.PRF, D: sa.Keys.D}, in); err != nil {
		t.Fatal(err)
	}
	all = referencePlus(sha512.New, reference(sha256.New, all[:32], seed), 3*64+2*20, in.Ni, in.Nr, spis)
	if !bytes.Equal(joined(next.Keys), all) {
		t.Error("keys after rekeying differ from RFC 7296 section 2.18")
	}
}

// TestChildKeyLengths: each transform gets what it needs, in RFC 4301's order.
func TestChildKeyLengths(t *testing.T) {
	sa := SA{PRF: PRFHMACSHA1, Keys: Keys{D: secret.New(fill(9, 20))}}
	for _, c := range []struct {
		p                           Protection
		encryption, salt, integrity int
	}{
		{gcm, 16, 4, 0},
		{Protection{Encryption: ipsecctx.EncrAESCCM8, Bits: 192}, 24, 3, 0},
		{Protection{Encryption: ipsecctx.EncrAESGCM16IIV, Bits: 256}, 32, 4, 0},
		{Protection{Encryption: ipsecctx.EncrChaCha20Poly1305}, 32, 4, 0},
		{Protection{Encryption: ipsecctx.EncrNullAuthAESGMAC, Bits: 128}, 16, 4, 0},
		{Protection{Encryption: ipsecctx.EncrAESCBC, Bits: 256, Integrity: ipsecctx.AuthHMACSHA2_512_256}, 32, 0, 64},
		{Protection{Encryption: ipsecctx.EncrAESCTR, Bits: 128, Integrity: ipsecctx.AuthAESXCBC96}, 16, 4, 16},
		{Protection{Encryption: ipsecctx.Encr3DES, Integrity: ipsecctx.AuthHMACSHA1_96}, 24, 0, 20},
		{Protection{Encryption: ipsecctx.EncrNull, Integrity: ipsecctx.AuthHMACSHA2_256_128}, 0, 0, 32},
		{Protection{Integrity: ipsecctx.AuthHMACSHA2_384_192}, 0, 0, 48},
		{Protection{Integrity: ipsecctx.AuthAES256GMAC}, 0, 0, 36},
	} {
		in := testInputs(0)
		k, err := sa.ChildKeys(c.p, in)
		if err != nil {
			t.Errorf("%+v: %v", c.p, err)
			continue
		}
		var all []byte
		for _, d := range []PacketKeys{k.FromInitiator, k.FromResponder} {
			if d.Encryption.Len() != c.encryption || d.Salt.Len() != c.salt || d.Integrity.Len() != c.integrity {
				t.Errorf("%+v: keys of %d, %d and %d octets", c.p, d.Encryption.Len(), d.Salt.Len(), d.Integrity.Len())
			}
			all = slices.Concat(all, d.Encryption.Bytes(), d.Salt.Bytes(), d.Integrity.Bytes())
		}
		prf, _ := newPRF(sa.PRF, sa.Keys.D.Bytes())
		if !bytes.Equal(all, expand(prf, len(all), in.Ni, in.Nr)) {
			t.Errorf("%+v: not KEYMAT in its order", c.p)
		}
		k.Wipe()
		if !bytes.Equal(k.FromResponder.Integrity.Bytes(), make([]byte, c.integrity)) {
			t.Errorf("%+v: not wiped", c.p)
		}
	}
}

// TestRefusedInputs: what cannot be derived is said, with the class of the reason.
func TestRefusedInputs(t *testing.T) {
	derive := func(sa SA, in Inputs) error { return sa.Derive(in) }
	good := SA{Protection: gcm, PRF: PRFHMACSHA2256}
	changed := func(change func(sa *SA, in *Inputs)) error {
		sa, in := good, testInputs(1)
		change(&sa, &in)
		return derive(sa, in)
	}
	child := func(p Protection) error {
		_, err := (&SA{PRF: PRFAES128CMAC, Keys: Keys{D: secret.New(fill(1, 16))}}).ChildKeys(p, testInputs(0))
		return err
	}
	if err := derive(good, testInputs(1)); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ got, want error }{
		"no secret":         {changed(func(_ *SA, in *Inputs) { in.Secrets = nil }), ErrInput},
		"an empty secret":   {changed(func(_ *SA, in *Inputs) { in.Secrets[0] = secret.Key{} }), ErrInput},
		"a short nonce":     {changed(func(_ *SA, in *Inputs) { in.Ni = in.Ni[:15] }), ErrInput},
		"a long nonce":      {changed(func(_ *SA, in *Inputs) { in.Nr = fill(0, 257) }), ErrInput},
		"no PRF":            {changed(func(sa *SA, _ *Inputs) { sa.PRF = 0 }), ErrTransform},
		"HMAC-MD5":          {changed(func(sa *SA, _ *Inputs) { sa.PRF = 1 }), ErrTransform},
		"no key length":     {changed(func(sa *SA, _ *Inputs) { sa.Protection.Bits = 0 }), ErrTransform},
		"no cipher":         {changed(func(sa *SA, _ *Inputs) { sa.Protection.Encryption = 0 }), ErrTransform},
		"unknown cipher":    {child(Protection{Encryption: 9999}), ErrTransform},
		"unknown integrity": {child(Protection{Integrity: 9999}), ErrTransform},
		"two integrities":   {child(Protection{Encryption: ipsecctx.EncrAESGCM16, Bits: 128, Integrity: ipsecctx.AuthHMACSHA1_96}), ErrTransform},
		"no integrity":      {child(Protection{Encryption: ipsecctx.EncrAESCBC, Bits: 128}), ErrTransform},
		"3DES with a length": {child(Protection{Encryption: ipsecctx.Encr3DES, Bits: 192, Integrity: ipsecctx.AuthHMACSHA1_96}),
			ErrTransform},
		"no SK_d": {func() error { _, err := good.ChildKeys(gcm, testInputs(0)); return err }(), ErrInput},
		"SK_d of another length": {good.Rekey(Predecessor{PRF: PRFAES128XCBC, D: secret.New(fill(1, 20))}, testInputs(1)),
			ErrInput},
	} {
		if !errors.Is(c.got, c.want) {
			t.Errorf("%s: %v, want %v", name, c.got, c.want)
		}
	}
}

// TestKeysAreNotShown: formatting an SA shows no key.
func TestKeysAreNotShown(t *testing.T) {
	sa := SA{Protection: gcm, PRF: PRFHMACSHA2256}
	if err := sa.Derive(testInputs(1)); err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf("%+v %#v", sa, sa)
	if bytes.Contains([]byte(text), fmt.Appendf(nil, "%x", sa.Keys.D.Bytes()[:4])) {
		t.Errorf("shown: %s", text)
	}
	d := sa.Keys.D
	sa.Keys.Wipe()
	if !bytes.Equal(d.Bytes(), make([]byte, 32)) {
		t.Error("not wiped")
	}
}
