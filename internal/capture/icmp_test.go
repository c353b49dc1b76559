package capture

import (
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/cxtp/cxtp/internal/capture/capturetest"
	"github.com/cxtp/cxtp/testvectors"
)

// icmpVector is an IP packet and what is to be read of it.
type icmpVector struct {
	testvectors.Vector
	octets []byte
}

func icmpVectors(t testing.TB) []icmpVector {
	t.Helper()
	vectors, err := testvectors.Load("icmp")
	if err != nil {
		t.Fatal(err)
	}
	var all []icmpVector
	for _, v := range vectors {
		octets, err := v.Octets()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, icmpVector{v, octets})
	}
	return all
}

// TestICMP reads the packets of the vectors, on a link of their own and on an
// Ethernet: those that are right, and of the others what they are.
func TestICMP(t *testing.T) {
	for _, v := range icmpVectors(t) {
		want := Summary{Packets: 1, BadICMP: 1}
		switch {
		case v.Valid:
			want = Summary{Packets: 1, NodeMessages: 1}
		case v.Error.Field == "Type", v.Error.Field == "Sub-type":
			want = Summary{Packets: 1, Foreign: 1}
		}
		ether := &layers.Ethernet{SrcMAC: make([]byte, 6), DstMAC: make([]byte, 6), EthernetType: layers.EthernetTypeIPv4}
		if v.octets[0]>>4 == 6 {
			ether.EthernetType = layers.EthernetTypeIPv6
		}
		for link, frame := range map[layers.LinkType][]byte{
			layers.LinkTypeRaw:      v.octets,
			layers.LinkTypeEthernet: capturetest.Serialize(t, ether, gopacket.Payload(v.octets)),
		} {
			c := collect(t, capturetest.PcapOf(t, link, frame), nil, nodePort)
			if c.err != nil || !reflect.DeepEqual(*c.summary, want) {
				t.Fatalf("%s, %s: %v, want %q", v.Name, link, c, want.Sentences())
			}
			if v.Valid {
				message, err := testvectors.Octets(v.Fields["Message"])
				if err != nil {
					t.Fatal(err)
				}
				end := func(field string) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(v.Fields[field]), 0) }
				c.expect(t, Node, sent{end("Source Address"), end("Destination Address"), message})
			}
		}
	}
}

// TestICMPCut cuts a packet everywhere, as a short snap length does.
func TestICMPCut(t *testing.T) {
	for _, v := range icmpVectors(t) {
		for n := 1; v.Valid && n < len(v.octets); n++ {
			c := collect(t, cutPcap(t, layers.LinkTypeRaw, v.octets, n), nil, nodePort)
			if want := (Summary{Packets: 1, Cut: 1}); c.err != nil || !reflect.DeepEqual(*c.summary, want) {
				t.Errorf("%s, cut after %d octets: %v", v.Name, n, c)
			}
		}
	}
}

func TestICMPSentence(t *testing.T) {
	s := Summary{Packets: 3, BadICMP: 2}
	if text := strings.Join(s.Sentences(), "\n"); !strings.Contains(text, "with a hop limit below 255: 2") {
		t.Error(text)
	}
}
