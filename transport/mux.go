package transport

import (
	"bytes"
	"errors"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
)

// Bounds of what strangers can make us keep.
const (
	// maxAccepting bounds the handshakes in progress that others opened, all
	// together. The configured peers' addresses do not count.
	maxAccepting = 64
	// maxAcceptingHost is its share for one IP address.
	maxAcceptingHost = 8
	// maxAcceptingAddr bounds them for one address and port; the oldest without
	// a cookie makes room, so that forged ones do not lock the real one out.
	maxAcceptingAddr = 4
	// maxHandshake bounds the octets that a flow takes before its remote is
	// authenticated.
	maxHandshake = 128 << 10
	// maxDatagram is the largest that DTLS reads.
	maxDatagram = 8192
)

var errBusy = errors.New("the peer's address has a connection or a handshake already")

// mux shares one UDP socket among flows. By the address alone, it could not tell
// a restarted peer's ClientHello from the records of the connection that the
// restart killed, nor our dial to a peer from the peer's dial to us. So an
// address has a route: the one established flow and, beside it, handshakes.
// Nothing that is not authenticated disturbs the established flow.
type mux struct {
	conn *udpSocket
	// accept starts the handshake of a flow that a remote opened. It is called
	// with mu held and must not block; false drops the flow.
	accept func(*flow) bool

	discarded atomic.Uint64

	mu        sync.Mutex
	routes    map[netip.AddrPort]*route
	favoured  map[netip.AddrPort]bool // the configured peers' addresses
	halfOpen  int                     // flows that are not established
	accepting int                     // of those, what maxAccepting bounds
	hosts     map[netip.Addr]int      // what maxAcceptingHost bounds
}

// route is what one remote address has.
type route struct {
	current *flow   // established
	dial    *flow   // our handshake as a client
	accepts []*flow // handshakes as a server, oldest first
}

func newMux(conn *udpSocket, accept func(*flow) bool) *mux {
	return &mux{
		conn:     conn,
		accept:   accept,
		routes:   map[netip.AddrPort]*route{},
		favoured: map[netip.AddrPort]bool{},
		hosts:    map[netip.Addr]int{},
	}
}

// run reads the socket until it is closed.
func (m *mux) run() { m.conn.readDatagrams(maxDatagram, m.deliver) }

// favour exempts a configured peer's address from the limits for strangers.
func (m *mux) favour(addr netip.AddrPort) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.favoured[addr] = true
}

// dial opens a flow for a handshake as a client. An established flow, which may
// have SCTP set up at this moment, must end first: a dial in its way would have
// the two ends replace each other's connections in turn.
func (m *mux) dial(remote netip.AddrPort, r random) (*flow, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	rt := m.route(remote)
	if rt.current != nil || rt.dial != nil || rt.answered() != nil {
		return nil, errBusy
	}
	rt.dial = newFlow(m, remote, r, true)
	m.halfOpen++
	return rt.dial, nil
}

func (m *mux) route(remote netip.AddrPort) *route {
	rt := m.routes[remote]
	if rt == nil {
		rt = &route{}
		m.routes[remote] = rt
	}
	return rt
}

