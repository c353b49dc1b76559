package transport

import (
	"bytes"
	"errors"
	"testing"
	"time"
)

func TestThreeRoutersExchange(t *testing.T) {
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
		routers[name] = start(t, ca, name, peers, func(c *Config) { c.Addr = free[i] })
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

func TestMessageSizes(t *testing.T) {
	a, b := pair(t, newAuthority(t))
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
