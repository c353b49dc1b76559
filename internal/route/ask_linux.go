package route

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"
)

// answerTime is how long an answer of a neighbour is awaited.
const answerTime = 300 * time.Millisecond

// Ask lists who else on the link answers for an address. It says nothing that a
// neighbour would learn from: an ARP probe (RFC 5227 section 2.1.1), or the neighbour
// solicitation of duplicate address detection (RFC 4862 section 5.4.2).
func (a *Addresses) Ask(ctx context.Context, ip netip.Addr) ([]net.HardwareAddr, error) {
	self := a.link.Attrs().HardwareAddr
	if len(self) != 6 {
		return nil, nil // no neighbours that could have it
	}
	question, err := probe(self, ip)
	if err != nil {
		return nil, fmt.Errorf("failed to ask for %s: %w", ip, err)
	}
	fd, err := a.listen(ip)
	if err != nil {
		return nil, fmt.Errorf("failed to ask for %s: %w", ip, err)
	}
	defer unix.Close(fd)
	if _, err := unix.Write(fd, question); err != nil {
		return nil, fmt.Errorf("failed to ask for %s: %w", ip, err)
	}
	found, err := heard(ctx, fd, ip, time.Now().Add(answerTime))
	if err != nil {
		return nil, fmt.Errorf("failed to await an answer for %s: %w", ip, err)
	}
	return slices.DeleteFunc(found, func(h net.HardwareAddr) bool { return bytes.Equal(h, self) }), ctx.Err()
}

// heard lists who answers until a moment. What has come by then is read after it, too: a
// process that stood still meanwhile would take an address for nobody's.
func heard(ctx context.Context, fd int, ip netip.Addr, end time.Time) (found []net.HardwareAddr, err error) {
	frame := make([]byte, 128)
	for late := 0; ctx.Err() == nil && late < queued; {
		left, flags := time.Until(end), 0
		if left <= 0 {
			late, flags = late+1, unix.MSG_DONTWAIT
		} else if err := setWait(fd, left); err != nil {
			return nil, err
		}
		n, _, err := unix.Recvfrom(fd, frame, flags)
		switch {
		case errors.Is(err, unix.EAGAIN) && left <= 0:
			return found, nil
		case errors.Is(err, unix.EAGAIN), errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return nil, err
		}
		if who := answers(frame[:n], ip); who != nil && !slices.ContainsFunc(found, func(h net.HardwareAddr) bool { return bytes.Equal(h, who) }) {
			found = append(found, who)
		}
	}
	return found, nil
}

// queued is more frames than a socket has room for.
const queued = 1000

// setWait sets how long a socket is read.
func setWait(fd int, left time.Duration) error {
	wait := unix.NsecToTimeval(max(int64(left), int64(time.Microsecond))) // 0 would be for ever
	return unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait)
}

// listen opens a socket for the answers: ARP, or neighbour advertisements alone.
func (a *Addresses) listen(ip netip.Addr) (int, error) {
	protocol := uint16(unix.ETH_P_ARP)
	if ip.Is6() {
		protocol = unix.ETH_P_IPV6
	}
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if ip.Is6() {
		err = unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &onlyAdvertisements)
	}
	if err == nil {
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Ifindex: a.link.Attrs().Index, Protocol: htons(protocol)})
	}
	if err != nil {
		return -1, errors.Join(err, unix.Close(fd))
	}
	return fd, nil
}

// htons is what the kernel's interfaces want of protocol numbers.
func htons(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

// onlyAdvertisements lets ICMPv6 of type 136 through.
var onlyAdvertisements = func() unix.SockFprog {
	const nextHeader, icmpType = 14 + 6, 14 + 40 // octets from the frame's start
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: nextHeader},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 3, K: unix.IPPROTO_ICMPV6},
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: icmpType},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: layers.ICMPv6TypeNeighborAdvertisement},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 16},
		{Code: unix.BPF_RET | unix.BPF_K, K: 0},
	}
	return unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
}()

// probe is the frame that asks, from nobody.
func probe(from net.HardwareAddr, ip netip.Addr) ([]byte, error) {
	if ip.Is4() {
		return serialize(
			&layers.Ethernet{SrcMAC: from, DstMAC: layers.EthernetBroadcast, EthernetType: layers.EthernetTypeARP},
			&layers.ARP{
				AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4,
				Operation: layers.ARPRequest, SourceHwAddress: from, SourceProtAddress: make([]byte, 4),
				DstHwAddress: make([]byte, 6), DstProtAddress: ip.AsSlice(),
			})
	}
	octets := ip.As16()
	group := net.IP{0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, octets[13], octets[14], octets[15]} // RFC 4291 section 2.7.1
	header := &layers.IPv6{Version: 6, HopLimit: 255, NextHeader: layers.IPProtocolICMPv6, SrcIP: net.IPv6unspecified, DstIP: group}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeNeighborSolicitation, 0)}
	if err := icmp.SetNetworkLayerForChecksum(header); err != nil {
		return nil, err
	}
	return serialize(
		&layers.Ethernet{SrcMAC: from, DstMAC: net.HardwareAddr{0x33, 0x33, 0xff, octets[13], octets[14], octets[15]}, EthernetType: layers.EthernetTypeIPv6},
		header, icmp, &layers.ICMPv6NeighborSolicitation{TargetAddress: ip.AsSlice()})
}

// answers is who says in a frame that an address is theirs; nil = nobody.
func answers(frame []byte, ip netip.Addr) net.HardwareAddr {
	p := gopacket.NewPacket(frame, layers.LayerTypeEthernet, gopacket.DecodeOptions{Lazy: true})
	if arp, ok := p.Layer(layers.LayerTypeARP).(*layers.ARP); ok {
		// A request says so too, of its sender: a gratuitous one, for example.
		if bytes.Equal(arp.SourceProtAddress, ip.AsSlice()) {
			return bytes.Clone(arp.SourceHwAddress)
		}
		return nil
	}
	na, ok := p.Layer(layers.LayerTypeICMPv6NeighborAdvertisement).(*layers.ICMPv6NeighborAdvertisement)
	ethernet, framed := p.Layer(layers.LayerTypeEthernet).(*layers.Ethernet)
	if !ok || !framed || !na.TargetAddress.Equal(ip.AsSlice()) {
		return nil
	}
	for _, o := range na.Options {
		if o.Type == layers.ICMPv6OptTargetAddress && len(o.Data) >= 6 {
			return bytes.Clone(o.Data[:6])
		}
	}
	return bytes.Clone(ethernet.SrcMAC)
}
