package route

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Announce tells everybody on a link that an address is here now: a gratuitous
// ARP request (RFC 5227 section 3), or an unsolicited neighbour advertisement that
// overrides what they knew (RFC 4861 section 7.2.6).
func Announce(on *netlink.LinkAttrs, a netip.Addr) error {
	if len(on.HardwareAddr) != 6 {
		return nil // no neighbours that could know it by another hardware address
	}
	frame, err := announcement(on.HardwareAddr, a)
	if err != nil {
		return fmt.Errorf("failed to announce %s: %w", a, err)
	}
	protocol := binary.BigEndian.Uint16(frame[12:])
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err == nil {
		defer unix.Close(fd)
		// The address has the protocol in network order.
		err = unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: on.Index, Protocol: protocol<<8 | protocol>>8})
	}
	if err != nil {
		return fmt.Errorf("failed to announce %s on %s: %w", a, on.Name, err)
	}
	return nil
}

// announcement is the frame for it.
func announcement(from net.HardwareAddr, a netip.Addr) ([]byte, error) {
	if a.Is4() {
		return serialize(
			&layers.Ethernet{SrcMAC: from, DstMAC: layers.EthernetBroadcast, EthernetType: layers.EthernetTypeARP},
			&layers.ARP{
				AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
				Operation: layers.ARPRequest, SourceHwAddress: from, SourceProtAddress: a.AsSlice(),
				DstHwAddress: make([]byte, 6), DstProtAddress: a.AsSlice(),
			})
	}
	ip := &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6,
		SrcIP: a.AsSlice(), DstIP: net.IPv6linklocalallnodes}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeNeighborAdvertisement, 0)}
	if err := icmp.SetNetworkLayerForChecksum(ip); err != nil {
		return nil, err
	}
	const router, override = 0x80, 0x20
	return serialize(
		&layers.Ethernet{SrcMAC: from, DstMAC: net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}, EthernetType: layers.EthernetTypeIPv6},
		ip, icmp,
		&layers.ICMPv6NeighborAdvertisement{Flags: router | override, TargetAddress: a.AsSlice(),
			Options: layers.ICMPv6Options{{Type: layers.ICMPv6OptTargetAddress, Data: from}}})
}

func serialize(parts ...gopacket.SerializableLayer) ([]byte, error) {
	b := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(b, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, parts...)
	return b.Bytes(), err
}
