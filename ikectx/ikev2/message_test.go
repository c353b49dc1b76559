package ikev2

import (
	"bytes"
	"encoding/binary"
	"errors"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/ipsecctx"
)

// protections are all that IKE messages can have here.
var protections = func() []Protection {
	list := []Protection{{Encryption: ipsecctx.EncrChaCha20Poly1305}}
	for _, id := range []uint16{14, 15, 16, 18, 19, 20} { // AES-CCM and AES-GCM
		for _, bits := range []uint16{128, 192, 256} {
			list = append(list, Protection{Encryption: id, Bits: bits})
		}
	}
	for _, auth := range []uint16{2, 5, 8, 12, 13, 14} {
		list = append(list, Protection{Encryption: ipsecctx.Encr3DES, Integrity: auth},
			Protection{Encryption: ipsecctx.EncrAESCBC, Bits: 256, Integrity: auth})
	}
	return list
}()

// pair makes both ends of an SA.
func pair(t testing.TB, p Protection) (initiator, responder *SA) {
	t.Helper()
	sa := SA{SPIi: 0x0102030405060708, SPIr: 0x1112131415161718, Initiator: true, Protection: p, PRF: PRFHMACSHA2256}
	if err := sa.Derive(testInputs(1)); err != nil {
		t.Fatal(err)
	}
	other := sa
	other.Initiator = false
	return &sa, &other
}

func mustSeal(t testing.TB, sa *SA, m *Message) []byte {
	t.Helper()
	datagram, err := sa.Seal(m)
	if err != nil {
		t.Fatal(err)
	}
	return datagram
}

// sealRaw protects any octets, as a fragment if number is not 0.
func sealRaw(t testing.TB, sa *SA, h Header, first PayloadType, number, total uint16, body []byte) []byte {
	t.Helper()
	p, err := sa.newProtector(sa.Initiator)
	if err != nil {
		t.Fatal(err)
	}
	l, extra, kind := p.layout(), []byte(nil), PayloadEncrypted
	if number != 0 {
		extra = binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(nil, number), total)
		kind = PayloadFragment
	}
	n := genericLen + len(extra) + l.iv + len(body) + l.icv
	h.SPIi, h.SPIr, h.Initiator = sa.SPIi, sa.SPIr, sa.Initiator
	out := h.append(nil, kind, headerLen+n)
	out = binary.BigEndian.AppendUint16(append(out, byte(first), 0), uint16(n))
	out = append(out, extra...)
	at := len(out)
	out = slices.Concat(out, make([]byte, l.iv), body, make([]byte, l.icv))
	p.seal(out, at)
	return out
}

func drawMessage(t *rapid.T) *Message {
	m := &Message{
		Exchange: ExchangeType(rapid.Byte().Draw(t, "exchange")),
		Response: rapid.Bool().Draw(t, "response"),
		ID:       rapid.Uint32().Draw(t, "ID"),
	}
	for range rapid.IntRange(0, 4).Draw(t, "payloads") {
		m.Payloads = append(m.Payloads, Payload{
			Type: PayloadType(rapid.Uint8Min(1).Filter(func(n uint8) bool { return n != 46 && n != 53 }).Draw(t, "type")),
			Body: rapid.SliceOfN(rapid.Byte(), 0, 60).Draw(t, "body"),
		})
	}
	return m
}

// TestSealOpen: what one end seals, the other opens, and nobody else.
func TestSealOpen(t *testing.T) {
	for _, p := range protections {
		initiator, responder := pair(t, p)
		rapid.Check(t, func(t *rapid.T) {
			m := drawMessage(t)
			from, to := initiator, responder
			if rapid.Bool().Draw(t, "from responder") {
				from, to = to, from
			}
			datagram, err := from.Seal(m)
			if err != nil {
				t.Fatal(err)
			}
			before := bytes.Clone(datagram)
			got, err := to.Open(datagram)
			if err != nil || !reflect.DeepEqual(got, m) {
				t.Fatalf("%+v: %+v, %v, want %+v", p, got, err, m)
			}
			if !bytes.Equal(datagram, before) {
				t.Fatal("opening changed the datagram")
			}
			if _, err := from.Open(datagram); !errors.Is(err, ErrOtherSA) {
				t.Fatalf("a reflected message: %v", err)
			}
		})
	}
}

// TestFreshIV: the same message is never sealed under the same IV.
func TestFreshIV(t *testing.T) {
	for _, p := range protections {
		initiator, _ := pair(t, p)
		seen := map[string]bool{}
		for range 20 {
			datagram := mustSeal(t, initiator, AddressNotice(7))
			seen[string(datagram[headerLen+genericLen:][:8])] = true
		}
		if len(seen) != 20 {
			t.Errorf("%+v: %d IVs in 20 messages", p, len(seen))
		}
	}
}

