package transport

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/net/bpf"

	"github.com/cxtp/cxtp/transport/icmp"
)

// pipe is a raw socket of either family without a kernel: what is put on it is
// read, and what is sent through it waits to be looked at.
type pipe struct {
	in, out chan icmp.Packet
	closed  chan struct{}
}

func newPipe() *pipe {
	return &pipe{in: make(chan icmp.Packet, 100), out: make(chan icmp.Packet, 100), closed: make(chan struct{})}
}

func (l *pipe) read(buf []byte) (icmp.Packet, error) {
	select {
	case p := <-l.in:
		p.Octets = buf[:copy(buf, p.Octets)]
		return p, nil
	case <-l.closed:
		return icmp.Packet{}, net.ErrClosed
	}
}

func (l *pipe) write(from, to netip.Addr, octets []byte) error {
	l.out <- icmp.Packet{From: from, To: to, Octets: bytes.Clone(octets)}
	return nil
}

func (l *pipe) Close() error { close(l.closed); return nil }

var (
	node4, router4 = netip.MustParseAddr("192.0.2.10"), netip.MustParseAddr("192.0.2.1")
	node6, router6 = netip.MustParseAddr("fe80::10%outer"), netip.MustParseAddr("fe80::1%outer")
)

// onLinks is a NodeConn on a link of each family.
func onLinks(t *testing.T, families ...string) (*NodeConn, map[string]*pipe, <-chan NodeMessage) {
	t.Helper()
	got := make(chan NodeMessage, 100)
	n := &NodeConn{raw: map[string]rawSocket{}, handler: func(m NodeMessage) { got <- m }}
	links := map[string]*pipe{}
	for _, family := range families {
		links[family] = newPipe()
		n.raw[family] = links[family]
	}
	n.start()
	t.Cleanup(func() { n.Close() })
	return n, links, got
}

func packet(from, to netip.Addr, message []byte) icmp.Packet {
	return icmp.Packet{From: from, To: to, HopLimit: icmp.HopLimit, Octets: icmp.Append(nil, from, to, message)}
}

func TestICMPExchange(t *testing.T) {
	n, links, got := onLinks(t, family4, family6)
	for family, ends := range map[string][2]netip.Addr{family4: {node4, router4}, family6: {node6, router6}} {
		for _, message := range [][]byte{{1}, bytes.Repeat([]byte{2}, MaxNodeMessage)} {
			links[family].in <- packet(ends[0], ends[1], message)
			m := <-got
			if m.From != netip.AddrPortFrom(ends[0], 0) || m.At != ends[1] || !bytes.Equal(m.Octets, message) {
				t.Errorf("%d octets from %s at %s, want %d from %s at %s", len(m.Octets), m.From, m.At, len(message), ends[0], ends[1])
			}
			if err := n.SendFrom(m.At, m.From, message); err != nil {
				t.Fatal(err)
			}
			back := <-links[family].out
			back.HopLimit = icmp.HopLimit // the real socket's, which the lab looks at
			answer, err := back.Message()
			if err != nil || back.From != ends[1] || back.To != ends[0] || !bytes.Equal(answer, message) {
				t.Errorf("answered %d octets from %s to %s, %v", len(answer), back.From, back.To, err)
			}
		}
	}
}

// TestICMPDiscards gives nothing on that is not a whole message from the link to
// one address of ours. What is of other protocols is not even counted.
func TestICMPDiscards(t *testing.T) {
	n, links, got := onLinks(t, family4, family6)
	change := func(of icmp.Packet, how func(*icmp.Packet)) icmp.Packet { how(&of); return of }
	good := func() icmp.Packet { return packet(node4, router4, []byte("good")) }
	damaged := []icmp.Packet{
		change(good(), func(p *icmp.Packet) { p.HopLimit = 254 }),
		change(good(), func(p *icmp.Packet) { p.HopLimit = 0 }),
		change(good(), func(p *icmp.Packet) { p.Octets[9]++ }),
		change(good(), func(p *icmp.Packet) { p.Octets = p.Octets[:7] }),
		change(good(), func(p *icmp.Packet) { p.From = netip.Addr{} }),
		packet(node4, router4, nil),
		packet(node4, router4, make([]byte, MaxNodeMessage+1)),
		packet(node4, netip.MustParseAddr("224.0.0.1"), []byte("all")),
		packet(node6, netip.MustParseAddr("ff02::2"), []byte("all")),
	}
	foreign := change(good(), func(p *icmp.Packet) { p.Octets[0] = 8 })
	for _, p := range append(damaged, foreign, good()) {
		family := familyOf(p.To)
		links[family].in <- p
		if family == family6 { // the last one shows that those before were looked at
			links[family].in <- packet(node6, router6, []byte("good"))
			<-got
		}
	}
	if m := <-got; string(m.Octets) != "good" || len(got) > 0 {
		t.Errorf("took %q, and %d more", m.Octets, len(got))
	}
	if n := n.DiscardedICMP(); n != uint64(len(damaged)) {
		t.Errorf("counted %d, want %d", n, len(damaged))
	}
}

