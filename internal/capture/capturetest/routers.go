package capturetest

import (
	"bytes"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/cxtp/cxtp/transport"
	"github.com/cxtp/cxtp/transport/testcert"
)

// patience is how long is waited for what must happen.
const patience = 20 * time.Second

// Log is a key log that endpoints write.
type Log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *Log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// Octets are what was written.
func (l *Log) Octets() []byte {
	l.mu.Lock()
	defer l.mu.Unlock()
	return bytes.Clone(l.text.Bytes())
}

// Router is one end of the router link.
type Router struct {
	*transport.Endpoint
	tb       testing.TB
	config   transport.Config
	peer     transport.Peer
	up       chan struct{}
	received chan []byte
}

// NewRouter starts a router that knows one
// peer, which it dials if that has an address. It ends with the test.
func NewRouter(tb testing.TB, config transport.Config, peer transport.Peer) *Router {
	tb.Helper()
	r := &Router{tb: tb, config: config, peer: peer, up: make(chan struct{}, 16), received: make(chan []byte, 16)}
	config.Peers = []transport.Peer{peer}
	config.InsecureKeyLog = true
	config.Handler = func(_ string, msg []byte) { r.received <- msg }
	config.Events = func(e transport.Event) {
		if _, ok := e.(transport.PeerUp); ok {
			r.up <- struct{}{}
		}
	}
	if config.Addr == "" {
		config.Addr = "127.0.0.1:0"
	}
	endpoint, err := transport.Listen(config)
	if err != nil {
		tb.Fatal(err)
	}
	r.Endpoint = endpoint
	tb.Cleanup(func() { _ = endpoint.Close() })
	return r
}

// Restart closes the router and starts it again at the same address and port.
func (r *Router) Restart() *Router {
	r.tb.Helper()
	config := r.config
	config.Addr = r.LocalAddr().String()
	if err := r.Close(); err != nil {
		r.tb.Fatal(err)
	}
	return NewRouter(r.tb, config, r.peer)
}

// Up waits until there is an association.
func (r *Router) Up() {
	r.tb.Helper()
	select {
	case <-r.up:
	case <-time.After(patience):
		r.tb.Fatalf("no association: %+v", r.Stats())
	}
}

// Exchange sends a message and waits until the other router has it.
func (r *Router) Exchange(other *Router, message []byte) {
	r.tb.Helper()
	if err := r.Send(r.peer.Name, message, time.Time{}); err != nil {
		r.tb.Fatal(err)
	}
	other.Receive(message)
}

// Receive waits for a message, which must be this one.
func (r *Router) Receive(message []byte) {
	r.tb.Helper()
	select {
	case got := <-r.received:
		if !bytes.Equal(got, message) {
			r.tb.Fatalf("received %d octets, want %d others", len(got), len(message))
		}
	case <-time.After(patience):
		r.tb.Fatalf("no message: %+v", r.Stats())
	}
}

// Routers starts two routers with a tap between them, and returns the address
// of the second as the first one and the tape know it.
func Routers(tb testing.TB, tape *Tape, log *Log) (a, b *Router, at netip.AddrPort) {
	tb.Helper()
	ca, err := testcert.New()
	if err != nil {
		tb.Fatal(err)
	}
	config := func(name string) transport.Config {
		cert, err := ca.Issue(name)
		if err != nil {
			tb.Fatal(err)
		}
		return transport.Config{Certificate: cert, Roots: ca.Pool(), KeyLog: log}
	}
	b = NewRouter(tb, config("b.example.net"), transport.Peer{Name: "a", Identity: "a.example.net"})
	at = tape.Tap(tb, b.LocalAddr())
	a = NewRouter(tb, config("a.example.net"), transport.Peer{Name: "b", Identity: "b.example.net", Addr: at.String()})
	a.Up()
	b.Up()
	return a, b, at
}
