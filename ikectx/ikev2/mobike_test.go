package ikev2

import (
	"bytes"
	"errors"
	"net/netip"
	"reflect"
	"testing"
)

// TestAddressNotice: charon's gateway announces an address that came and went, and
// our notices are the same octets before encryption.
func TestAddressNotice(t *testing.T) {
	seen := 0
	play(t, "testdata/recorded/gcm16.txt", func(p *player, sa *SA, datagram []byte, m *Message) {
		if m.Exchange != Informational || m.Response {
			return
		}
		notifies, err := m.Notifies()
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range notifies {
			switch n.Type {
			case AdditionalIP4Address:
				if want := AddressNotice(m.ID, netip.MustParseAddr("192.0.2.12")); !reflect.DeepEqual(m, want) {
					t.Errorf("charon sends %+v, we %+v", m, want)
				}
				seen++
			case NoAdditionalAddresses:
				if want := AddressNotice(m.ID); !reflect.DeepEqual(m, want) {
					t.Errorf("charon sends %+v, we %+v", m, want)
				}
				seen++
			}
		}
	})
	if seen != 2 {
		t.Errorf("%d notices in the recording, want 2", seen)
	}

	m := AddressNotice(9, netip.MustParseAddr("::ffff:192.0.2.1"), netip.MustParseAddr("2001:db8::1"))
	want := []Payload{
		{PayloadNotify, unhex(t, "0000 400d c0000201")},
		{PayloadNotify, unhex(t, "0000 400e 20010db8000000000000000000000001")},
	}
	if m.ID != 9 || m.Response || !reflect.DeepEqual(m.Payloads, want) {
		t.Errorf("%+v, want %+v", m, want)
	}
}

// TestAddressUpdate: charon's client changes its address, with the same payloads
// as ours, and its gateway's answer passes only where it answers.
func TestAddressUpdate(t *testing.T) {
	local, remote := netip.MustParseAddrPort("192.0.2.11:4500"), netip.MustParseAddrPort("192.0.2.2:4500")
	var request *Message
	checked := false
	play(t, "testdata/recorded/mobike.txt", func(p *player, sa *SA, _ []byte, m *Message) {
		if m.Exchange != Informational || m.ID != 3 {
			return
		}
		if !m.Response {
			request = m
			ours := sa.AddressUpdate(3, local, remote)
			// Charon's hash of its source is a false one: kernel-libipsec needs UDP
			// encapsulation, so there has to be a NAT.
			for _, i := range []int{0, 2} {
				if !reflect.DeepEqual(ours.Payloads[i], m.Payloads[i]) {
					t.Errorf("payload %d is %+v, charon's is %+v", i, ours.Payloads[i], m.Payloads[i])
				}
			}
			swapped := sa.AddressUpdate(3, remote, local).Payloads
			if source := ours.Payloads[1].Body; !bytes.Equal(source[4:], swapped[2].Body[4:]) || NotifyType(source[3]) != NATDetectionSourceIP&0xff {
				t.Errorf("our source is %x", source)
			}
			if again := sa.AddressUpdate(3, local, remote); reflect.DeepEqual(ours, again) {
				t.Error("the same COOKIE2 twice")
			}
			if err := ours.Check(&Message{Exchange: Informational, Response: true, ID: 3}); !errors.Is(err, ErrCookie) {
				t.Errorf("our COOKIE2 is not wanted back: %v", err)
			}
			return
		}
		checked = true
		if err := request.Check(m); err != nil {
			t.Errorf("charon's answer: %v", err)
		}
	})
	if !checked {
		t.Error("no answer in the recording")
	}
}

