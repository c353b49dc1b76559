package icmp

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"pgregory.net/rapid"

	"github.com/cxtp/cxtp/testvectors"
)

// vector is a packet of testvectors/icmp, with its IP header.
type vector struct {
	testvectors.Vector
	octets []byte
}

func vectors(t testing.TB) []vector {
	t.Helper()
	loaded, err := testvectors.Load("icmp")
	if err != nil {
		t.Fatal(err)
	}
	var all []vector
	for _, v := range loaded {
		octets, err := v.Octets()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, vector{v, octets})
	}
	return all
}

// unwrap takes the IP header off a packet, and tells how long it was.
func unwrap(t testing.TB, octets []byte) (Packet, int) {
	t.Helper()
	p, header, err := FromIP(octets)
	if err != nil {
		t.Fatal(err)
	}
	return p, header
}

// TestVectors reads and writes the packets that stand in testvectors/icmp.
func TestVectors(t *testing.T) {
	for _, v := range vectors(t) {
		t.Run(v.Name, func(t *testing.T) {
			octets := v.octets
			p, header := unwrap(t, octets)
			message, err := p.Message()
			if !v.Valid {
				expectError(t, err, *v.Error, header)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			got := map[string]string{
				"Source Address": p.From.String(), "Destination Address": p.To.String(), "Hop Limit": fmt.Sprint(p.HopLimit),
				"Type": fmt.Sprint(p.Octets[0]), "Code": fmt.Sprint(p.Octets[1]), "Checksum": fmt.Sprintf("0x%x", p.Octets[2:4]),
				"Sub-type": fmt.Sprint(p.Octets[4]), "Reserved": fmt.Sprint(binary.BigEndian.Uint32(p.Octets[4:]) & 0xffffff), "Message": hex.EncodeToString(message),
			}
			for name, want := range v.Fields {
				if got[name] != want {
					t.Errorf("%s is %q, want %q", name, got[name], want)
				}
			}
			want := octets
			if v.Canonical != "" {
				if want, err = testvectors.Octets(v.Canonical); err != nil {
					t.Fatal(err)
				}
			}
			if again := Append(octets[:header:header], p.From, p.To, message); !bytes.Equal(again, want) {
				t.Errorf("written again:\n%x, want\n%x", again, want)
			}
		})
	}
}

// expectError compares an error with a vector's, which counts octets from the IP
// header.
func expectError(t *testing.T, err error, want testvectors.Error, header int) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("got %v, want an error at %s", err, want.Field)
	}
	at := header + e.Offset
	if e.Offset < 0 {
		at = 8 // of TTL
		if header == headerIPv6 {
			at = 7
		}
	}
	if e.Field != want.Field || at != want.Offset {
		t.Errorf("got %v, at octet %d of the packet; want %s at octet %d", e, at, want.Field, want.Offset)
	}
	if foreign := e.Field == "Type" || e.Field == "Sub-type"; errors.Is(err, ErrForeign) != foreign {
		t.Errorf("%v is foreign: %t", err, !foreign)
	}
}

// TestTruncated cuts off every packet that can be read, everywhere: its checksum
// fits no part of it.
func TestTruncated(t *testing.T) {
	for _, v := range vectors(t) {
		whole, _ := unwrap(t, v.octets)
		for n := 0; v.Valid && n < len(whole.Octets); n++ {
			p := whole
			p.Octets = whole.Octets[:n]
			var e *Error
			if message, err := p.Message(); !errors.As(err, &e) || errors.Is(err, ErrForeign) {
				t.Errorf("%s: %d octets give %x, %v", v.Name, n, message, err)
			}
		}
	}
}

var addresses = [][2]netip.Addr{
	{netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("192.0.2.1")},
	{netip.MustParseAddr("255.255.255.254"), netip.MustParseAddr("255.255.255.253")}, // carries
	{netip.MustParseAddr("2001:db8::10"), netip.MustParseAddr("2001:db8::1")},
	{netip.MustParseAddr("fe80::ffff:ffff:ffff:ffff%outer"), netip.MustParseAddr("fe80::1")},
}

