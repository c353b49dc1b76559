package transport

import (
	"bytes"
	"errors"
	"net/netip"
	"testing"
	"time"
)

type fromNode struct {
	from netip.AddrPort
	msg  []byte
}

func listenNode(t *testing.T, addr string) (*NodeConn, <-chan fromNode) {
	t.Helper()
	got := make(chan fromNode, 16)
	n, err := ListenNode(addr, func(from netip.AddrPort, msg []byte) { got <- fromNode{from, msg} })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Close() })
	return n, got
}

func expectNode(t *testing.T, got <-chan fromNode, from netip.AddrPort, msg []byte) {
	t.Helper()
	select {
	case m := <-got:
		if m.from != from || !bytes.Equal(m.msg, msg) {
			t.Errorf("%d octets from %v, want %d from %v", len(m.msg), m.from, len(msg), from)
		}
	case <-time.After(patience):
		t.Fatal("no datagram")
	}
}

func TestNodeExchange(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		ar, atRouter := listenNode(t, addr)
		mn, atNode := listenNode(t, addr)
		// Nobody is at this port: whatever the network answers must not matter.
		gone, _ := listenNode(t, addr)
		nowhere := gone.LocalAddr()
		_ = gone.Close()
		for range 10 {
			_ = ar.Send(nowhere, []byte("anybody?"))
		}
		for _, msg := range [][]byte{{1}, bytes.Repeat([]byte{2}, MaxNodeMessage)} {
			if err := mn.Send(ar.LocalAddr(), msg); err != nil {
				t.Fatal(err)
			}
			expectNode(t, atRouter, mn.LocalAddr(), msg)
			if err := ar.Send(mn.LocalAddr(), msg); err != nil {
				t.Fatal(err)
			}
			expectNode(t, atNode, ar.LocalAddr(), msg)
		}
	}
}

func TestNodeAddressesAreNormal(t *testing.T) {
	dual, got := listenNode(t, "[::]:0")
	mn, back := listenNode(t, "127.0.0.1:0")
	to := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), dual.LocalAddr().Port())
	if err := mn.Send(to, []byte("four")); err != nil {
		t.Fatal(err)
	}
	expectNode(t, got, mn.LocalAddr(), []byte("four"))
	if err := dual.Send(mn.LocalAddr(), []byte("back")); err != nil {
		t.Fatal(err)
	}
	expectNode(t, back, to, []byte("back"))
}

func TestNodeBounds(t *testing.T) {
	ar, got := listenNode(t, "127.0.0.1:0")
	mn, _ := listenNode(t, "127.0.0.1:0")
	for _, size := range []int{0, MaxNodeMessage + 1} {
		if err := mn.Send(ar.LocalAddr(), make([]byte, size)); !errors.Is(err, ErrMessageSize) {
			t.Errorf("%d octets: %v, want ErrMessageSize", size, err)
		}
		// Past the check of the sender, the receiver drops them.
		if _, err := mn.udp.WriteToUDPAddrPort(make([]byte, size), ar.LocalAddr()); err != nil {
			t.Fatal(err)
		}
	}
	if err := mn.Send(ar.LocalAddr(), []byte("next")); err != nil {
		t.Fatal(err)
	}
	expectNode(t, got, mn.LocalAddr(), []byte("next"))
	if err := mn.Close(); err != nil {
		t.Fatal(err)
	}
	if err := mn.Send(ar.LocalAddr(), []byte("x")); !errors.Is(err, ErrClosed) {
		t.Errorf("send after close: %v, want ErrClosed", err)
	}
	if _, err := ListenNode("127.0.0.1:0", nil); err == nil {
		t.Error("a missing handler is accepted")
	}
}
