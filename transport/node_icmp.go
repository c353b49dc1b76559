package transport

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/net/bpf"
	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/cxtp/cxtp/transport/icmp"
)

// rawSocket is a socket for the ICMP of one family.
type rawSocket interface {
	// read reads a packet into buf. One that does not fit is cut off.
	read(buf []byte) (icmp.Packet, error)
	// write sends a packet, from an address of the system's choice unless from is
	// valid.
	write(from, to netip.Addr, octets []byte) error
	Close() error
}

// Families of raw sockets.
const (
	family4 = "IPv4"
	family6 = "IPv6"
)

func familyOf(a netip.Addr) string {
	if a.Is4() {
		return family4
	}
	return family6
}

// listenRaw opens raw sockets for the families that the host has.
func listenRaw() (map[string]rawSocket, error) {
	sockets := map[string]rawSocket{}
	var missing error
	for family, listen := range map[string]func() (rawSocket, error){family4: listenRaw4, family6: listenRaw6} {
		s, err := listen()
		if errors.Is(err, syscall.EAFNOSUPPORT) {
			missing = err
			continue
		}
		if err != nil {
			for _, s := range sockets {
				s.Close()
			}
			return nil, explainRaw(err)
		}
		sockets[family] = s
	}
	if len(sockets) == 0 {
		return nil, missing
	}
	return sockets, nil
}

// explainRaw says what to do where raw sockets are not allowed.
func explainRaw(err error) error {
	if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return fmt.Errorf("only root and programs with CAP_NET_RAW may speak ICMP: give this one that capability "+
		"(AmbientCapabilities=CAP_NET_RAW in a systemd unit, or setcap cap_net_raw+ep FILE), or use UDP alone: %w", err)
}

// readPackets hands on the messages in ICMP packets, until the socket is closed.
func (n *NodeConn) readPackets(s rawSocket) {
	const limit = icmp.HeaderSize + MaxNodeMessage
	buf := make([]byte, limit+1)
	untilClosed(func() error {
		p, err := s.read(buf)
		if err != nil {
			return err
		}
		message, err := p.Message()
		switch {
		case errors.Is(err, icmp.ErrForeign):
		case err != nil, len(p.Octets) > limit, p.To.IsMulticast(), !p.From.IsValid():
			n.discarded.Add(1)
		default:
			n.handler(NodeMessage{netip.AddrPortFrom(p.From, 0), p.To, append([]byte(nil), message...)})
		}
		return nil
	})
}

// sendPacket sends a message by ICMP.
func (n *NodeConn) sendPacket(from, to netip.Addr, msg []byte) error {
	s := n.raw[familyOf(to)]
	switch {
	case len(n.raw) == 0:
		return errors.New("it is reached by ICMP, which is not switched on here")
	case s == nil:
		return fmt.Errorf("it is reached by ICMP, and this host has no %s", familyOf(to))
	}
	return s.write(from, to, icmp.Append(nil, from, to, msg))
}

// raw4 is a raw socket for ICMP.
type raw4 struct{ *ipv4.PacketConn }

func listenRaw4() (rawSocket, error) {
	conn, err := net.ListenPacket(fmt.Sprintf("ip4:%d", icmp.ProtocolIPv4), "0.0.0.0")
	if err != nil {
		return nil, err
	}
	s := raw4{ipv4.NewPacketConn(conn)}
	if err := errors.Join(s.SetTTL(icmp.HopLimit), s.SetControlMessage(ipv4.FlagTTL|ipv4.FlagDst, true)); err != nil {
		return nil, errors.Join(fmt.Errorf("failed to set up a socket for ICMP: %w", err), s.Close())
	}
	// Linux's filter of types for ICMP knows those below 32 only. Where there is
	// none at all, everything is read and what is foreign thrown away.
	_ = attach(s, filter4)
	return s, nil
}

func (s raw4) read(buf []byte) (icmp.Packet, error) {
	n, cm, from, err := s.ReadFrom(buf)
	if err != nil || cm == nil {
		return icmp.Packet{}, err
	}
	return icmp.Packet{From: remoteOf(from), To: addrOf(cm.Dst), HopLimit: uint8(cm.TTL), Octets: buf[:n]}, nil
}

func (s raw4) write(from, to netip.Addr, octets []byte) error {
	cm := &ipv4.ControlMessage{Src: from.AsSlice()}
	_, err := s.WriteTo(octets, cm, &net.IPAddr{IP: to.AsSlice()})
	return err
}

// raw6 is a raw socket for ICMPv6, whose checksums are the kernel's work (RFC 3542
// section 3.1).
type raw6 struct{ *ipv6.PacketConn }

