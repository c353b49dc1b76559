package route

import (
	"bytes"
	"net"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

var from = net.HardwareAddr{2, 0, 0, 0, 0, 7}

// decoded reads a frame back, and insists on each layer.
func decoded(t *testing.T, a netip.Addr) gopacket.Packet {
	t.Helper()
	frame, err := announcement(from, a)
	if err != nil {
		t.Fatal(err)
	}
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.DecodeOptions{})
	if failed := p.ErrorLayer(); failed != nil {
		t.Fatal(failed.Error())
	}
	if e := p.LinkLayer().(*layers.Ethernet); !bytes.Equal(e.SrcMAC, from) || e.DstMAC[0]&1 == 0 {
		t.Errorf("from %s to %s: not from us to a group", e.SrcMAC, e.DstMAC)
	}
	return p
}

func TestAnnounceIPv4(t *testing.T) {
	a := netip.MustParseAddr("192.0.2.7")
	arp, ok := decoded(t, a).Layer(layers.LayerTypeARP).(*layers.ARP)
	if !ok {
		t.Fatal("no ARP")
	}
	if !bytes.Equal(arp.SourceProtAddress, a.AsSlice()) || !bytes.Equal(arp.DstProtAddress, a.AsSlice()) {
		t.Errorf("from %v for %v: both have to be %s", arp.SourceProtAddress, arp.DstProtAddress, a)
	}
	if !bytes.Equal(arp.SourceHwAddress, from) || arp.Operation != layers.ARPRequest {
		t.Errorf("operation %d from %x", arp.Operation, arp.SourceHwAddress)
	}
}

func TestAnnounceIPv6(t *testing.T) {
	a := netip.MustParseAddr("2001:db8::7")
	p := decoded(t, a)
	na, ok := p.Layer(layers.LayerTypeICMPv6NeighborAdvertisement).(*layers.ICMPv6NeighborAdvertisement)
	if !ok {
		t.Fatal("no neighbour advertisement")
	}
	if !na.TargetAddress.Equal(a.AsSlice()) || !na.Override() || na.Solicited() {
		t.Errorf("%+v: neighbours would not take %s for here", na, a)
	}
	ip := p.NetworkLayer().(*layers.IPv6)
	if ip.HopLimit != 255 { // RFC 4861 section 7.1.2: dropped otherwise
		t.Errorf("hop limit %d", ip.HopLimit)
	}
	if want := checksum(ip, p.Layer(layers.LayerTypeICMPv6).(*layers.ICMPv6)); want != 0 {
		t.Errorf("the checksum is off by %#04x", want)
	}
}

// checksum is what is left of the ICMPv6 checksum (RFC 4443 section 2.3): 0 when
// it is right.
func checksum(ip *layers.IPv6, icmp *layers.ICMPv6) uint16 {
	b := append(append(bytes.Clone(ip.SrcIP), ip.DstIP...), 0, 0, byte(ip.Length>>8), byte(ip.Length), 0, 0, 0, 58)
	b = append(append(b, icmp.Contents...), icmp.Payload...)
	var sum uint32
	for i := 0; i+1 < len(b); i += 2 {
		sum += uint32(b[i])<<8 | uint32(b[i+1])
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}
