package demo

import (
	"context"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestSteering changes the host's route the way a gateway's hook does, and
// looks where the packets go.
func TestSteering(t *testing.T) {
	p := newPlace(false, 0)
	var insides [2]*net.UDPConn
	h := &host{inner: p.host, up: newFlow(), down: newFlow(), steered: func(int, time.Time) {}}
	for i := range insides {
		conn, err := p.listen()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		insides[i], h.insides[i] = conn, localAddr(conn)
	}
	var err error
	if h.conn, err = p.listen(); err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(t.TempDir(), "host.sock")
	if h.steering, err = net.Listen("unix", socket); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		h.run(ctx)
		close(ended)
	}()
	defer func() { cancel(); <-ended }()

	h.talkTo(p.node, 0)
	inner := netip.PrefixFrom(p.node.Addr(), 32).String()
	hook := func(action string, inside netip.AddrPort) error {
		t.Setenv("CXTP_ACTION", action)
		t.Setenv("CXTP_INNER", inner)
		t.Setenv("CXTP_INSIDE", inside.String())
		return steerHook(socket)
	}
	if err := hook("steer", netip.MustParseAddrPort("127.0.0.1:1")); err == nil || !strings.Contains(err.Error(), "no route") {
		t.Fatalf("steering to a stranger: %v", err)
	}
	if err := hook("dance", h.insides[1]); err == nil {
		t.Fatal("an unknown action was carried out")
	}
	inner = "198.51.100.1/32"
	if err := hook("steer", h.insides[1]); err != nil {
		t.Fatalf("steering another session: %v", err)
	}
	if h.down.sent() != 0 || h.gateway() != 0 {
		t.Fatalf("%d packets were sent for nothing, the route is to %d", h.down.sent(), h.gateway())
	}
	inner = "2001:db8::/32 " + netip.PrefixFrom(p.node.Addr(), 32).String()
	if err := hook("steer", h.insides[1]); err != nil {
		t.Fatal(err)
	}
	h.send()
	for i, want := range []uint64{burstPackets, burstPackets + 1} {
		buf := make([]byte, maxDatagram)
		for range want {
			n, err := insides[i].Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			if _, ok := packetNumber(buf[:n]); !ok {
				t.Fatal("not an inner packet")
			}
		}
	}
	if got := h.down.sent(); got != 2*burstPackets+1 {
		t.Fatalf("%d packets sent, want %d", got, 2*burstPackets+1)
	}
}