func TestICMPSendRefuses(t *testing.T) {
	n, links, _ := onLinks(t, family4)
	for name, test := range map[string]struct {
		to   netip.AddrPort
		size int
		want string
	}{
		"empty":      {netip.AddrPortFrom(node4, 0), 0, "0 octets"},
		"too large":  {netip.AddrPortFrom(node4, 0), MaxNodeMessage + 1, "a node takes 1 to 1232"},
		"no IPv6":    {netip.AddrPortFrom(node6, 0), 1, "this host has no IPv6"},
		"no UDP":     {netip.AddrPortFrom(node4, 9), 1, "there is no UDP socket"},
		"no address": {netip.AddrPort{}, 1, "this host has no"},
	} {
		if err := n.Send(test.to, make([]byte, test.size)); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
	udp, _ := listenNode(t, "127.0.0.1:0")
	if err := udp.Send(netip.AddrPortFrom(node4, 0), []byte("x")); err == nil || !strings.Contains(err.Error(), "not switched on") {
		t.Errorf("without ICMP: %v", err)
	}
	if len(links[family4].out) > 0 {
		t.Error("something was sent")
	}
	if n.LocalAddr().IsValid() {
		t.Errorf("without UDP, the UDP address is %s", n.LocalAddr())
	}
}

func TestRawSocketsNotAllowed(t *testing.T) {
	err := explainRaw(&net.OpError{Op: "listen", Err: syscall.EPERM})
	if !errors.Is(err, syscall.EPERM) || !strings.Contains(err.Error(), "CAP_NET_RAW") {
		t.Errorf("%v", err)
	}
	if err := explainRaw(syscall.EMFILE); err != syscall.EMFILE {
		t.Errorf("another error: %v", err)
	}
}

// TestFilter runs the kernel's filter of IPv4 on packets: without the first check,
// of what kind of link address they came to, which the virtual machine cannot do.
// The lab runs both filters in a kernel.
func TestFilter(t *testing.T) {
	vm, err := bpf.NewVM(append(append([]bpf.Instruction{}, filter4[:1]...), filter4[3:]...))
	if err != nil {
		t.Fatal(err)
	}
	message := []byte{0x26, 0x80, 0, 8, 1, 2, 3, 4}
	ip := func(hops byte, options int, change func([]byte)) []byte {
		header := make([]byte, 20+options)
		header[0], header[8] = byte(0x40|len(header)/4), hops
		packet := icmp.Append(header, node4, router4, message)
		change(packet[len(header):])
		return packet
	}
	same := func([]byte) {}
	for name, test := range map[string]struct {
		packet []byte
		passes bool
	}{
		"ours":             {ip(255, 0, same), true},
		"with options":     {ip(255, 40, same), true},
		"not from a link":  {ip(254, 0, same), false},
		"an echo request":  {ip(255, 0, func(b []byte) { b[0] = 8 }), false},
		"another code":     {ip(255, 0, func(b []byte) { b[1] = 1 }), false},
		"another sub-type": {ip(255, 0, func(b []byte) { b[4] = 0 }), false},
		"too short":        {ip(255, 0, same)[:24], false},
		"no packet":        {nil, false},
	} {
		if n, err := vm.Run(test.packet); err != nil || n > 0 != test.passes {
			t.Errorf("%s: %d octets pass, %v", name, n, err)
		}
	}
}
