package soft

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/features"
	"github.com/cxtp/cxtp/ipsecctx"
)

var (
	testID  = cxtp.SessionID{1}
	otherID = cxtp.SessionID{2}

	host4, node4 = netip.MustParseAddr("10.1.0.9"), netip.MustParseAddr("10.9.0.5")
	host6, node6 = netip.MustParseAddr("2001:db8:1::9"), netip.MustParseAddr("2001:db8:9::5")

	// Where a session's other end is in tests without sockets.
	nodeOuter = netip.MustParseAddrPort("192.0.2.5:4500")
	hostHop   = netip.MustParseAddrPort("198.51.100.9:5555")
)

const (
	spiToNode = 0x1000 // the node chose it
	spiToGate = 0x2000 // the gateway chose it
)

// transforms are all that the gateway has, by name.
var transforms = map[string]struct {
	id, bits uint16
}{
	"AES-GCM-128": {ipsecctx.EncrAESGCM16, 128},
	"AES-GCM-256": {ipsecctx.EncrAESGCM16, 256},
	"ChaCha20":    {ipsecctx.EncrChaCha20Poly1305, 0},
	"AES-CBC-128": {ipsecctx.EncrAESCBC, 128},
	"AES-CBC-256": {ipsecctx.EncrAESCBC, 256},
}

// setKeys gives an SA the transforms by name and keys that depend on its SPI.
func setKeys(sa *ipsecctx.SA, name string) {
	tr := transforms[name]
	key := func(n int, label byte) secret.Key {
		return secret.New(bytes.Repeat([]byte{label, byte(sa.SPI >> 8), byte(sa.SPI)}, n)[:n])
	}
	bits := cmp.Or(tr.bits, 256)
	sa.Encryption = ipsecctx.Cipher{ID: tr.id, Bits: tr.bits, Key: key(int(bits)/8, 'e')}
	sa.Integrity = ipsecctx.Authenticator{}
	if tr.id == ipsecctx.EncrAESCBC {
		sa.Integrity = ipsecctx.Authenticator{ID: ipsecctx.AuthHMACSHA2_256_128, Key: key(32, 'a')}
	} else {
		sa.Encryption.Salt = key(4, 's')
	}
}

func single(addrs ...netip.Addr) (r []ipsecctx.Range) {
	for _, a := range addrs {
		r = append(r, ipsecctx.Range{From: a, To: a})
	}
	return r
}

// selector takes everything to and from the node's addresses, which are ANY
// where there are none.
func selector(remote ...netip.Addr) ipsecctx.Selector {
	return ipsecctx.Selector{Remote: single(remote...), LocalPort: ipsecctx.AnyPort, RemotePort: ipsecctx.AnyPort}
}

// gateSession is a session as the gateway sees it: a pair of SAs between any
// address behind it and the node's two inner addresses.
func gateSession(transform string) *ipsecctx.Session {
	selectors := []ipsecctx.Selector{selector(node4), selector(node6)}
	s := &ipsecctx.Session{
		Inner: []netip.Prefix{netip.PrefixFrom(node4, 32), netip.PrefixFrom(node6, 128)},
		SAs: []ipsecctx.SA{
			{Direction: ipsecctx.Outbound, SPI: spiToNode},
			{Direction: ipsecctx.Inbound, SPI: spiToGate, Window: 64},
		},
	}
	for i := range s.SAs {
		sa := &s.SAs[i]
		sa.Protocol, sa.Mode, sa.Pair, sa.Selectors = ipsecctx.ESP, ipsecctx.Tunnel, 1, selectors
		sa.Local, sa.Remote = netip.MustParseAddr("192.0.2.1"), nodeOuter.Addr()
		sa.Encap = ipsecctx.Encap{LocalPort: 4500, RemotePort: nodeOuter.Port()}
		setKeys(sa, transform)
	}
	return s
}

// mirrored is the same session as the other end sees it.
func mirrored(s *ipsecctx.Session, remote netip.AddrPort) *ipsecctx.Session {
	m := s.Clone()
	for i := range m.SAs {
		sa := &m.SAs[i]
		sa.Direction = 3 - sa.Direction
		sa.Local, sa.Remote = sa.Remote, remote.Addr()
		sa.Encap = ipsecctx.Encap{LocalPort: sa.Encap.RemotePort, RemotePort: remote.Port()}
		if sa.Window = 0; sa.Direction == ipsecctx.Inbound {
			sa.Window = 64
		}
		for j := range sa.Selectors {
			sel := &sa.Selectors[j]
			sel.Local, sel.Remote = sel.Remote, sel.Local
			sel.LocalPort, sel.RemotePort = sel.RemotePort, sel.LocalPort
		}
	}
	return m
}

