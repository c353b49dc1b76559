package transport

import (
	"errors"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/pion/transport/v5/packetio"
)

// flowBuffer bounds what waits in a flow to be read by DTLS, in octets: what
// SCTP's receive window lets the peer send, and the headers around it.
const flowBuffer = receiveBuffer + receiveBuffer/4

// Why a flow ended, where it matters to whoever set it up.
var (
	errYield    = errors.New("the peer's own dial goes on instead")
	errNoCookie = errors.New("no answer from the claimed address")
	errCrowded  = errors.New("too many handshakes from one address")
)

// flow is one DTLS connection's share of the socket: what one remote address
// sent for it. It implements net.PacketConn for DTLS.
type flow struct {
	mux    *mux
	remote netip.AddrPort
	addr   net.Addr
	source []byte // where its peer has found us; empty = the system chooses
	queue  *packetio.Buffer

	// dialed is whether we are the DTLS client; random is the ClientHello's.
	dialed bool
	random random

	cause    atomic.Pointer[error] // why it ended; nil while it lives
	answered atomic.Bool           // accepted flows: the cookie came back

	// Guarded by mux.mu.
	favoured    bool // does not count as a stranger's
	established bool // carries an authenticated connection
	given       int  // octets taken before that
}

func newFlow(m *mux, remote netip.AddrPort, r random, dialed bool) *flow {
	queue := packetio.NewBuffer()
	queue.SetLimitSize(flowBuffer)
	return &flow{
		mux:    m,
		remote: remote,
		addr:   net.UDPAddrFromAddrPort(remote),
		queue:  queue,
		dialed: dialed,
		random: r,
	}
}

// end takes the flow off the socket: reads give io.EOF after what is queued,
// writes fail. The first cause given is kept.
func (f *flow) end(cause error) {
	f.mux.mu.Lock()
	defer f.mux.mu.Unlock()
	f.mux.endLocked(f, cause)
}

// ended returns why the flow ended, or nil.
func (f *flow) ended() error {
	if cause := f.cause.Load(); cause != nil {
		return *cause
	}
	return nil
}

// ReadFrom implements net.PacketConn.
func (f *flow) ReadFrom(b []byte) (int, net.Addr, error) {
	n, _, err := f.queue.Read(b, nil)
	return n, f.addr, err
}

// WriteTo implements net.PacketConn. What the network says about one datagram
// (no route, refused, no buffer) is loss, which the layers above handle; an
// error would end their connection.
func (f *flow) WriteTo(b []byte, _ net.Addr) (int, error) {
	if !f.dialed && !f.answered.Load() && isServerHello(b) {
		f.mux.answered(f)
	}
	if f.ended() != nil {
		return 0, net.ErrClosed
	}
	if err := f.mux.conn.send(f.source, f.remote, b); errors.Is(err, net.ErrClosed) {
		return 0, err
	}
	return len(b), nil
}

// Close implements net.PacketConn.
func (f *flow) Close() error {
	f.end(net.ErrClosed)
	return nil
}

// LocalAddr implements net.PacketConn.
func (f *flow) LocalAddr() net.Addr { return f.mux.conn.LocalAddr() }

// SetDeadline implements net.PacketConn.
func (f *flow) SetDeadline(t time.Time) error { return f.SetReadDeadline(t) }

// SetReadDeadline implements net.PacketConn.
func (f *flow) SetReadDeadline(t time.Time) error { return f.queue.SetReadDeadline(t) }

// SetWriteDeadline implements net.PacketConn. Writes to a UDP socket do not wait.
func (f *flow) SetWriteDeadline(time.Time) error { return nil }