// TestCheck: what is no success is told apart.
func TestCheck(t *testing.T) {
	cookie := Notify{Type: Cookie2, Data: fill(1, 8)}
	request := &Message{Exchange: Informational, ID: 7, Payloads: []Payload{cookie.Payload()}}
	answer := func(change func(*Message), notifies ...Notify) error {
		m := &Message{Exchange: Informational, Response: true, ID: 7}
		for _, n := range notifies {
			m.Payloads = append(m.Payloads, n.Payload())
		}
		if change != nil {
			change(m)
		}
		return request.Check(m)
	}
	if err := answer(nil, Notify{Type: NATDetectionSourceIP}, cookie); err != nil {
		t.Error(err)
	}
	var refused *RefusedError
	if err := answer(nil, cookie, Notify{Type: UnacceptableAddresses}); !errors.As(err, &refused) || refused.Type != UnacceptableAddresses {
		t.Errorf("an error notify: %v", err)
	}
	var blame *ParseError
	if err := answer(func(m *Message) { m.Payloads = []Payload{{PayloadNotify, []byte{0, 9, 0, 1}}} }); !errors.As(err, &blame) {
		t.Errorf("a malformed notify: %v", err)
	}
	for name, err := range map[string]error{
		"COOKIE2 is missing": answer(nil),
		"another COOKIE2":    answer(nil, Notify{Type: Cookie2, Data: fill(2, 8)}),
	} {
		if !errors.Is(err, ErrCookie) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, change := range map[string]func(*Message){
		"another ID":       func(m *Message) { m.ID++ },
		"another exchange": func(m *Message) { m.Exchange = CreateChildSA },
		"a request":        func(m *Message) { m.Response = false },
	} {
		if err := answer(change, cookie); !errors.Is(err, ErrOtherExchange) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestMessageIDSync(t *testing.T) {
	s := MessageIDSync{Nonce: [4]byte{1, 2, 3, 4}, NextRequest: 5, NextExpected: 0x01020306}
	n := s.Notify()
	if got := n.Payload().Body; !bytes.Equal(got, unhex(t, "0000 4026 01020304 00000005 01020306")) {
		t.Errorf("written as %x", got)
	}
	if got, err := ParseMessageIDSync(n.Data); err != nil || got != s {
		t.Errorf("read as %+v, %v", got, err)
	}
	for _, n := range [][]byte{nil, n.Data[:11], append(n.Data, 0)} {
		var blame *ParseError
		if _, err := ParseMessageIDSync(n); !errors.As(err, &blame) {
			t.Errorf("%d octets: %v", len(n), err)
		}
	}
}

func TestNotifyAndDelete(t *testing.T) {
	for _, n := range []Notify{
		{Type: NoAdditionalAddresses},
		{Type: 44, Protocol: ProtocolESP, SPI: fill(1, 4), Data: fill(9, 3)},
	} {
		body := n.Payload().Body
		if got, err := ParseNotify(body); err != nil || !reflect.DeepEqual(got, n) {
			t.Errorf("%+v, %v, want %+v", got, err, n)
		}
		for size := range 4 + len(n.SPI) {
			if got, err := ParseNotify(body[:size]); err == nil {
				t.Errorf("%d octets of %d are read as %+v", size, len(body), got)
			}
		}
	}
	for _, d := range []Delete{{Protocol: ProtocolIKE}, {Protocol: ProtocolESP, SPIs: []uint32{1, 0xc0000002}}, {Protocol: ProtocolAH}} {
		body := d.Payload().Body
		if got, err := ParseDelete(body); err != nil || !reflect.DeepEqual(got, d) {
			t.Errorf("%+v, %v, want %+v", got, err, d)
		}
		for size := range body {
			if got, err := ParseDelete(body[:size]); err == nil {
				t.Errorf("%d octets of %d are read as %+v", size, len(body), got)
			}
		}
	}
	for _, body := range []string{"01000001", "01040000", "03080000", "03000000", "04040000", "0304000100000001ff"} {
		var blame *ParseError
		if got, err := ParseDelete(unhex(t, body)); !errors.As(err, &blame) {
			t.Errorf("%s is read as %+v, %v", body, got, err)
		}
	}
}

// TestNames: logs name what is known and number what is not.
func TestNames(t *testing.T) {
	for _, c := range []struct{ got, want string }{
		{PayloadFragment.String(), "SKF"},
		{PayloadType(200).String(), "200"},
		{(&RefusedError{UnacceptableAddresses}).Error(), "the peer answered UNACCEPTABLE_ADDRESSES"},
		{(&RefusedError{44}).Error(), "the peer answered notify 44"},
		{(&CriticalError{200}).Error(), "IKE payload of type 200 is critical and not known"},
		{(&ParseError{PayloadDelete, 3, "why"}).Error(), "IKE payload D at octet 3: why"},
		{(&ParseError{0, 3, "why"}).Error(), "IKE message at octet 3: why"},
	} {
		if c.got != c.want {
			t.Errorf("%q, want %q", c.got, c.want)
		}
	}
}
