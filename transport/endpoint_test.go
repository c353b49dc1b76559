package transport

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"
)

func TestThreeRoutersExchange(t *testing.T) { onCarriers(t, threeRoutersExchange) }

func threeRoutersExchange(t *testing.T, on func(*Config)) {
	ca := newAuthority(t)
	free := reserve(t, 3)
	names := []string{"a", "b", "c"}
	routers := map[string]*router{}
	for i, name := range names {
		var peers []Peer
		for j, other := range names {
			if j != i {
				peers = append(peers, peerAt(other, free[j]))
			}
		}
		routers[name] = start(t, ca, name, peers, on, func(c *Config) { c.Addr = free[i] })
	}
	for from, r := range routers {
		for to := range routers {
			if to != from {
				r.send(to, from+" to "+to)
			}
		}
	}
	for to, r := range routers {
		got := map[string]string{}
		for range 2 {
			m := r.receive()
			got[m.peer] = string(m.msg)
		}
		for from := range routers {
			if want := from + " to " + to; from != to && got[from] != want {
				t.Errorf("%s received %q from %s, want %q", to, got[from], from, want)
			}
		}
	}
}

func TestMessageSizes(t *testing.T) { onCarriers(t, messageSizes) }

func messageSizes(t *testing.T, on func(*Config)) {
	a, b := couple(t, on)
	for _, size := range []int{1, 1399, 1400, 8192, MaxMessage} {
		msg := bytes.Repeat([]byte{byte(size)}, size)
		msg[0] ^= 0xff
		if err := a.Send("b", msg, time.Time{}); err != nil {
			t.Fatal(err)
		}
		if got := b.receive(); !bytes.Equal(got.msg, msg) {
			t.Errorf("%d octets arrived as %d others", size, len(got.msg))
		}
	}
	for _, size := range []int{0, MaxMessage + 1} {
		if err := a.Send("b", make([]byte, size), time.Time{}); !errors.Is(err, ErrMessageSize) {
			t.Errorf("%d octets: %v, want ErrMessageSize", size, err)
		}
	}
	if err := a.Send("z", []byte("x"), time.Time{}); !errors.Is(err, ErrUnknownPeer) {
		t.Errorf("%v, want ErrUnknownPeer", err)
	}
}

func TestAddressFamilies(t *testing.T) {
	for _, test := range []struct{ listen, dial, from string }{
		{"[::1]:0", "::1", "[::1]:0"},
		{"[::]:0", "127.0.0.1", "127.0.0.1:0"}, // IPv4 reaches a socket of both families
		{"127.0.0.1:0", "127.0.0.1", "[::]:0"}, // and leaves one
		{"127.0.0.1:0", "localhost", "127.0.0.1:0"},
	} {
		ca := newAuthority(t)
		b := start(t, ca, "b", []Peer{peerAt("a", "")}, func(c *Config) { c.Addr = test.listen })
		to := net.JoinHostPort(test.dial, strconv.Itoa(int(b.LocalAddr().Port())))
		a := start(t, ca, "a", []Peer{peerAt("b", to)}, func(c *Config) { c.Addr = test.from })
		for _, remote := range []netip.AddrPort{a.waitUp("b").Remote, b.waitUp("a").Remote} {
			if remote.Addr().Is4In6() {
				t.Errorf("%+v: remote is %v", test, remote)
			}
		}
		a.send("b", "ping")
		b.expect("a", "ping")
		b.send("a", "pong")
		a.expect("b", "pong")
	}
}

func TestStats(t *testing.T) { onCarriers(t, stats) }

func stats(t *testing.T, on func(*Config)) {
	a, b := couple(t, on)
	a.send("b", "12345")
	a.send("b", "123")
	b.receive()
	b.receive()
	if s := a.stats("b"); s.State != Up || s.MessagesSent != 2 || s.OctetsSent != 8 || s.Handshakes != 1 || s.Remote != b.LocalAddr() {
		t.Errorf("sender's stats %+v", s)
	}
	if s := b.stats("a"); s.State != Up || s.MessagesReceived != 2 || s.OctetsReceived != 8 || s.Remote != a.LocalAddr() {
		t.Errorf("receiver's stats %+v", s)
	}
	_ = b.Close()
	a.waitDown("b", ErrPeerLeft)
	eventually(t, "a dials", func() bool { return a.stats("b").State == Dialing })
}