// udpPacket is an inner packet with a UDP header.
func udpPacket(src, dst netip.Addr, sport, dport uint16, data []byte) []byte {
	return ipPacket(src, dst, protoUDP, slices.Concat(
		binary.BigEndian.AppendUint16(nil, sport),
		binary.BigEndian.AppendUint16(nil, dport),
		binary.BigEndian.AppendUint16(nil, uint16(8+len(data))),
		[]byte{0, 0}, data))
}

func ipPacket(src, dst netip.Addr, protocol uint8, data []byte) []byte {
	if src.Is6() {
		b := make([]byte, 40, 40+len(data))
		b[0], b[6], b[7] = 0x60, protocol, 64
		binary.BigEndian.PutUint16(b[4:], uint16(len(data)))
		copy(b[8:], src.AsSlice())
		copy(b[24:], dst.AsSlice())
		return append(b, data...)
	}
	b := make([]byte, 20, 20+len(data))
	b[0], b[8], b[9] = 0x45, 64, protocol
	binary.BigEndian.PutUint16(b[2:], uint16(20+len(data)))
	copy(b[12:], src.AsSlice())
	copy(b[16:], dst.AsSlice())
	binary.BigEndian.PutUint16(b[10:], checksum(b))
	return append(b, data...)
}

// checksum of an IPv4 header in which the field is zero, computed the long way.
func checksum(header []byte) uint16 {
	var sum uint32
	for i := 0; i < len(header); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(header[i:]))
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// hopped is the packet one hop further.
func hopped(packet []byte) []byte {
	p := slices.Clone(packet)
	if p[0]>>4 == 6 {
		p[7]--
		return p
	}
	p[8]--
	p[10], p[11] = 0, 0
	binary.BigEndian.PutUint16(p[10:], checksum(p[:20]))
	return p
}

// tape is a wire that nothing arrives on and that keeps what is sent.
type tape struct {
	mu   sync.Mutex
	sent [][]byte
	to   []netip.AddrPort
	on   func(n int) // called after each packet, with their number
}

func (w *tape) ReadFromUDPAddrPort([]byte) (int, netip.AddrPort, error) {
	return 0, netip.AddrPort{}, net.ErrClosed
}

func (w *tape) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	w.mu.Lock()
	w.sent, w.to = append(w.sent, bytes.Clone(b)), append(w.to, to)
	n := len(w.sent)
	w.mu.Unlock()
	if w.on != nil {
		w.on(n)
	}
	return len(b), nil
}

func (w *tape) Close() error { return nil }

// count is how many packets were sent since the last take.
func (w *tape) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.sent)
}

// take returns what was sent since the last call.
func (w *tape) take() [][]byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	sent := w.sent
	w.sent, w.to = nil, nil
	return sent
}

// bench is a gateway between two tapes, driven by hand.
type bench struct {
	*Gateway
	out, in *tape
}

func newBench(t testing.TB, change ...func(*Config)) *bench {
	t.Helper()
	b := &bench{out: new(tape), in: new(tape)}
	c := Config{Outside: b.out, Inside: b.in, NextHop: hostHop}
	for _, f := range change {
		f(&c)
	}
	var err error
	if b.Gateway, err = New(c); err != nil {
		t.Fatal(err)
	}
	return b
}

// fromHost gives the gateway a packet as if from the inside wire.
func (b *bench) fromHost(packet []byte) { feed(b.fromInside, packet) }

// fromNode gives the gateway a datagram as if from the outside wire.
func (b *bench) fromNode(packet []byte) { feed(b.fromOutside, packet) }

func feed(handle func([]byte, int, int), packet []byte) {
	buf := make([]byte, headroom+len(packet)+tailroom)
	copy(buf[headroom:], packet)
	handle(buf, headroom, headroom+len(packet))
}

// nodeEnd is the node's end of a session, on tapes of its own.
func nodeEnd(t testing.TB, s *ipsecctx.Session, dynamic ...ipsecctx.Dynamic) *bench {
	t.Helper()
	b := newBench(t, func(c *Config) { c.Host = true })
	must(t, b.Install(testID, mirrored(s, netip.MustParseAddrPort("192.0.2.1:4500")), dynamic))
	return b
}

