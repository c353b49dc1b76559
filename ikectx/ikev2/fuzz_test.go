package ikev2

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"testing"
)

var testAddress = netip.MustParseAddrPort("192.0.2.1:4500")

// FuzzPayloads: whatever is inside a message, reading it ends, and what was read is
// written as it was, up to reserved and critical bits.
func FuzzPayloads(f *testing.F) {
	for _, m := range []*Message{AddressNotice(1), (&SA{}).AddressUpdate(1, testAddress, testAddress)} {
		chain, err := appendChain(nil, m.Payloads)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(byte(PayloadNotify), chain)
	}
	f.Add(byte(PayloadDelete), []byte{0, 0, 0, 12, 3, 4, 0, 1, 0, 0, 0, 1})
	f.Add(byte(200), []byte{0, 0x80, 0, 4})
	f.Fuzz(func(t *testing.T, first byte, b []byte) {
		payloads, err := parseChain(b, PayloadType(first))
		if err != nil {
			return
		}
		again, err := appendChain(nil, payloads)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < len(b); at += int(binary.BigEndian.Uint16(b[at+2:])) {
			b[at+1] = 0
		}
		if !bytes.Equal(again, b) {
			t.Fatalf("%x is written as %x", b, again)
		}
		for _, p := range payloads {
			if n, err := ParseNotify(p.Body); err == nil && !bytes.Equal(n.Payload().Body, p.Body) {
				t.Fatalf("notify %x is written as %x", p.Body, n.Payload().Body)
			}
			if d, err := ParseDelete(p.Body); err == nil && !bytes.Equal(d.Payload().Body, p.Body) {
				t.Fatalf("delete %x is written as %x", p.Body, d.Payload().Body)
			}
		}
	})
}

// FuzzOpen: no datagram does harm, and only what the peer sealed is opened.
func FuzzOpen(f *testing.F) {
	initiator, responder := pair(f, gcm)
	for _, number := range []uint16{0, 1} {
		f.Add(sealRaw(f, initiator, Header{Exchange: Informational}, 0, number, number, []byte{0}))
	}
	f.Add(mustSeal(f, responder, AddressNotice(1)))
	f.Fuzz(func(t *testing.T, datagram []byte) {
		before := bytes.Clone(datagram)
		m, err := responder.Open(datagram, datagram)
		if !bytes.Equal(before, datagram) {
			t.Fatal("opening changed the datagram")
		}
		if err == nil && (m.Exchange != Informational || m.ID != 0 || len(m.Payloads) != 0) {
			t.Fatalf("opened as %+v", m)
		}
	})
}