func listenRaw6() (rawSocket, error) {
	conn, err := net.ListenPacket(fmt.Sprintf("ip6:%d", icmp.ProtocolIPv6), "::")
	if err != nil {
		return nil, err
	}
	s := raw6{ipv6.NewPacketConn(conn)}
	var types ipv6.ICMPFilter
	types.SetAll(true)
	types.Accept(ipv6.ICMPType(icmp.TypeIPv6))
	err = errors.Join(s.SetHopLimit(icmp.HopLimit), s.SetICMPFilter(&types),
		s.SetControlMessage(ipv6.FlagHopLimit|ipv6.FlagDst|ipv6.FlagInterface, true))
	if err != nil {
		return nil, errors.Join(fmt.Errorf("failed to set up a socket for ICMPv6: %w", err), s.Close())
	}
	_ = attach(s, filter6)
	return s, nil
}

func (s raw6) read(buf []byte) (icmp.Packet, error) {
	n, cm, from, err := s.ReadFrom(buf)
	if err != nil || cm == nil {
		return icmp.Packet{}, err
	}
	return icmp.Packet{From: remoteOf(from), To: zoned(addrOf(cm.Dst), cm.IfIndex), HopLimit: uint8(cm.HopLimit), Octets: buf[:n]}, nil
}

func (s raw6) write(from, to netip.Addr, octets []byte) error {
	cm, err := source6(from)
	if err != nil {
		return err
	}
	_, err = s.WriteTo(octets, cm, &net.IPAddr{IP: to.AsSlice(), Zone: to.Zone()})
	return err
}

// source6 has a packet leave from an address of ours, by its own link if it has one.
func source6(from netip.Addr) (*ipv6.ControlMessage, error) {
	cm := &ipv6.ControlMessage{Src: from.AsSlice()}
	if zone := from.Zone(); zone != "" {
		link, err := net.InterfaceByName(zone)
		if err != nil {
			return nil, err
		}
		cm.IfIndex = link.Index
	}
	return cm, nil
}

// zoned gives an address that is one of its link alone the link's name.
func zoned(a netip.Addr, link int) netip.Addr {
	if a.Is6() && a.IsLinkLocalUnicast() {
		if found, err := net.InterfaceByIndex(link); err == nil {
			return a.WithZone(found.Name)
		}
	}
	return a
}

func addrOf(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}

func remoteOf(a net.Addr) netip.Addr {
	ip, ok := a.(*net.IPAddr)
	if !ok {
		return netip.Addr{}
	}
	return addrOf(ip.IP).WithZone(ip.Zone)
}

// Filters that run in the kernel, so that what nobody asked for is not even read,
// and nobody who is not on the link can fill the socket's buffer. They begin at
// the IP header in IPv4, and at the ICMP header in IPv6.
var (
	filter4 = filter(hopLimitAt(8), []bpf.Instruction{bpf.LoadMemShift{Off: 0}}, icmp.TypeIPv4)
	filter6 = filter(hopLimitAt(networkHeader+7), []bpf.Instruction{bpf.LoadConstant{Dst: bpf.RegX}}, icmp.TypeIPv6)
)

// networkHeader is where Linux's filters see the IP header, wherever they begin
// (SKF_NET_OFF).
const networkHeader = 0xfff00000

func hopLimitAt(octet uint32) bpf.Instruction { return bpf.LoadAbsolute{Off: octet, Size: 1} }

// filter lets pass what is sent to this host's own link address from a neighbour,
// with the type, code and sub-type of CXTP. toICMP sets X to where the ICMP header
// is.
func filter(hopLimit bpf.Instruction, toICMP []bpf.Instruction, kind uint32) []bpf.Instruction {
	const toHost = 0 // PACKET_HOST
	checks := []struct {
		load bpf.Instruction
		want uint32
	}{
		{bpf.LoadExtension{Num: bpf.ExtType}, toHost},
		{hopLimit, icmp.HopLimit},
		{bpf.LoadIndirect{Off: 0, Size: 1}, kind},
		{bpf.LoadIndirect{Off: 1, Size: 1}, icmp.Code},
		{bpf.LoadIndirect{Off: 4, Size: 1}, icmp.Subtype},
	}
	program := toICMP
	for i, c := range checks {
		behind := 2*(len(checks)-1-i) + 1 // the instructions until the one that drops
		program = append(program, c.load, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: c.want, SkipTrue: uint8(behind)})
	}
	return append(program, bpf.RetConstant{Val: 1 << 16}, bpf.RetConstant{Val: 0})
}

func attach(s interface {
	SetBPF([]bpf.RawInstruction) error
}, filter []bpf.Instruction) error {
	program, err := bpf.Assemble(filter)
	if err != nil {
		return err
	}
	return s.SetBPF(program)
}
