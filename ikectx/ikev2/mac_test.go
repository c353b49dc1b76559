package ikev2

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"testing"

	"pgregory.net/rapid"
)

// TestBlockMACs has the examples of RFC 4493 section 4 and RFC 3566 section 4.6.
func TestBlockMACs(t *testing.T) {
	const (
		cmacKey = "2b7e151628aed2a6abf7158809cf4f3c"
		text    = "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e51" +
			"30c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710"
		xcbcKey = "000102030405060708090a0b0c0d0e0f"
		count   = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f2021"
	)
	for _, c := range []struct {
		make          func([]byte) (*blockMAC, error)
		key, in, want string
	}{
		{newCMAC, cmacKey, "", "bb1d6929e95937287fa37d129b756746"},
		{newCMAC, cmacKey, text[:32], "070a16b46b4d4144f79bdd9dd04a287c"},
		{newCMAC, cmacKey, text[:80], "dfa66747de9ae63030ca32611497c827"},
		{newCMAC, cmacKey, text, "51f0bebf7e3b9d92fc49741779363cfe"},
		{newXCBC, xcbcKey, "", "75f0251d528ac01c4573dfd584d79f29"},
		{newXCBC, xcbcKey, count[:6], "5b376580ae2f19afe7219ceef172756f"},
		{newXCBC, xcbcKey, count[:32], "d2a246fa349b68a79998a4394ff7a263"},
		{newXCBC, xcbcKey, count[:40], "47f51b4564966215b8985c63055ed308"},
		{newXCBC, xcbcKey, count[:64], "f54f0ec8d2b9f3d36807734bd5283fd4"},
		{newXCBC, xcbcKey, count, "becbb3bccdb518a30677d5481fb6b4d8"},
	} {
		m, err := c.make(unhex(t, c.key))
		if err != nil {
			t.Fatal(err)
		}
		if got := m.sum(unhex(t, c.in)); !bytes.Equal(got, unhex(t, c.want)) {
			t.Errorf("key %s, %d octets: %x, want %s", c.key, len(c.in)/2, got, c.want)
		}
	}
}

// TestBlockMACParts: how a message is cut makes no difference.
func TestBlockMACParts(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m, err := newXCBC(rapid.SliceOfN(rapid.Byte(), 16, 16).Draw(t, "key"))
		if err != nil {
			t.Fatal(err)
		}
		parts := rapid.SliceOf(rapid.SliceOfN(rapid.Byte(), 0, 40)).Draw(t, "parts")
		if !bytes.Equal(m.sum(parts...), m.sum(bytes.Join(parts, nil))) {
			t.Fatal("another MAC for the same octets in parts")
		}
	})
}

// TestShortGCM: it is the library's AES-GCM with less of the tag.
func TestShortGCM(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		octets := func(name string, n int) []byte { return rapid.SliceOfN(rapid.Byte(), n, n).Draw(t, name) }
		block, err := aes.NewCipher(octets("key", 16))
		if err != nil {
			t.Fatal(err)
		}
		full, _ := cipher.NewGCM(block)
		short, err := newShortGCM(block)
		if err != nil {
			t.Fatal(err)
		}
		nonce, aad := octets("nonce", 12), octets("aad", 20)
		text := rapid.SliceOfN(rapid.Byte(), 0, 70).Draw(t, "text")
		sealed := short.Seal(nil, nonce, text, aad)
		if want := full.Seal(nil, nonce, text, aad); !bytes.Equal(sealed, want[:len(text)+8]) {
			t.Fatalf("sealed as %x, AES-GCM is %x", sealed, want)
		}
		if opened, err := short.Open(nil, nonce, sealed, aad); err != nil || !bytes.Equal(opened, text) {
			t.Fatalf("opened as %x, %v", opened, err)
		}
		sealed[rapid.IntRange(0, len(sealed)-1).Draw(t, "octet")] ^= 0x80
		if _, err := short.Open(nil, nonce, sealed, aad); err == nil {
			t.Fatal("a changed message was opened")
		}
	})
	block, _ := aes.NewCipher(make([]byte, 16))
	short, _ := newShortGCM(block)
	if _, err := short.Open(nil, make([]byte, 12), make([]byte, 7), nil); err == nil {
		t.Error("less than a tag was opened")
	}
}
