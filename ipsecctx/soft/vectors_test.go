package soft

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"net/netip"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/ipsecctx"
)

func unhex(s string) []byte {
	b, err := hex.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		panic(err)
	}
	return b
}

// vector is a published ESP packet with all that goes into it.
type vector struct {
	source    string
	cipher    uint16
	key, salt string
	esn       bool
	seq       uint64
	next      uint8
	inner     string // without the padding
	packet    string // from the SPI to the ICV
}

var vectors = []vector{
	{
		source: "RFC 7634 appendix A",
		cipher: ipsecctx.EncrChaCha20Poly1305,
		key:    "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f",
		salt:   "a0a1a2a3",
		seq:    5, next: protoIPv4,
		inner: `45000054a6f200004001e778c6336405c000020508005b7a3a080000553bec10
			0007362708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f20212223
			2425262728292a2b2c2d2e2f3031323334353637`,
		packet: `0102030400000005101112131415161724039428b97f417e3c13753a4f05087b
			67c352e6a7fab1b982d466ef407ae5c614ee8099d52844eb61aa95dfab4c02f7
			2aa71e7c4c4f64c9befe2facc638e8f3cbec163fac469b502773f6fb94e664da
			9165b82829f641e076aaa8266b7fb0f7b11b369907e1ad43`,
	},
	{
		source: "draft-mcgrew-gcm-test-01 section 4, SPI 0000a5f8, AES-128",
		cipher: ipsecctx.EncrAESGCM16,
		key:    "feffe9928665731c6d6a8f9467308308", salt: "cafebabe",
		seq: 10, next: 1,
		inner: `4500003e698f000080114dccc0a80102c0a801010a980035002a2343b2d00100
			0001000000000000037369700963796265726369747902646b0000010001`,
		packet: `0000a5f80000000afacedbaddecaf888deb22cd9b07c72c16e3a65beeb8df304
			a5a5897d33ae530f1ba76d5d114d2a5c3de81827c10e9a4f51330d0eec416642
			cfbb85a5b47e48a4ec3b9ba95d918bd183b70d3aa8bc6ee4c309e9d85a41ad4a`,
	},
	{
		source: "draft-mcgrew-gcm-test-01 section 4, SPI 4a2cbfe3, AES-256",
		cipher: ipsecctx.EncrAESGCM16,
		key:    "abbccddef00112233445566778899aababbccddef00112233445566778899aab",
		salt:   "11223344",
		seq:    2, next: 1,
		inner: `4500003069a6400080062690c0a801029389155e0a9e008b2dc57ee000000000
			7002400020bf0000020405b401010402`,
		packet: `4a2cbfe3000000020102030405060708ff425c9b724599df7a3bcd510194e00d
			6a78107f1b0b1cbf06efae9d65a5d763748a637985771d347f0545659f14e99d
			ef842d8eb335f4eecfdbf831824b4c4915956c96`,
	},
	{
		source: "draft-mcgrew-gcm-test-01 section 4, SPI 00004321, AES-128 with ESN",
		cipher: ipsecctx.EncrAESGCM16,
		key:    "4c80cdefbb5d10da906ac73c3613a634", salt: "2e443b68",
		esn: true, seq: 0x8765432100000000, next: 1,
		inner: `45000048699a000080114db7c0a80102c0a801010a9bf15638d3010000010000
			00000000045f736970045f756470037369700963796265726369747902646b00
			00210001`,
		packet: `00004321000000004956ed7e3b244cfefecf537e729d5b07dc30df528dd22b76
			8d1b98736696a6fd348509fa13ceac34cfa2436f14a3f3cf65925bf1f4a13c5d
			15b21e1884f5ff6247aeabb786b93bce61bc17d768fd9732459018148f6cbe72
			2fd04796562dfdb4`,
	},
	{
		source: "draft-mcgrew-gcm-test-01 section 4, SPI 796b6963, AES-256 with ESN",
		cipher: ipsecctx.EncrAESGCM16,
		key:    "6c6567616c697a656d6172696a75616e61616e64646f69746265666f72656961",
		salt:   "7475726e",
		esn:    true, seq: 1<<64 - 1, next: 1,
		inner: `45000030da3a00008001df3bc0a80005c0a800010800c6cd0200070061626364
			65666768696a6b6c6d6e6f7071727374`,
		packet: `796b6963ffffffff333021696765746df97ab2aa356d8edce17644ac8c78e25d
			d24dedbb29ebf1b64a274b39b49c3a864cd3d78ca4ae68a32b42458fb57dbe82
			1dcc63b9d0937ba2945f669368661a329fb4c053`,
	},
	{
		source: "draft-mcgrew-gcm-test-01 section 4, SPI 335467ae, nothing but padding",
		cipher: ipsecctx.EncrAESGCM16,
		key:    "7d773d00c144c525ac619d18c84a3f47", salt: "d9664267",
		seq: 1<<32 - 1, next: 1,
		inner:  ``,
		packet: `335467aeffffffff43457e9182443bc6437f866bcb3f699fe9b0822bac961c4504bef270`,
	},
}