// TestTruncated: no prefix of a message is opened, not even with its length
// corrected, and none of a chain of payloads is read as the whole.
func TestTruncated(t *testing.T) {
	for _, p := range protections {
		initiator, responder := pair(t, p)
		datagram := mustSeal(t, initiator, AddressNotice(7))
		for n := range datagram {
			var blame *ParseError
			if _, err := responder.Open(datagram[:n]); !errors.As(err, &blame) || blame.Offset > n {
				t.Fatalf("%+v: %d octets: %v", p, n, err)
			}
			cut := bytes.Clone(datagram[:n])
			if n >= headerLen+genericLen {
				binary.BigEndian.PutUint32(cut[24:], uint32(n))
				binary.BigEndian.PutUint16(cut[30:], uint16(n-headerLen))
			}
			if _, err := responder.Open(cut); !errors.As(err, &blame) && !errors.Is(err, ErrAuth) {
				t.Fatalf("%+v: %d octets with that length: %v", p, n, err)
			}
		}
	}
	payloads := []Payload{Notify{Type: Cookie2, Data: fill(1, 8)}.Payload(), Delete{Protocol: ProtocolESP, SPIs: []uint32{1}}.Payload()}
	chain, err := appendChain(nil, payloads)
	if err != nil {
		t.Fatal(err)
	}
	for n := range chain {
		if got, err := parseChain(chain[:n], PayloadNotify); err == nil {
			t.Errorf("%d octets of %d are read as %+v", n, len(chain), got)
		}
	}
}

// TestMalformed: each fault is found, authentic or not, and where it is.
func TestMalformed(t *testing.T) {
	initiator, responder := pair(t, gcm)
	raw := func(first PayloadType, body string) []byte {
		return sealRaw(t, initiator, Header{Exchange: Informational}, first, 0, 0, unhex(t, body))
	}
	patched := func(at int, with string) []byte {
		b := mustSeal(t, initiator, AddressNotice(7))
		copy(b[at:], unhex(t, with))
		return b
	}
	sealed := func(number, total uint16) []byte {
		b := sealRaw(t, initiator, Header{}, 0, 1, 1, []byte{0})
		binary.BigEndian.PutUint16(b[headerLen+genericLen:], number)
		binary.BigEndian.PutUint16(b[headerLen+genericLen+2:], total)
		return b
	}
	for _, c := range []struct {
		name     string
		datagram []byte
		payload  PayloadType
		offset   int
	}{
		{"IKEv1", patched(17, "10"), 0, 17},
		{"length of something else", patched(24, "00000099"), 0, 24},
		{"a length of 4 GiB", patched(24, "ffffffff"), 0, 24},
		{"not protected", patched(16, "29"), PayloadNotify, 16},
		{"no payload", patched(16, "00"), 0, 16},
		{"SK longer than the message", patched(30, "ffff"), PayloadEncrypted, headerLen},
		{"SK shorter than its header", patched(30, "0003"), PayloadEncrypted, headerLen},
		{"something after SK", patched(30, "0024"), PayloadEncrypted, headerLen + 36},
		{"fragment 0", sealed(0, 1), PayloadFragment, headerLen + genericLen},
		{"fragment 2 of 1", sealed(2, 1), PayloadFragment, headerLen + genericLen},
		{"padding of more than there is", raw(PayloadNotify, "00000004 05"), PayloadEncrypted, headerLen + genericLen + 8},
		{"no payload where one is announced", raw(PayloadNotify, "00"), PayloadNotify, 0},
		{"payloads where none is announced", raw(0, "00000004 00"), 0, 0},
		{"something after the last payload", raw(PayloadNotify, "00000004 01 00"), 0, 4},
		{"a payload without an end", raw(PayloadNotify, "29000005 00"), PayloadNotify, 0},
		{"a payload of no length", raw(PayloadNotify, "29000000 00"), PayloadNotify, 0},
		{"SK in SK", raw(PayloadEncrypted, "00000004 00"), PayloadEncrypted, 0},
		{"SKF in SK, second", raw(PayloadNotify, "35000004 00000004 00"), PayloadFragment, 4},
	} {
		m, err := responder.Open(c.datagram)
		var blame *ParseError
		if !errors.As(err, &blame) || blame.Payload != c.payload || blame.Offset != c.offset {
			t.Errorf("%s: %+v, %v, want payload %v at octet %d", c.name, m, err, c.payload, c.offset)
		}
	}
}

// TestCritical: RFC 7296 section 2.5.
func TestCritical(t *testing.T) {
	initiator, responder := pair(t, gcm)
	open := func(first PayloadType, body string) error {
		_, err := responder.Open(sealRaw(t, initiator, Header{}, first, 0, 0, unhex(t, body)))
		return err
	}
	var critical *CriticalError
	if err := open(200, "00800004 00"); !errors.As(err, &critical) || critical.Payload != 200 {
		t.Errorf("unknown and critical: %v", err)
	}
	if err := open(200, "00000004 00"); err != nil {
		t.Errorf("unknown, not critical: %v", err)
	}
	if err := open(PayloadDelete, "00800004 00"); err != nil {
		t.Errorf("known and critical: %v", err)
	}
}

