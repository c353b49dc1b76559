package soft

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"sync"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
)

// Wire carries datagrams between endpoints. [net.UDPConn] is one. Its methods
// must be safe for concurrent use, and Close must end a read that waits.
type Wire interface {
	ReadFromUDPAddrPort(b []byte) (n int, from netip.AddrPort, err error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (n int, err error)
	Close() error
}

// ListenUDP opens a wire on the address, of its family alone; port 0 takes any
// free one.
func ListenUDP(addr netip.AddrPort) (*net.UDPConn, error) {
	network := "udp6"
	if addr.Addr().Unmap().Is4() {
		network = "udp4"
	}
	conn, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, fmt.Errorf("failed to listen on %v: %w", addr, err)
	}
	// As much as the system allows: what does not fit while this process is not
	// scheduled is lost. An error leaves the system's default.
	_ = conn.SetReadBuffer(receiveBuffer)
	return conn, nil
}

// Policy is what becomes of a packet from inside that no session claims.
type Policy uint8

const (
	Discard Policy = iota // the last entry of every SPD (RFC 4301 section 5.2)

	// Bypass sends such packets through the outside in clear. It is dangerous:
	// with it, traffic of a session leaves unprotected as soon as the session
	// is forgotten. It exists to show what a missing block policy does.
	Bypass
)

// Config says what a Gateway is connected to. Outside, Inside and NextHop
// are required.
type Config struct {
	Outside Wire // ESP in UDP, towards the nodes
	Inside  Wire // bare IP packets in UDP, on the protected side

	// NextHop is where decrypted packets go on the inside wire.
	NextHop netip.AddrPort

	// Peers are the inside endpoints of the other gateways, for Redirect.
	Peers map[cxtp.RouterID]netip.AddrPort

	// QueuePackets bounds the queue of each staged or frozen session; 0 means
	// DefaultQueuePackets. A packet that finds it full is dropped and counted.
	QueuePackets int

	// Host says that inner packets start and end here, as they do at a mobile
	// node. A gateway forwards, and so takes one from each packet's hop limit.
	Host bool

	// Strict has Freeze end the inbound SAs too (the strict mode of
	// rfc/control-profile.md section 8.5).
	Strict bool

	// NearCeiling is told of a session with an outbound SA that has used half of
	// what its ceiling allowed; nil means nobody is.
	NearCeiling func(cxtp.SessionID)

	DefaultPolicy Policy
	ClearNextHop  netip.AddrPort // where Bypass sends, on the outside wire
}

// DefaultQueuePackets is the bound of a session's queue, in packets, where the
// configuration has none.
const DefaultQueuePackets = 1024

const (
	receiveBuffer = 4 << 20 // octets
	maxDatagram   = 65535
	maxReadErrors = 64 // in a row, before a wire counts as broken
	keepalive     = 0xff
)

// Gateway is a security gateway, or a mobile node's end. Its methods are safe
// for concurrent use.
type Gateway struct {
	outside, inside Wire
	nextHop         netip.AddrPort
	peers           map[cxtp.RouterID]netip.AddrPort
	queuePackets    int
	host            bool
	policy          Policy
	clearNextHop    netip.AddrPort
	strict          bool
	nearCeiling     func(cxtp.SessionID)

	tables sync.RWMutex // guards spd, sad and past
	spd    spd
	sad    map[uint32]*receiver // inbound SAs by SPI
	past   Counters             // of sessions that are gone

	stray strayCounters
}

var (
	_ ipsecctx.Backend  = (*Gateway)(nil)
	_ ipsecctx.Reserver = (*Gateway)(nil)
)

// New makes a Gateway without sessions. It carries traffic while [Gateway.Run]
// runs; its sessions can be worked on before that.
func New(c Config) (*Gateway, error) {
	switch {
	case c.Outside == nil || c.Inside == nil:
		return nil, errors.New("a gateway needs an outside and an inside wire")
	case !c.NextHop.IsValid():
		return nil, errors.New("a gateway needs the next hop of its inside wire")
	case c.QueuePackets < 0:
		return nil, fmt.Errorf("a queue of %d packets: want 0 or more", c.QueuePackets)
	case c.DefaultPolicy > Bypass:
		return nil, fmt.Errorf("unknown default policy %d", c.DefaultPolicy)
	case c.DefaultPolicy == Bypass && !c.ClearNextHop.IsValid():
		return nil, errors.New("the default policy Bypass needs a ClearNextHop")
	}
	g := &Gateway{
		outside: c.Outside, inside: c.Inside, nextHop: c.NextHop,
		peers:        make(map[cxtp.RouterID]netip.AddrPort, len(c.Peers)),
		queuePackets: c.QueuePackets, host: c.Host,
		policy: c.DefaultPolicy, clearNextHop: c.ClearNextHop, strict: c.Strict, nearCeiling: c.NearCeiling,
		spd: newSPD(), sad: make(map[uint32]*receiver),
	}
	if g.queuePackets == 0 {
		g.queuePackets = DefaultQueuePackets
	}
	if g.nearCeiling == nil {
		g.nearCeiling = func(cxtp.SessionID) {}
	}
	for id, addr := range c.Peers {
		g.peers[id] = addr
	}
	return g, nil
}

