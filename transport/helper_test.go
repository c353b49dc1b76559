package transport

import (
	"crypto/tls"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/cxtp/cxtp/transport/testcert"
)

// patience is how long a test waits for what must happen. It only ever costs
// time when a test fails.
const patience = 20 * time.Second

func newAuthority(t testing.TB) *testcert.Authority {
	t.Helper()
	ca, err := testcert.New()
	if err != nil {
		t.Fatal(err)
	}
	return ca
}

func issue(t testing.TB, ca *testcert.Authority, name string) tls.Certificate {
	t.Helper()
	cert, err := ca.Issue(name)
	if err != nil {
		t.Fatal(err)
	}
	return cert
}

// identity is the DNS name of a test's router.
func identity(name string) string { return name + ".example.net" }

type received struct {
	peer string
	msg  []byte
}

// router is an endpoint whose messages and events a test can wait for.
type router struct {
	*Endpoint
	t      testing.TB
	msgs   chan received
	events chan Event
}

// start starts a router called name, which knows the peers given; change may
// change its configuration.
func start(t testing.TB, ca *testcert.Authority, name string, peers []Peer, change ...func(*Config)) *router {
	t.Helper()
	r := &router{t: t, msgs: make(chan received, 4096), events: make(chan Event, 4096)}
	config := Config{
		Addr:        "127.0.0.1:0",
		Certificate: issue(t, ca, identity(name)),
		Roots:       ca.Pool(),
		Peers:       peers,
		Handler:     func(peer string, msg []byte) { r.msgs <- received{peer, msg} },
		Events:      func(e Event) { r.events <- e },
	}
	for _, f := range change {
		f(&config)
	}
	e, err := Listen(config)
	if err != nil {
		t.Fatal(err)
	}
	r.Endpoint = e
	t.Cleanup(func() { _ = e.Close() })
	return r
}

// mux is the demultiplexer of a router whose carrier is DTLS.
func (r *router) mux() *mux { return r.carrier.(*dtlsCarrier).mux }

func (r *router) addr() string { return r.LocalAddr().String() }

// peerAt is a peer's entry in a configuration.
func peerAt(name, addr string) Peer { return Peer{Name: name, Addr: addr, Identity: identity(name)} }

// wait returns the first event that fits.
func wait[E Event](r *router, fits func(E) bool) E {
	r.t.Helper()
	deadline := time.After(patience)
	for {
		select {
		case event := <-r.events:
			if e, ok := event.(E); ok && fits(e) {
				return e
			}
		case <-deadline:
			r.t.Fatalf("no such event; stats %+v", r.Stats())
		}
	}
}

func (r *router) waitUp(peer string) PeerUp {
	r.t.Helper()
	return wait(r, func(e PeerUp) bool { return e.Peer == peer })
}

func (r *router) waitDown(peer string, reason error) PeerDown {
	r.t.Helper()
	return wait(r, func(e PeerDown) bool { return e.Peer == peer && errors.Is(e.Reason, reason) })
}

func (r *router) receive() received {
	r.t.Helper()
	select {
	case m := <-r.msgs:
		return m
	case <-time.After(patience):
		r.t.Fatalf("no message; stats %+v", r.Stats())
		return received{}
	}
}

func (r *router) send(peer, msg string) {
	r.t.Helper()
	if err := r.Send(peer, []byte(msg), time.Time{}); err != nil {
		r.t.Fatal(err)
	}
}

// expect receives one message, which must be this one.
func (r *router) expect(peer, msg string) {
	r.t.Helper()
	if got := r.receive(); got.peer != peer || string(got.msg) != msg {
		r.t.Fatalf("received %.40q from %q, want %.40q from %q", got.msg, got.peer, msg, peer)
	}
}

func (r *router) stats(peer string) PeerStats {
	r.t.Helper()
	for _, s := range r.Stats().Peers {
		if s.Name == peer {
			return s
		}
	}
	r.t.Fatalf("no peer %q", peer)
	return PeerStats{}
}

// crash takes the endpoint away as the end of its process would: the socket goes
// first, so that nothing can say goodbye.
func (r *router) crash() {
	_ = r.carrier.close()
	_ = r.Close()
}

// eventually polls for what no event tells.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
		runtime.Gosched()
		<-time.After(time.Millisecond)
	}
}

// goroutines returns the stacks of those that run code of this package or of
// the libraries below it, but not a test itself.
func goroutines() []string {
	buf := make([]byte, 4<<20)
	var found []string
	for _, stack := range strings.Split(string(buf[:runtime.Stack(buf, true)]), "\n\n") {
		ours := strings.Contains(stack, "/transport.") || strings.Contains(stack, "github.com/pion/")
		if ours && !strings.Contains(stack, "testing.tRunner") {
			found = append(found, stack)
		}
	}
	return found
}

// carriers are what onCarriers runs a test on, each with how to choose it: in the lab
// the kernel's SCTP, too.
var carriers = map[string]func(*Config){"dtls": func(*Config) {}}

// onCarriers runs a test on each carrier.
func onCarriers(t *testing.T, test func(t *testing.T, on func(*Config))) {
	for name, on := range carriers {
		t.Run(name, func(t *testing.T) { test(t, on) })
	}
}

// couple starts two routers, a and b, which know each other's addresses, and waits
// until they are up.
func couple(t testing.TB, change ...func(*Config)) (a, b *router) {
	t.Helper()
	ca, free := newAuthority(t), reserve(t, 2)
	at := func(i int) []func(*Config) {
		return append([]func(*Config){func(c *Config) { c.Addr = free[i] }}, change...)
	}
	b = start(t, ca, "b", []Peer{peerAt("a", free[0])}, at(1)...)
	a = start(t, ca, "a", []Peer{peerAt("b", free[1])}, at(0)...)
	a.waitUp("b")
	b.waitUp("a")
	return a, b
}

// pair starts two routers that dial each other and waits until they are up. They
// are called a and b.
func pair(t testing.TB, ca *testcert.Authority, change ...func(*Config)) (a, b *router) {
	t.Helper()
	b = start(t, ca, "b", []Peer{peerAt("a", "")}, change...)
	a = start(t, ca, "a", []Peer{peerAt("b", b.addr())}, change...)
	a.waitUp("b")
	b.waitUp("a")
	return a, b
}

func numbered(i int) string { return fmt.Sprintf("message %d", i) }

// reserve finds UDP addresses that are free, for routers that must know each
// other's before they start.
func reserve(t testing.TB, n int) []string {
	t.Helper()
	var addrs []string
	for range n {
		conn, err := listenUDP("127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		addrs = append(addrs, conn.localAddr().String())
	}
	return addrs
}