// TestOtherSA: messages of other SAs are told apart from forged ones.
func TestOtherSA(t *testing.T) {
	initiator, responder := pair(t, gcm)
	datagram := mustSeal(t, initiator, AddressNotice(7))
	for _, other := range []SA{
		{SPIi: responder.SPIi + 1, SPIr: responder.SPIr},
		{SPIi: responder.SPIi, SPIr: responder.SPIr + 1},
		{SPIi: responder.SPIi, SPIr: responder.SPIr, Initiator: true},
	} {
		other.Protection, other.Keys = responder.Protection, responder.Keys
		if _, err := other.Open(datagram); !errors.Is(err, ErrOtherSA) {
			t.Errorf("%+v: %v", other, err)
		}
	}
	stranger := *responder
	stranger.Keys.Ei = secret.New(fill(77, 20))
	if _, err := stranger.Open(datagram); !errors.Is(err, ErrAuth) {
		t.Errorf("with another key: %v", err)
	}
	stranger.Keys.Ei = secret.New(fill(77, 16))
	if _, err := stranger.Open(datagram); !errors.Is(err, ErrInput) {
		t.Errorf("with a short key: %v", err)
	}
}

// TestUnusable: transforms that a CHILD SA may have and IKE messages may not, here.
func TestUnusable(t *testing.T) {
	for _, p := range []Protection{
		{Encryption: ipsecctx.EncrNullAuthAESGMAC, Bits: 128},
		{Encryption: ipsecctx.EncrAESGCM16IIV, Bits: 128},
		{Encryption: ipsecctx.EncrAESCTR, Bits: 128, Integrity: ipsecctx.AuthHMACSHA1_96},
		{Encryption: ipsecctx.EncrNull, Integrity: ipsecctx.AuthHMACSHA1_96},
		{Encryption: ipsecctx.EncrAESCBC, Bits: 128, Integrity: ipsecctx.AuthAES128GMAC},
	} {
		sa, _ := pair(t, p)
		if _, err := sa.Seal(AddressNotice(1)); !errors.Is(err, ErrTransform) {
			t.Errorf("%+v seals: %v", p, err)
		}
		if _, err := sa.Open(make([]byte, 100)); !errors.Is(err, ErrTransform) {
			t.Errorf("%+v opens: %v", p, err)
		}
	}
}

// TestFragments: a message is whole when all its fragments are there, in any order.
func TestFragments(t *testing.T) {
	initiator, responder := pair(t, gcm)
	h := Header{Exchange: IKEAuth, ID: 1}
	chain, err := appendChain(nil, AddressNotice(1).Payloads)
	if err != nil {
		t.Fatal(err)
	}
	fragment := func(h Header, number, total uint16, part []byte) []byte {
		first := PayloadType(0)
		if number == 1 {
			first = PayloadNotify
		}
		return sealRaw(t, initiator, h, first, number, total, append(bytes.Clone(part), 0))
	}
	one, two, three := fragment(h, 1, 3, chain[:3]), fragment(h, 2, 3, chain[3:5]), fragment(h, 3, 3, chain[5:])
	for _, list := range [][][]byte{{one, two, three}, {three, one, two}, {one, three, one, two, two}} {
		m, err := responder.Open(list...)
		if err != nil || m.Exchange != IKEAuth || m.ID != 1 || !reflect.DeepEqual(m.Payloads, AddressNotice(1).Payloads) {
			t.Errorf("%+v, %v", m, err)
		}
	}
	for _, list := range [][][]byte{{}, {one}, {one, two}, {one, three}, {two, two, two}} {
		if m, err := responder.Open(list...); !errors.Is(err, ErrIncomplete) {
			t.Errorf("%d fragments: %+v, %v", len(list), m, err)
		}
	}
	var blame *ParseError
	for name, list := range map[string][][]byte{
		"another message":       {one, two, fragment(Header{Exchange: IKEAuth, ID: 2}, 3, 3, chain[5:])},
		"another fragmentation": {one, two, fragment(h, 3, 4, chain[5:])},
		"number above total":    {fragment(h, 4, 3, chain)},
		"a message beside it":   {one, mustSeal(t, initiator, AddressNotice(1))},
		"nothing in them":       {one[:headerLen+genericLen+2]},
	} {
		if m, err := responder.Open(list...); !errors.As(err, &blame) {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
	two[len(two)-1] ^= 1
	if _, err := responder.Open(one, two, three); !errors.Is(err, ErrAuth) {
		t.Errorf("a forged fragment: %v", err)
	}
}

// TestTooLarge: what no datagram or payload can hold is refused.
func TestTooLarge(t *testing.T) {
	initiator, responder := pair(t, gcm)
	payload := func(n int) *Message {
		return &Message{Exchange: Informational, Payloads: []Payload{{Type: 43, Body: make([]byte, n)}}}
	}
	const fits = maxMessage - headerLen - genericLen - 8 - genericLen - 1 - 16
	if m, err := responder.Open(mustSeal(t, initiator, payload(fits))); err != nil || len(m.Payloads[0].Body) != fits {
		t.Errorf("the largest message: %v", err)
	}
	for _, n := range []int{fits + 1, 0xffff} {
		if _, err := initiator.Seal(payload(n)); err == nil {
			t.Errorf("a payload of %d octets was sealed", n)
		}
	}
}