// TestRoundTrip reads what was written, and nothing in which a bit is another.
func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ends := rapid.SampledFrom(addresses).Draw(t, "ends")
		message := rapid.SliceOfN(rapid.Byte(), 1, 3000).Draw(t, "message")
		before := rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "before")
		octets := Append(bytes.Clone(before), ends[0], ends[1], message)
		if !bytes.HasPrefix(octets, before) {
			t.Fatalf("%x does not begin with %x", octets, before)
		}
		p := Packet{ends[0], ends[1], HopLimit, octets[len(before):]}
		if got, err := p.Message(); err != nil || !bytes.Equal(got, message) {
			t.Fatalf("got %x, %v", got, err)
		}
		bit := rapid.IntRange(0, 8*len(p.Octets)-1).Draw(t, "bit")
		p.Octets[bit/8] ^= 1 << (bit % 8)
		if got, err := p.Message(); err == nil {
			t.Errorf("with bit %d the other way: got %x", bit, got)
		}
	})
}

// TestKernelsChecksum leaves to the kernel what only it knows.
func TestKernelsChecksum(t *testing.T) {
	for _, ends := range addresses {
		octets := Append(nil, netip.Addr{}, ends[1], []byte{1, 2, 3})
		p := Packet{ends[0], ends[1], HopLimit, octets}
		_, err := p.Message()
		var e *Error
		if ours := ends[1].Is4(); ours != (err == nil) || !ours && (!errors.As(err, &e) || e.Field != "Checksum" || octets[2] != 0 || octets[3] != 0) {
			t.Errorf("to %s: %x, %v", ends[1], octets, err)
		}
	}
}

// FuzzMessage reads packets that claim anything. What is taken is what would have
// been sent, but for the reserved octets.
func FuzzMessage(f *testing.F) {
	for _, v := range vectors(f) {
		p, _ := unwrap(f, v.octets)
		f.Add(p.From.AsSlice(), p.To.AsSlice(), p.HopLimit, p.Octets)
	}
	f.Fuzz(func(t *testing.T, from, to []byte, hops uint8, octets []byte) {
		source, _ := netip.AddrFromSlice(from)
		destination, _ := netip.AddrFromSlice(to)
		p := Packet{source.Unmap(), destination.Unmap(), hops, octets}
		message, err := p.Message()
		if err != nil {
			var e *Error
			if !errors.As(err, &e) || e.Offset > len(octets) || message != nil {
				t.Fatalf("got %x, %v", message, err)
			}
			return
		}
		clear(octets[5:HeaderSize])
		octets[2], octets[3] = 0, 0
		again := Append(nil, p.From, p.To, message)
		again[2], again[3] = 0, 0
		if hops != HopLimit || len(message) == 0 || !bytes.Equal(again, octets) {
			t.Errorf("took %x with hop limit %d, would send %x", octets, hops, again)
		}
	})
}

// TestFromIP cuts off IP headers everywhere, and changes what is no field of a packet.
func TestFromIP(t *testing.T) {
	for _, v := range vectors(t) {
		octets := v.octets
		_, header := unwrap(t, octets)
		for n := range header {
			if _, _, err := FromIP(octets[:n:n]); err == nil || errors.Is(err, ErrForeign) {
				t.Errorf("%s: %d octets of the header: %v", v.Name, n, err)
			}
		}
		other := bytes.Clone(octets)
		other[6], other[9] = other[6]^1, other[9]^1 // of which one is the protocol
		if _, _, err := FromIP(other); !errors.Is(err, ErrForeign) {
			t.Errorf("%s: another protocol: %v", v.Name, err)
		}
		other[0] = 0x50
		if _, _, err := FromIP(other); err == nil || errors.Is(err, ErrForeign) {
			t.Errorf("%s: another version of IP: %v", v.Name, err)
		}
	}
}

// FuzzFromIP takes IP headers off whatever comes.
func FuzzFromIP(f *testing.F) {
	for _, v := range vectors(f) {
		f.Add(v.octets)
	}
	f.Fuzz(func(t *testing.T, octets []byte) {
		p, header, err := FromIP(octets)
		var e *Error
		switch {
		case err != nil && !errors.As(err, &e):
			t.Fatal(err)
		case err == nil && (header+len(p.Octets) != len(octets) || p.From.Is4() != p.To.Is4() || !p.From.IsValid()):
			t.Errorf("%d octets of %d, from %s to %s", len(p.Octets), len(octets), p.From, p.To)
		}
	})
}
