// Package capturetest makes packet captures for tests: of real endpoints, whose
// datagrams it passes on and keeps, and of whatever a test puts in.
//
// Nothing in them depends on the time: the packets are a millisecond apart, from
// [Start] on.
package capturetest

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
)

// Start is the time of the first packet.
var Start = time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)

// Datagram is a UDP datagram that was seen.
type Datagram struct {
	From, To netip.AddrPort
	Octets   []byte
}

// Tape keeps datagrams in the order in which they were seen. It may be used by
// several goroutines.
type Tape struct {
	mu   sync.Mutex
	seen []Datagram
}

// Add puts a datagram on the tape.
func (t *Tape) Add(from, to netip.AddrPort, octets []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen = append(t.seen, Datagram{from, to, slices.Clone(octets)})
}

// Datagrams are those on the tape.
func (t *Tape) Datagrams() []Datagram {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.seen)
}

// Pcap is a capture of what is on the tape.
func (t *Tape) Pcap(tb testing.TB) []byte {
	tb.Helper()
	return Pcap(tb, t.Datagrams())
}

// Tap listens at an address of its own, which it returns, and passes on what
// comes there to the target, and the answers back to whoever was last heard. It
// puts all of it on the tape, as between that party and itself, and ends with
// the test.
func (t *Tape) Tap(tb testing.TB, target netip.AddrPort) netip.AddrPort {
	tb.Helper()
	front, back := listen(tb, target), listen(tb, target)
	face := addrOf(front)
	var client netip.AddrPort
	var mu sync.Mutex
	var tasks sync.WaitGroup
	tasks.Go(func() {
		read(front, func(from netip.AddrPort, octets []byte) {
			mu.Lock()
			client = from
			mu.Unlock()
			t.Add(from, face, octets)
			_, _ = back.WriteToUDPAddrPort(octets, target)
		})
	})
	tasks.Go(func() {
		read(back, func(_ netip.AddrPort, octets []byte) {
			mu.Lock()
			to := client
			mu.Unlock()
			t.Add(face, to, octets)
			_, _ = front.WriteToUDPAddrPort(octets, to)
		})
	})
	tb.Cleanup(func() {
		front.Close()
		back.Close()
		tasks.Wait()
	})
	return face
}

// listen opens a socket at the address of the target.
func listen(tb testing.TB, target netip.AddrPort) *net.UDPConn {
	tb.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(target.Addr(), 0)))
	if err != nil {
		tb.Fatal(err)
	}
	return conn
}

func addrOf(conn *net.UDPConn) netip.AddrPort {
	a := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}

func read(conn *net.UDPConn, handle func(from netip.AddrPort, octets []byte)) {
	buf := make([]byte, 1<<16)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err == nil:
			handle(netip.AddrPortFrom(from.Addr().Unmap(), from.Port()), buf[:n])
		}
	}
}

// Pcap is a capture of datagrams on an Ethernet.
func Pcap(tb testing.TB, datagrams []Datagram) []byte {
	tb.Helper()
	frames := make([][]byte, len(datagrams))
	for i, d := range datagrams {
		frames[i] = Frame(tb, d)
	}
	return PcapOf(tb, layers.LinkTypeEthernet, frames...)
}

// PcapOf is a capture of frames on some kind of link.
func PcapOf(tb testing.TB, link layers.LinkType, frames ...[]byte) []byte {
	tb.Helper()
	var file bytes.Buffer
	w := pcapgo.NewWriter(&file)
	if err := w.WriteFileHeader(1<<16, link); err != nil {
		tb.Fatal(err)
	}
	for i, frame := range frames {
		if err := w.WritePacket(Info(i, frame), frame); err != nil {
			tb.Fatal(err)
		}
	}
	return file.Bytes()
}

// Info is what a capture says of its packet i, counted from 0.
func Info(i int, frame []byte) gopacket.CaptureInfo {
	return gopacket.CaptureInfo{
		Timestamp:     Start.Add(time.Duration(i) * time.Millisecond),
		CaptureLength: len(frame),
		Length:        len(frame),
	}
}

// Frame is a datagram in an Ethernet frame.
func Frame(tb testing.TB, d Datagram) []byte {
	tb.Helper()
	ether := &layers.Ethernet{
		SrcMAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, DstMAC: net.HardwareAddr{2, 0, 0, 0, 0, 2},
		EthernetType: layers.EthernetTypeIPv4,
	}
	if d.From.Addr().Is6() {
		ether.EthernetType = layers.EthernetTypeIPv6
	}
	return Serialize(tb, append([]gopacket.SerializableLayer{ether}, Packet(d)...)...)
}

// Packet is the layers of a datagram from IP on.
func Packet(d Datagram) []gopacket.SerializableLayer {
	udp := &layers.UDP{SrcPort: layers.UDPPort(d.From.Port()), DstPort: layers.UDPPort(d.To.Port())}
	ip := header(d, layers.IPProtocolUDP)
	_ = udp.SetNetworkLayerForChecksum(ip)
	return []gopacket.SerializableLayer{ip, udp, gopacket.Payload(d.Octets)}
}

// SCTP is the layers, from IP on, of an SCTP packet straight over IP with a
// verification tag. The datagram's octets are its chunks.
func SCTP(d Datagram, tag uint32) []gopacket.SerializableLayer {
	sctp := &layers.SCTP{SrcPort: layers.SCTPPort(d.From.Port()), DstPort: layers.SCTPPort(d.To.Port()), VerificationTag: tag}
	return []gopacket.SerializableLayer{header(d, layers.IPProtocolSCTP), sctp, gopacket.Payload(d.Octets)}
}

// ipHeader is one of IPv4 or IPv6.
type ipHeader interface {
	gopacket.NetworkLayer
	gopacket.SerializableLayer
}

// header is the IP header of what a datagram's addresses say.
func header(d Datagram, protocol layers.IPProtocol) ipHeader {
	from, to := d.From.Addr().AsSlice(), d.To.Addr().AsSlice()
	if d.From.Addr().Is6() {
		return &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: protocol, SrcIP: from, DstIP: to}
	}
	return &layers.IPv4{Version: 4, TTL: 64, Protocol: protocol, SrcIP: from, DstIP: to}
}

// Serialize writes layers, the outermost first, with their lengths and
// checksums.
func Serialize(tb testing.TB, stack ...gopacket.SerializableLayer) []byte {
	tb.Helper()
	buffer := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, stack...); err != nil {
		tb.Fatal(err)
	}
	return buffer.Bytes()
}