func (v *vector) sa(t *testing.T) *ipsecctx.SA {
	t.Helper()
	key := unhex(v.key)
	bits := uint16(0) // ChaCha20 has no key length attribute
	if v.cipher == ipsecctx.EncrAESGCM16 {
		bits = uint16(8 * len(key))
	}
	return &ipsecctx.SA{
		Direction: ipsecctx.Inbound, Protocol: ipsecctx.ESP, Mode: ipsecctx.Tunnel,
		SPI: binary.BigEndian.Uint32(unhex(v.packet)), Pair: 1,
		Local: netip.MustParseAddr("203.0.113.5"), Remote: netip.MustParseAddr("203.0.113.153"),
		Encryption: ipsecctx.Cipher{
			ID: v.cipher, Bits: bits, Key: secret.New(key), Salt: secret.New(unhex(v.salt)),
		},
		ESN:       v.esn,
		Selectors: []ipsecctx.Selector{selector()},
	}
}

// TestPublishedPackets makes each published packet from its inputs, and opens
// it again.
func TestPublishedPackets(t *testing.T) {
	for _, v := range vectors {
		t.Run(v.source, func(t *testing.T) {
			s, err := newSuite(v.sa(t))
			if err != nil {
				t.Fatal(err)
			}
			want, inner := unhex(v.packet), unhex(v.inner)
			buf := make([]byte, headroom+len(inner)+tailroom)
			copy(buf[headroom:], inner)
			begin := headroom - s.layout().iv - headerLen
			copy(buf[begin+headerLen:], want[headerLen:headerLen+s.layout().iv])
			got := finish(s, buf, begin, headroom, headroom+len(inner), binary.BigEndian.Uint32(want), v.seq, v.next)
			if !bytes.Equal(got, want) {
				t.Errorf("sealed\n%x, want\n%x", got, want)
			}
			if err := s.open(want, v.seq); err != nil {
				t.Fatal(err)
			}
			body, next, err := payload(s.layout(), want)
			if err != nil || next != v.next || !bytes.Equal(body, inner) {
				t.Errorf("opened %x, next header %d, error %v; want %x, %d", body, next, err, inner, v.next)
			}
		})
	}
}

// TestInspectorOpensPublishedPacket also needs nothing but the keys.
func TestInspectorOpensPublishedPacket(t *testing.T) {
	v := vectors[0]
	i, err := NewInspector(v.sa(t))
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // the second time as a replay
		seq, iv, inner, err := i.Open(unhex(v.packet))
		if err != nil || seq != 5 || !bytes.Equal(iv, unhex("1011121314151617")) || !bytes.Equal(inner, unhex(v.inner)) {
			t.Errorf("Open = %d, %x, %x, %v", seq, iv, inner, err)
		}
	}
}

