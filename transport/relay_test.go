package transport

import (
	"net/netip"
	"sync/atomic"
	"testing"
)

// relay is a network between two routers that can swallow everything. One
// dials front; the datagrams reach the other from a second socket, and back.
type relay struct {
	front, back *udpSocket
	client      atomic.Pointer[netip.AddrPort]
	blackHole   atomic.Bool
}

func newRelay(t *testing.T, target netip.AddrPort) *relay {
	t.Helper()
	r := &relay{}
	var err error
	if r.front, err = listenUDP("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	if r.back, err = listenUDP("127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{}, 2)
	go func() {
		r.front.readDatagrams(maxDatagram, func(from netip.AddrPort, _ arrival, datagram []byte) {
			r.client.Store(&from)
			r.forward(r.back, target, datagram)
		})
		done <- struct{}{}
	}()
	go func() {
		r.back.readDatagrams(maxDatagram, func(_ netip.AddrPort, _ arrival, datagram []byte) {
			if client := r.client.Load(); client != nil {
				r.forward(r.front, *client, datagram)
			}
		})
		done <- struct{}{}
	}()
	t.Cleanup(func() {
		_ = r.front.Close()
		_ = r.back.Close()
		<-done
		<-done
	})
	return r
}

func (r *relay) forward(conn *udpSocket, to netip.AddrPort, datagram []byte) {
	if !r.blackHole.Load() {
		_, _ = conn.WriteToUDPAddrPort(datagram, to)
	}
}

func (r *relay) addr() string { return r.front.localAddr().String() }