// Run carries traffic until ctx ends, which is no error, or a wire breaks. It
// closes both wires before it returns, and so runs once.
func (g *Gateway) Run(ctx context.Context) error {
	closeBoth := func() { g.outside.Close(); g.inside.Close() }
	defer closeBoth()
	stop := context.AfterFunc(ctx, closeBoth)
	defer stop()

	ended := make(chan error, 2)
	go func() { ended <- g.read(ctx, "outside", g.outside, g.fromOutside) }()
	go func() { ended <- g.read(ctx, "inside", g.inside, g.fromInside) }()
	err := <-ended
	closeBoth()
	<-ended
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// read hands each datagram of a wire to handle, as buf[start:end] with headroom
// before and tailroom after it. The buffer is used again for the next one.
func (g *Gateway) read(ctx context.Context, name string, w Wire, handle func(buf []byte, start, end int)) error {
	buf := make([]byte, headroom+maxDatagram+tailroom)
	for failures := 0; ; {
		n, _, err := w.ReadFromUDPAddrPort(buf[headroom : headroom+maxDatagram])
		if err == nil {
			failures = 0
			handle(buf, headroom, headroom+n)
			continue
		}
		// Some systems report on a read that an earlier datagram was refused.
		if failures++; ctx.Err() != nil || errors.Is(err, net.ErrClosed) || failures == maxReadErrors {
			return fmt.Errorf("failed to read from the %s wire: %w", name, err)
		}
		g.stray.readErrors.Add(1)
	}
}

// fromInside does outbound processing, RFC 4301 section 5.1.
func (g *Gateway) fromInside(buf []byte, start, end int) {
	f, n, err := parse(buf[start:end])
	if err != nil {
		g.stray.malformed.Add(1)
		return
	}
	end = start + n
	if !g.host && !hop(buf[start:end]) {
		g.stray.hopLimit.Add(1)
		return
	}
	for {
		g.tables.RLock()
		s := g.spd.lookup(&f)
		g.tables.RUnlock()
		if s == nil {
			g.unclaimed(buf[start:end])
			return
		}
		if s.outbound(buf, start, end, &f) {
			return
		}
	}
}

// unclaimed applies the default policy.
func (g *Gateway) unclaimed(packet []byte) {
	if g.policy == Discard {
		g.stray.policyDrops.Add(1)
		return
	}
	if _, err := g.outside.WriteToUDPAddrPort(packet, g.clearNextHop); err != nil {
		g.stray.sendErrors.Add(1)
		return
	}
	g.stray.bypassed.Add(1)
}

// fromOutside does inbound processing, RFC 4301 section 5.2, of what RFC 3948
// section 2 says may arrive. Where it came from does not matter: a packet that
// passes authentication is from the node, wherever that has moved.
func (g *Gateway) fromOutside(buf []byte, start, end int) {
	packet := buf[start:end]
	if len(packet) == 1 && packet[0] == keepalive {
		g.stray.keepalives.Add(1)
		return
	}
	if len(packet) < headerLen {
		g.stray.malformed.Add(1)
		return
	}
	spi := binary.BigEndian.Uint32(packet)
	if spi == 0 { // the non-ESP marker
		g.stray.nonESP.Add(1)
		return
	}
	g.tables.RLock()
	r := g.sad[spi]
	g.tables.RUnlock()
	if r == nil {
		g.stray.unknownSPI.Add(1)
		return
	}
	inner := r.session.inbound(r, packet, binary.BigEndian.Uint32(packet[4:]))
	if inner == nil {
		return
	}
	if !g.host && !hop(inner) {
		g.stray.hopLimit.Add(1)
		return
	}
	if _, err := g.inside.WriteToUDPAddrPort(inner, g.nextHop); err != nil {
		g.stray.sendErrors.Add(1)
	}
}