// cbcVectors are RFC 3602 section 4, cases 5 to 8. They have no integrity, so
// the ICV of the packets made here is left out of the comparison.
var cbcVectors = []struct {
	name, key   string
	seq         uint64
	next        uint8
	iv          string
	inner       string
	spi         uint32
	ciphertexts string
}{
	{
		name: "case 5", key: "90d382b410eeba7ad938c46cec1a82bf", spi: 0x4321, seq: 1, next: protoICMP,
		iv: "e96e8c08ab465763fd098d45dd3ff893",
		inner: `08000ebd a70a0000 8e9c083d b95b0700 08090a0b 0c0d0e0f 10111213 14151617
			18191a1b 1c1d1e1f 20212223 24252627 28292a2b 2c2d2e2f 30313233 34353637`,
		ciphertexts: `f663c25d 325c18c6 a9453e19 4e120849 a4870b66 cc6b9965 330013b4 898dc856
			a4699e52 3a55db08 0b59ec3a 8e4b7e52 775b07d1 db34ed9c 538ab50c 551b874a
			a269add0 47ad2d59 13ac19b7 cfbad4a6`,
	},
	{
		name: "case 6", key: "90d382b410eeba7ad938c46cec1a82bf", spi: 0x4321, seq: 8, next: protoICMP,
		iv:          "69d08df7d203329db093fc4924e5bd80",
		inner:       `0800b5e8 a80a0500 a69c083d 0b660e00 77777777 77777777 77777777`,
		ciphertexts: `f5199588 1ec4e0c4 488987ce 742e8109 689bb379 d2d750c0 d915dca3 46a89f75`,
	},
	{
		name: "case 7", key: "0123456789abcdef0123456789abcdef", spi: 0x8765, seq: 2, next: protoIPv4,
		iv: "f4e765244f6407adf13dc1380f673f37",
		inner: `45000054 09040000 4001f988 c0a87b03 c0a87bc8 08009f76 a90a0100 b49c083d
			02a20400 08090a0b 0c0d0e0f 10111213 14151617 18191a1b 1c1d1e1f 20212223
			24252627 28292a2b 2c2d2e2f 30313233 34353637`,
		ciphertexts: `773b5241 a4c44922 5e4f3ce5 ed611b0c 237ca96c f74a9301 3c1b0ea1 a0cf70f8
			e4ecaec7 8ac53aad 7a0f022b 859243c6 47752e94 a859352b 8a4d4d2d ecd136e5
			c177f132 ad3fbfb2 201ac990 4c74ee0a 109e0ca1 e4dfe9d5 a100b842 f1c22f0d`,
	},
	{
		name: "case 8", key: "0123456789abcdef0123456789abcdef", spi: 0x8765, seq: 5, next: protoIPv4,
		iv: "85d47224b5f3dd5d2101d4ea8dffab22",
		inner: `45000044 090c0000 4001f990 c0a87b03 c0a87bc8 0800d63c aa0a0200 c69c083d
			a3de0300 ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff ffffffff
			ffffffff`,
		ciphertexts: `15b92683 819596a8 047232cc 00f7048f e45318e1 1f8a0f62 ede3c3fc 61203bb5
			0f980a08 c9843fd3 a1b06d5c 07ff9639 b7eb7dfb 3512e5de 435e7207 ed971ef3
			d2726d9b 5ef6affc 6d17a0de cbb13892`,
	},
}

func TestPublishedCBC(t *testing.T) {
	for _, v := range cbcVectors {
		t.Run("RFC 3602 section 4, "+v.name, func(t *testing.T) {
			s, err := newCBC(unhex(v.key), make([]byte, 32), false)
			if err != nil {
				t.Fatal(err)
			}
			inner := unhex(v.inner)
			buf := make([]byte, headroom+len(inner)+tailroom)
			copy(buf[headroom:], inner)
			copy(buf[headerLen:], unhex(v.iv))
			packet := finish(s, buf, 0, headroom, headroom+len(inner), v.spi, v.seq, v.next)
			want := binary.BigEndian.AppendUint32(nil, v.spi)
			want = binary.BigEndian.AppendUint32(want, uint32(v.seq))
			want = append(append(want, unhex(v.iv)...), unhex(v.ciphertexts)...)
			if got := packet[:len(packet)-maxICV]; !bytes.Equal(got, want) {
				t.Errorf("sealed\n%x, want\n%x", got, want)
			}
			if err := s.open(packet, v.seq); err != nil {
				t.Fatal(err)
			}
			body, next, err := payload(s.layout(), packet)
			if err != nil || next != v.next || !bytes.Equal(body, inner) {
				t.Errorf("opened %x, next header %d, error %v; want %x, %d", body, next, err, inner, v.next)
			}
		})
	}
}

// TestICVCoverage computes the ICV of AES-CBC packets apart: HMAC-SHA-256 cut to
// 128 bits over the packet, and with ESN over the high-order half of the
// sequence number after it (RFC 4303 section 2.8, RFC 4868 section 2.3).
func TestICVCoverage(t *testing.T) {
	key := bytes.Repeat([]byte{0x0b}, 32)
	for _, esn := range []bool{false, true} {
		s, err := newCBC(make([]byte, 16), key, esn)
		if err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, headroom+30+tailroom)
		packet := encapsulate(s, buf, headroom, headroom+30, 0x1234, 0x0102030405060708, protoIPv4)
		mac := hmac.New(sha256.New, key)
		mac.Write(packet[:len(packet)-16])
		if esn {
			mac.Write([]byte{1, 2, 3, 4})
		}
		if got, want := packet[len(packet)-16:], mac.Sum(nil)[:16]; !bytes.Equal(got, want) {
			t.Errorf("ESN %v: ICV %x, want %x", esn, got, want)
		}
	}
}
