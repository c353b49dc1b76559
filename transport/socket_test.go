package transport

import (
	"net/netip"
	"testing"
	"time"

	"golang.org/x/net/ipv6"
)

// TestNodeIsAnsweredFromWhereItAsked has a router at every address of the host: what
// a node asked at one of them is answered from that one.
func TestNodeIsAnsweredFromWhereItAsked(t *testing.T) {
	for _, test := range []struct{ listen, node, asked string }{
		{"0.0.0.0:0", "127.0.0.1:0", "127.0.0.1"},
		{"0.0.0.0:0", "127.0.0.1:0", "127.0.0.2"},
		{"[::]:0", "127.0.0.1:0", "127.0.0.2"},
		{"[::]:0", "[::1]:0", "::1"},
	} {
		got := make(chan NodeMessage, 1)
		ar, err := ListenNodes(NodeConfig{Listen: test.listen, Handler: func(m NodeMessage) { got <- m }})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = ar.Close() })
		mn, atNode := listenNode(t, test.node)
		asked := netip.MustParseAddr(test.asked)
		to := netip.AddrPortFrom(asked, ar.LocalAddr().Port())
		if err := mn.Send(to, []byte("ask")); err != nil {
			t.Fatal(err)
		}
		select {
		case m := <-got:
			if m.At != asked || m.From != mn.LocalAddr() {
				t.Errorf("%s: asked by %s at %s, want %s", test.listen, m.From, m.At, asked)
			}
			if err := ar.SendFrom(m.At, m.From, []byte("answer")); err != nil {
				t.Fatal(err)
			}
		case <-time.After(patience):
			t.Fatal("no request")
		}
		expectNode(t, atNode, to, []byte("answer"))
	}
}

// TestNodeIsAnsweredFromElsewhere has an address that is not the router's any more,
// or of the other family: the system's choice is better than silence.
func TestNodeIsAnsweredFromElsewhere(t *testing.T) {
	ar, _ := listenNode(t, "[::]:0")
	for node, gone := range map[string][]string{
		"127.0.0.1:0": {"192.0.2.1", "2001:db8::1"},
		"[::1]:0":     {"192.0.2.1", "2001:db8::1", "fe80::1%nolink"},
	} {
		mn, atNode := listenNode(t, node)
		from := netip.AddrPortFrom(mn.LocalAddr().Addr(), ar.LocalAddr().Port())
		for _, addr := range gone {
			if err := ar.SendFrom(netip.MustParseAddr(addr), mn.LocalAddr(), []byte(addr)); err != nil {
				t.Fatalf("from %s to %s: %v", addr, node, err)
			}
			expectNode(t, atNode, from, []byte(addr))
		}
	}
}

// TestRouterIsAnsweredFromWhereItDialed has a router at every address of its host:
// one that dials it at one of them is answered from that one.
func TestRouterIsAnsweredFromWhereItDialed(t *testing.T) {
	for _, wildcard := range []string{"0.0.0.0:0", "[::]:0"} {
		ca := newAuthority(t)
		b := start(t, ca, "b", []Peer{peerAt("a", "")}, func(c *Config) { c.Addr = wildcard })
		at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.2"), b.LocalAddr().Port())
		a := start(t, ca, "a", []Peer{peerAt("b", at.String())})
		a.waitUp("b")
		b.waitUp("a")
		a.send("b", "ask")
		b.expect("a", "ask")
		b.send("a", "answer")
		a.expect("b", "answer")
	}
}

// TestDestination reads what the system says of a datagram.
func TestDestination(t *testing.T) {
	of6 := func(addr string) []byte {
		return (&ipv6.ControlMessage{Src: netip.MustParseAddr(addr).AsSlice()}).Marshal()
	}
	for _, test := range []struct {
		controls []byte
		want     netip.Addr
	}{
		{of6("2001:db8::1"), netip.MustParseAddr("2001:db8::1")},
		{of6("fe80::1"), netip.MustParseAddr("fe80::1")}, // its link is not told
		{of6("ff02::1"), netip.Addr{}},
		{of6("2001:db8::1")[:9], netip.Addr{}},
		{nil, netip.Addr{}},
	} {
		if got := arrival(test.controls).destination(); got != test.want {
			t.Errorf("%x: %s, want %s", test.controls, got, test.want)
		}
	}
}
