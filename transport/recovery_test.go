package transport

import (
	"errors"
	"strings"
	"testing"
	"time"
)

// The peers here know each other's addresses, or only one does: then it is the
// one that dials.
func TestRestart(t *testing.T) {
	for _, test := range []struct {
		name         string
		aKnows       bool
		bKnows       bool
		crashed      string
		reasonAtRest error // what the survivor says
	}{
		{"both dial", true, true, "b", ErrPeerReplaced},
		{"the one that dials restarts", true, false, "a", ErrPeerReplaced},
		{"the one that accepts restarts", true, false, "b", ErrPeerDead},
	} {
		t.Run(test.name, func(t *testing.T) {
			ca := newAuthority(t)
			addr := map[string]string{}
			for i, free := range reserve(t, 2) {
				addr[string(rune('a'+i))] = free
			}
			known := func(yes bool, name string) string {
				if yes {
					return addr[name]
				}
				return ""
			}
			begin := func(name string) *router {
				other, knows := "b", test.aKnows
				if name == "b" {
					other, knows = "a", test.bKnows
				}
				return start(t, ca, name, []Peer{peerAt(other, known(knows, other))},
					func(c *Config) { c.Addr = addr[name] })
			}
			routers := map[string]*router{"a": begin("a"), "b": begin("b")}
			routers["a"].waitUp("b")
			routers["b"].waitUp("a")

			survivor := map[string]string{"a": "b", "b": "a"}[test.crashed]
			routers[test.crashed].crash()
			began := time.Now()
			routers[test.crashed] = begin(test.crashed)
			rest, again := routers[survivor], routers[test.crashed]
			rest.waitDown(test.crashed, test.reasonAtRest)
			rest.waitUp(test.crashed)
			again.waitUp(survivor)
			t.Logf("recovered in %v", time.Since(began))

			rest.send(test.crashed, "to the restarted")
			again.expect(survivor, "to the restarted")
			again.send(survivor, "from the restarted")
			rest.expect(test.crashed, "from the restarted")
		})
	}
}

// Two routers with one certificate take their peer from each other. They do so more and
// more slowly, and each is told why.
func TestTwoOfOneName(t *testing.T) {
	ca := newAuthority(t)
	b := start(t, ca, "b", []Peer{peerAt("a", "")})
	first := start(t, ca, "a", []Peer{peerAt("b", b.addr())})
	first.waitUp("b")
	second := start(t, ca, "a", []Peer{peerAt("b", b.addr())})
	first.waitDown("b", errReplacedThere)
	second.waitDown("b", errReplacedThere)
	for _, r := range []*router{first, second} {
		eventually(t, "longer pauses", func() bool { return r.byName["b"].pausing() >= 4*firstPause })
	}
}

// Two routers that dial each other at the same moment must end with one
// association that both use.
func TestBothDial(t *testing.T) { onCarriers(t, bothDial) }

func bothDial(t *testing.T, on func(*Config)) {
	ca := newAuthority(t)
	for range 20 {
		free := reserve(t, 2)
		at := func(i int) func(*Config) { return func(c *Config) { c.Addr = free[i] } }
		a := start(t, ca, "a", []Peer{peerAt("b", free[1])}, on, at(0))
		b := start(t, ca, "b", []Peer{peerAt("a", free[0])}, on, at(1))
		a.waitUp("b")
		b.waitUp("a")
		a.send("b", "ping")
		b.expect("a", "ping")
		b.send("a", "pong")
		a.expect("b", "pong")
		if n := a.stats("b").Handshakes + b.stats("a").Handshakes; n != 2 {
			t.Errorf("%d handshakes at both ends together, want 2", n)
		}
		_ = a.Close()
		_ = b.Close()
	}
}

func TestSilentPeerIsDead(t *testing.T) {
	ca := newAuthority(t)
	quick := func(c *Config) {
		c.KeepaliveInterval, c.KeepaliveTimeout = 50*time.Millisecond, 400*time.Millisecond
		c.HandshakeTimeout = 500 * time.Millisecond
	}
	b := start(t, ca, "b", []Peer{peerAt("a", "")}, quick)
	net := newRelay(t, b.LocalAddr())
	a := start(t, ca, "a", []Peer{peerAt("b", net.addr())}, quick)
	a.waitUp("b")
	b.waitUp("a")

	net.blackHole.Store(true)
	a.waitDown("b", ErrPeerDead)
	b.waitDown("a", ErrPeerDead)
	a.send("b", "waits for the network")
	net.blackHole.Store(false)

	a.waitUp("b")
	b.waitUp("a")
	b.expect("a", "waits for the network")
}

// Idle peers hear each other's keepalives, and the handler hears none of them.
func TestKeepalivesKeepUp(t *testing.T) { onCarriers(t, keepalivesKeepUp) }

func keepalivesKeepUp(t *testing.T, on func(*Config)) {
	a, b := couple(t, on, func(c *Config) {
		c.KeepaliveInterval, c.KeepaliveTimeout = 5*time.Millisecond, 100*time.Millisecond
	})
	s := b.byName["a"].current()
	heard := func() uint64 { return s.heard() }
	before := heard()
	eventually(t, "many keepalives", func() bool { return heard() > before+200 })
	a.send("b", "the only message")
	b.expect("a", "the only message")
	if got := b.stats("a").MessagesReceived; got != 1 {
		t.Errorf("%d messages received, want 1", got)
	}
}

func TestCloseDeliversAndTells(t *testing.T) { onCarriers(t, closeDeliversAndTells) }

func closeDeliversAndTells(t *testing.T, on func(*Config)) {
	a, b := couple(t, on, func(c *Config) { c.CloseTimeout = patience })
	const count = 100
	filler := strings.Repeat(" ", 8000) // more than SCTP takes at once
	for i := range count {
		a.send("b", numbered(i)+filler)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	got := map[string]bool{}
	for range count {
		got[strings.TrimSpace(string(b.receive().msg))] = true
	}
	for i := range count {
		if !got[numbered(i)] {
			t.Errorf("%s is missing", numbered(i))
		}
	}
	a.waitDown("b", ErrClosed)
	b.waitDown("a", ErrPeerLeft)
	if err := a.Send("b", []byte("x"), time.Time{}); !errors.Is(err, ErrClosed) {
		t.Errorf("send after close: %v, want ErrClosed", err)
	}
}

func TestCloseLeavesNoGoroutine(t *testing.T) {
	eventually(t, "a clean start", func() bool { return len(goroutines()) == 0 })
	ca := newAuthority(t)
	a, b := pair(t, ca)
	stranger := start(t, newAuthority(t), "c", []Peer{peerAt("b", b.addr())},
		func(c *Config) { c.Roots = ca.Pool() })
	nobody := start(t, ca, "d", []Peer{peerAt("e", reserve(t, 1)[0])})
	wait(b, func(PeerRefused) bool { return true })
	for _, r := range []*router{stranger, nobody, a, b} {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	var left []string
	eventually(t, "no goroutine left", func() bool {
		if left = goroutines(); len(left) > 0 && testing.Verbose() {
			t.Logf("%d left, first:\n%s", len(left), left[0])
		}
		return len(left) == 0
	})
}
