package transport

import (
	"bytes"
	"crypto/x509"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestUnknownAuthorityIsRefused(t *testing.T) {
	ca := newAuthority(t)
	b := start(t, ca, "b", []Peer{peerAt("a", "")})
	// It takes anything that it dials to, and has the right name.
	a := start(t, newAuthority(t), "a", []Peer{peerAt("b", b.addr())},
		func(c *Config) { c.Roots = ca.Pool() })
	event := wait(b, func(PeerRefused) bool { return true })
	var unknown x509.UnknownAuthorityError
	if !errors.As(event.Reason, &unknown) || event.Identity != "" {
		t.Errorf("refused %q because of %v", event.Identity, event.Reason)
	}
	refusedOnceCountedAlways(t, b)
	if got := a.stats("b"); got.Handshakes != 0 {
		t.Errorf("the refused has %d handshakes", got.Handshakes)
	}
	eventually(t, "the refused knows why", func() bool {
		return strings.Contains(a.stats("b").LastError, "BadCertificate")
	})
}

func TestUnlistedPeerIsRefused(t *testing.T) {
	ca := newAuthority(t)
	b := start(t, ca, "b", []Peer{peerAt("a", "")})
	start(t, ca, "c", []Peer{peerAt("b", b.addr())})
	event := wait(b, func(PeerRefused) bool { return true })
	if event.Identity != identity("c") {
		t.Errorf("refused %q because of %v, want %q", event.Identity, event.Reason, identity("c"))
	}
	refusedOnceCountedAlways(t, b)
}

func TestDialerRefusesWrongIdentity(t *testing.T) {
	ca := newAuthority(t)
	c := start(t, ca, "c", []Peer{peerAt("a", "")})
	// c is known to a, even as a peer; it just is not b.
	a := start(t, ca, "a", []Peer{peerAt("b", c.addr()), peerAt("c", "")})
	event := wait(a, func(PeerRefused) bool { return true })
	if event.Identity != identity("c") || event.Remote != c.LocalAddr() {
		t.Errorf("refused %q at %v because of %v", event.Identity, event.Remote, event.Reason)
	}
	refusedOnceCountedAlways(t, a)
	if got := a.stats("b"); got.Handshakes != 0 || got.Refused == 0 || got.LastError == "" {
		t.Errorf("stats of the peer that was not there: %+v", got)
	}
	if got := c.stats("a"); got.Handshakes != 0 {
		t.Errorf("the refused has %d handshakes", got.Handshakes)
	}
}

// refusedOnceCountedAlways waits for a second refusal, of which there must be no
// event; the remote dials again by itself.
func refusedOnceCountedAlways(t *testing.T, r *router) {
	t.Helper()
	eventually(t, "a second refusal", func() bool { return r.Stats().Refused > 1 })
	select {
	case event := <-r.events:
		t.Errorf("unexpected event %+v", event)
	default:
	}
}

func TestIdentityMustNameOnePeer(t *testing.T) {
	e := &Endpoint{}
	for _, c := range []Peer{peerAt("a", ""), peerAt("b", "")} {
		e.peers = append(e.peers, newPeer(e, c))
	}
	for _, test := range []struct {
		names []string
		want  string
	}{
		{[]string{"a.example.net"}, "a"},
		{[]string{"A.Example.NET", "other"}, "a"},
		{[]string{"a.example.net", "b.example.net"}, ""},
		{[]string{"*.example.net"}, ""},
		{[]string{"xa.example.net", "a.example.net.x", "c"}, ""},
		{nil, ""},
	} {
		p, err := e.identify(&x509.Certificate{DNSNames: test.names})
		switch {
		case test.want == "" && err == nil:
			t.Errorf("%q is taken for %s", test.names, p.Name)
		case test.want != "" && (err != nil || p.Name != test.want):
			t.Errorf("%q: %v, %v, want %s", test.names, p, err, test.want)
		}
	}
}

type syncBuffer struct {
	atomic.Pointer[bytes.Buffer]
}

func (s *syncBuffer) Write(b []byte) (int, error) {
	next := &bytes.Buffer{}
	if old := s.Load(); old != nil {
		next.Write(old.Bytes())
	}
	next.Write(b)
	s.Store(next)
	return len(b), nil
}

func TestKeyLogNeedsConsent(t *testing.T) {
	for _, consent := range []bool{false, true} {
		log := &syncBuffer{}
		pair(t, newAuthority(t), func(c *Config) { c.KeyLog, c.InsecureKeyLog = log, consent })
		if logged := log.Load() != nil; logged != consent {
			t.Errorf("InsecureKeyLog %v: logged is %v", consent, logged)
		}
	}
}

func TestListenSaysWhatToDo(t *testing.T) {
	ca := newAuthority(t)
	good := Config{
		Addr: "127.0.0.1:0", Certificate: issue(t, ca, "x"), Roots: ca.Pool(),
		Handler: func(string, []byte) {},
	}
	taken := start(t, ca, "a", nil)
	for _, test := range []struct {
		change func(*Config)
		want   string
	}{
		{func(c *Config) { c.Addr = taken.addr() }, "choose another port"},
		{func(c *Config) { c.Addr = "nonsense" }, "no UDP address"},
		{func(c *Config) { c.Addr = "192.0.2.1:0" }, "does not have the address"},
		{func(c *Config) { c.Addr = "" }, "set Addr"},
		{func(c *Config) { c.Certificate.Certificate = nil }, "set Certificate"},
		{func(c *Config) { c.Certificate.PrivateKey = nil }, "set Certificate"},
		{func(c *Config) { c.Roots = nil }, "set Roots"},
		{func(c *Config) { c.Handler = nil }, "set Handler"},
		{func(c *Config) { c.MTU = 9000 }, "576 to 8100"},
		{func(c *Config) { c.MinCwnd = -1 }, "MinCwnd"},
		{func(c *Config) { c.QueueBytes = 1 }, "QueueBytes"},
		{func(c *Config) { c.KeepaliveInterval, c.KeepaliveTimeout = time.Second, time.Second }, "KeepaliveTimeout"},
		{func(c *Config) { c.CloseTimeout = -1 }, "negative"},
		{func(c *Config) { c.Peers = []Peer{{Identity: "x"}} }, "no name"},
		{func(c *Config) { c.Peers = []Peer{{Name: "a"}} }, "no identity"},
		{func(c *Config) { c.Peers = []Peer{peerAt("a", ""), peerAt("a", "")} }, "listed twice"},
		{func(c *Config) { c.Peers = []Peer{{Name: "a", Identity: "x"}, {Name: "b", Identity: "X"}} }, "another peer"},
		{func(c *Config) { c.Peers = []Peer{peerAt("a", "192.0.2.1")} }, "bad address"},
		{func(c *Config) { c.Peers = []Peer{peerAt("a", "192.0.2.1:http")} }, "not host:port"},
	} {
		config := good
		test.change(&config)
		e, err := Listen(config)
		if err == nil {
			_ = e.Close()
		}
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("error is %v, want %q", err, test.want)
		}
	}
}