// uplink returns the ESP packets of n packets from the node.
func (b *bench) uplink(n int) [][]byte {
	for i := range n {
		b.fromHost(udpPacket(node4, host4, 1, uint16(i), nil))
	}
	return b.out.take()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// wantStatus checks that err is a refusal with the status.
func wantStatus(t testing.TB, err error, want cxtp.Status) {
	t.Helper()
	var e *features.Error
	if !errors.As(err, &e) || e.Status != want {
		t.Errorf("error %v, want status %v", err, want)
	}
}

// sameDynamic compares two states but for their times.
func sameDynamic(a, b []ipsecctx.Dynamic) bool {
	return slices.EqualFunc(a, b, func(x, y ipsecctx.Dynamic) bool {
		return x.SPI == y.SPI && x.Direction == y.Direction && x.Sequence == y.Sequence && slices.Equal(x.Window, y.Window) &&
			x.Used.Packets == y.Used.Packets && x.Used.Octets == y.Used.Octets
	})
}

// sequences opens ESP packets with the keys of the outbound SA of s, and fails
// if one does not open or if a number or an IV comes twice.
func sequences(t testing.TB, s *ipsecctx.Session, packets [][]byte) []uint64 {
	t.Helper()
	inspector, err := NewInspector(&s.SAs[0])
	must(t, err)
	var all []uint64
	seen, ivs := map[uint64]bool{}, map[string]bool{}
	for _, p := range packets {
		seq, iv, _, err := inspector.Open(p)
		must(t, err)
		if seen[seq] || ivs[string(iv)] {
			t.Errorf("sequence number %d or IV %x was used twice", seq, iv)
		}
		seen[seq], ivs[string(iv)] = true, true
		all = append(all, seq)
	}
	return all
}

// live is a gateway on real sockets that runs for the length of a test. host is
// the socket behind it.
type live struct {
	*Gateway
	outside, inside netip.AddrPort
	tap             *tap
	host            *net.UDPConn
}

// tap is a wire that also keeps what is sent and what arrives.
type tap struct {
	*net.UDPConn
	off            atomic.Bool // keeps nothing
	mu             sync.Mutex
	sent, received [][]byte
}

func (w *tap) keep(packets *[][]byte, b []byte) {
	if w.off.Load() {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	*packets = append(*packets, bytes.Clone(b))
}

func (w *tap) WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error) {
	w.keep(&w.sent, b)
	return w.UDPConn.WriteToUDPAddrPort(b, to)
}

func (w *tap) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	n, from, err := w.UDPConn.ReadFromUDPAddrPort(b)
	if err == nil {
		w.keep(&w.received, b[:n])
	}
	return n, from, err
}

func (w *tap) all() (sent, received [][]byte) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.sent), slices.Clone(w.received)
}

func loopback(v6 bool) netip.AddrPort {
	if v6 {
		return netip.AddrPortFrom(netip.IPv6Loopback(), 0)
	}
	return netip.MustParseAddrPort("127.0.0.1:0")
}

func listen(t testing.TB, v6 bool) (*net.UDPConn, netip.AddrPort) {
	t.Helper()
	conn, err := ListenUDP(loopback(v6))
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	return conn, conn.LocalAddr().(*net.UDPAddr).AddrPort()
}

func newLive(t testing.TB, v6 bool, host *net.UDPConn, change ...func(*Config)) *live {
	t.Helper()
	l := &live{host: host}
	if host == nil {
		l.host, _ = listen(t, false)
	}
	outside, at := listen(t, v6)
	l.tap, l.outside = &tap{UDPConn: outside}, at
	inside, at := listen(t, false)
	l.inside = at
	c := Config{Outside: l.tap, Inside: inside, NextHop: l.host.LocalAddr().(*net.UDPAddr).AddrPort()}
	for _, f := range change {
		f(&c)
	}
	var err error
	l.Gateway, err = New(c)
	must(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return l
}

// send puts a bare IP packet on the inside wire.
func (l *live) send(t testing.TB, packet []byte) {
	t.Helper()
	_, err := l.host.WriteToUDPAddrPort(packet, l.inside)
	must(t, err)
}

// recv waits for a bare IP packet on the inside wire. The deadline is there to
// end a test that fails.
func (l *live) recv(t testing.TB) []byte {
	t.Helper()
	must(t, l.host.SetReadDeadline(time.Now().Add(20*time.Second)))
	b := make([]byte, 65535)
	n, _, err := l.host.ReadFromUDPAddrPort(b)
	must(t, err)
	return b[:n]
}
