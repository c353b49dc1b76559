package demo

import (
	"bytes"
	"net/netip"
	"testing"

	"pgregory.net/rapid"
)

// TestPacket checks that a packet is whole, with both checksums, and that its
// number comes out again wherever it lies.
func TestPacket(t *testing.T) {
	for _, ipv6 := range []bool{false, true} {
		rapid.Check(t, func(t *rapid.T) {
			p := newPlace(ipv6, 0)
			number := rapid.Uint64().Draw(t, "number")
			from := netip.AddrPortFrom(p.node.Addr(), rapid.Uint16().Draw(t, "port"))
			before := rapid.SliceOfN(rapid.Byte(), 0, 40).Draw(t, "before")
			packet := appendPacket(bytes.Clone(before), from, p.host, number)
			if got, ok := packetNumber(packet); !ok || got != number {
				t.Fatalf("number %d came out as %d, %v", number, got, ok)
			}
			packet = packet[len(before):]
			header := ipv6Header
			if !ipv6 {
				header = ipv4Header
				if s := sum(0, packet[:header]); s != 0xffff {
					t.Fatalf("header checksum: sum %#x", s)
				}
			}
			udp := packet[header:]
			if s := sum(pseudoHeader(from.Addr(), p.host.Addr(), uint16(len(udp))), udp); s != 0xffff {
				t.Fatalf("UDP checksum: sum %#x", s)
			}
			if _, ok := packetNumber(packet[:len(packet)-1]); ok {
				t.Fatal("a number was found in a packet that is cut short")
			}
		})
	}
}