// deliver gives a datagram to the flows that it may be for.
func (m *mux) deliver(from netip.AddrPort, by arrival, datagram []byte) {
	rec, ok := parseRecord(datagram)
	if !ok {
		m.discarded.Add(1)
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	rt := m.routes[from]
	switch {
	case rec.role == clientHello:
		m.give(m.acceptLocked(rt, from, by, rec), datagram)
	case rt == nil:
		m.discarded.Add(1)
	case rec.encrypted:
		m.giveEncrypted(rt, datagram)
	case rec.role == serverEnd:
		m.give(rt.dial, datagram)
	default:
		m.give(rt.handshaking(rec.role), datagram)
	}
}

// giveEncrypted gives a datagram to every flow that may have its key: the first
// data of a new connection can come before we know that it is established.
func (m *mux) giveEncrypted(rt *route, datagram []byte) {
	if rt.dial == nil && len(rt.accepts) == 0 {
		m.give(rt.current, datagram)
		return
	}
	for _, f := range []*flow{rt.current, rt.dial, rt.answered()} {
		if f != nil {
			m.give(f, datagram)
		}
	}
}

func (m *mux) give(f *flow, datagram []byte) {
	if f == nil {
		m.discarded.Add(1)
		return
	}
	if f.established {
		datagram = encryptedPart(datagram)
	} else {
		f.given += len(datagram)
	}
	if len(datagram) == 0 || !f.established && f.given > maxHandshake {
		m.discarded.Add(1)
		return
	}
	if _, err := f.queue.Write(datagram, nil); err != nil {
		m.discarded.Add(1)
	}
}

// answered returns the accepted flow whose remote proved its address.
func (rt *route) answered() *flow {
	for _, f := range rt.accepts {
		if f.answered.Load() {
			return f
		}
	}
	return nil
}

// handshaking returns the flow that a handshake message in the clear is for,
// when the message itself does not say. The established flow is last: its peer
// may be repeating its final flight because ours was lost.
func (rt *route) handshaking(from role) *flow {
	if f := rt.answered(); f != nil {
		return f
	}
	if rt.dial != nil && from != clientEnd {
		return rt.dial
	}
	return rt.current
}

// acceptLocked returns the flow that a ClientHello belongs to, opening one if it
// begins a handshake and there is room.
func (m *mux) acceptLocked(rt *route, from netip.AddrPort, by arrival, hello record) *flow {
	if rt != nil {
		for _, f := range rt.accepts {
			if f.random == hello.random {
				return f
			}
		}
		if rt.current != nil && rt.current.random == hello.random {
			return nil // repeated on its way here
		}
	}
	if !hello.first || !m.roomLocked(rt, from) {
		return nil
	}
	f := newFlow(m, from, hello.random, false)
	f.source, f.favoured = source(by.destination()), m.favoured[from]
	if !m.accept(f) {
		return nil
	}
	rt = m.route(from)
	rt.accepts = append(rt.accepts, f)
	m.countLocked(f, 1)
	return f
}

func (m *mux) roomLocked(rt *route, from netip.AddrPort) bool {
	if rt != nil && len(rt.accepts) >= maxAcceptingAddr {
		i := slices.IndexFunc(rt.accepts, func(f *flow) bool { return !f.answered.Load() })
		m.endLocked(rt.accepts[i], errCrowded)
	}
	return m.favoured[from] ||
		m.accepting < maxAccepting && m.hosts[from.Addr()] < maxAcceptingHost
}

// countLocked adds an accepted flow to the totals, or takes it off.
func (m *mux) countLocked(f *flow, delta int) {
	m.halfOpen += delta
	if f.favoured {
		return
	}
	m.accepting += delta
	host := f.remote.Addr()
	if m.hosts[host] += delta; m.hosts[host] == 0 {
		delete(m.hosts, host)
	}
}

// answered notes that an accepted flow's remote proved its address. If we are
// dialing that address at the same time, one of the two handshakes must yield,
// and both ends must choose the same: the one with the larger random in its
// ClientHello, which both have seen, goes on.
func (m *mux) answered(f *flow) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if f.ended() != nil {
		return
	}
	rt := m.routes[f.remote]
	if rt.dial != nil && bytes.Compare(rt.dial.random[:], f.random[:]) > 0 {
		m.endLocked(f, errYield)
		return
	}
	if rt.dial != nil {
		m.endLocked(rt.dial, errYield)
	}
	if older := rt.answered(); older != nil {
		m.endLocked(older, errYield)
	}
	f.answered.Store(true)
}

// establish makes an authenticated flow its route's one. Whoever had that place
// is ended: its peer has no more use for it.
func (m *mux) establish(f *flow) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if cause := f.ended(); cause != nil {
		return cause
	}
	rt := m.routes[f.remote]
	rt.removeHandshake(m, f)
	f.established = true
	if rt.current != nil {
		m.endLocked(rt.current, ErrPeerReplaced)
		m.routes[f.remote] = rt // ending the last flow removed it
	}
	rt.current = f
	return nil
}

// removeHandshake takes a flow out of the handshakes in progress.
func (rt *route) removeHandshake(m *mux, f *flow) {
	if rt.dial == f {
		rt.dial = nil
		m.halfOpen--
	} else if i := slices.Index(rt.accepts, f); i >= 0 {
		rt.accepts = slices.Delete(rt.accepts, i, i+1)
		m.countLocked(f, -1)
	}
}

func (m *mux) endLocked(f *flow, cause error) {
	if !f.cause.CompareAndSwap(nil, &cause) {
		return
	}
	_ = f.queue.Close()
	rt := m.routes[f.remote]
	if rt == nil {
		return
	}
	rt.removeHandshake(m, f)
	if rt.current == f {
		rt.current = nil
	}
	if rt.current == nil && rt.dial == nil && len(rt.accepts) == 0 {
		delete(m.routes, f.remote)
	}
}
