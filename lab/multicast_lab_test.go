//go:build linux && lab

package lab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features/mld"
	"github.com/cxtp/cxtp/internal/control"
	"github.com/cxtp/cxtp/lab/topology"
)

// Each gateway has a bridge towards the node, and the node an interface at each.
const (
	access     = "access" // the bridge
	port       = "port1"  // of it, towards the node
	streamPort = 7000
	membership = 10 * time.Second // at the second gateway
)

var (
	stream   = netip.MustParseAddr("ff1e::1234")
	segments = [2]netip.Prefix{netip.MustParsePrefix("fd00:5:1::/64"), netip.MustParsePrefix("fd00:5:2::/64")}
)

// listening is a fleet whose node listens to multicast.
type listening struct {
	*fleet
	node netip.Addr // on the first gateway's link
}

// newListening connects the node to a bridge of each gateway, and sends a group into
// both bridges, as a multicast router would that has the group from elsewhere.
func newListening(t *testing.T) *listening {
	l := &listening{fleet: newFleet(t, "lossless"), node: hostIn(segments[0], 7)}
	for i, g := range l.gateways {
		at := func(last byte) topology.Pair {
			return topology.Pair{V4: netip.AddrFrom4([4]byte{10, 5, byte(i), last}), V6: hostIn(segments[i], last)}
		}
		l.must(g.AddBridge(access, at(1)))
		l.must(l.Link(l.MN, g.Name, g.Node, port))
		l.must(g.Join(port, access))
		l.must(l.MN.AddAddress(g.Name, at(7)))
		// The bridge asks who listens, and believes from a tenth of a second on that it knows.
		l.shell(g.Node, "ip", "link", "set", access, "type", "bridge", "mcast_query_response_interval", "10", "mcast_querier", "1")
		l.reconfigure(g, "[[peer]]", fmt.Sprintf("[multicast]\ninterfaces = [%q]\n[[peer]]\nmulticast = %q", access, segments[1-i]))
		l.send(g)
	}
	l.shell(l.gateways[1].Node, "ip", "link", "set", access, "type", "bridge", "mcast_membership_interval", fmt.Sprint(membership.Milliseconds()/10))
	return l
}

// hostIn is an address of a segment.
func hostIn(segment netip.Prefix, last byte) netip.Addr {
	a := segment.Addr().As16()
	a[15] = last
	return netip.AddrFrom16(a)
}

// send sends to the group into a gateway's bridge, 50 times a second, to the end.
func (l *listening) send(g *gateway) {
	var conn *net.UDPConn
	l.must(g.Do(func() error {
		on, err := net.InterfaceByName(access)
		if err != nil {
			return err
		}
		if conn, err = net.ListenUDP("udp6", nil); err != nil {
			return err
		}
		raw, err := conn.SyscallConn()
		if err != nil {
			return err
		}
		failed := raw.Control(func(fd uintptr) {
			err = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MULTICAST_IF, on.Index)
		})
		return errors.Join(failed, err)
	}))
	every := time.NewTicker(20 * time.Millisecond)
	l.t.Cleanup(func() {
		every.Stop()
		conn.Close()
	})
	go func() {
		for range every.C {
			if _, err := conn.WriteToUDPAddrPort([]byte("stream"), netip.AddrPortFrom(stream, streamPort)); errors.Is(err, net.ErrClosed) {
				return
			}
		}
	}()
}

// wire is what passes on one interface of the node.
type wire struct {
	file *os.File

	mu       sync.Mutex
	arrived  int // of the stream
	reported int // MLD messages of the node's about it
}

// tap watches one of the node's interfaces.
func (l *listening) tap(name string) *wire {
	w := &wire{}
	l.must(l.MN.Do(func() error {
		on, err := net.InterfaceByName(name)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		w.file = os.NewFile(uintptr(fd), name)
		const all = unix.ETH_P_ALL
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: all<<8&0xff00 | all>>8, Ifindex: on.Index})
	}))
	raw, err := w.file.SyscallConn()
	l.must(err)
	go w.read(raw)
	l.t.Cleanup(func() { w.file.Close() })
	return w
}

// read counts frames until the end.
func (w *wire) read(raw syscall.RawConn) {
	frame := make([]byte, 2048)
	for {
		var n int
		var from unix.Sockaddr
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			n, from, failed = unix.Recvfrom(int(fd), frame, 0)
			return failed != unix.EAGAIN
		})
		if err != nil || failed != nil {
			return
		}
		link, ok := from.(*unix.SockaddrLinklayer)
		w.count(frame[:n], ok && link.Pkttype == unix.PACKET_OUTGOING)
	}
}

// count looks for the group behind an Ethernet header of 14 octets and one of IPv6.
func (w *wire) count(frame []byte, outgoing bool) {
	if len(frame) <= 54 || frame[12] != 0x86 || frame[13] != 0xdd {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	group := stream.As16()
	switch next := frame[20]; {
	case next == unix.IPPROTO_UDP && [16]byte(frame[38:54]) == group:
		w.arrived++
	case outgoing && bytes.Contains(frame[54:], group[:]):
		w.reported++ // nothing else of the node's names it
	}
}

func (w *wire) seen() (arrived, reported int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.arrived, w.reported
}

// silent waits until the stream does not come any more: none of ten packets.
func (l *listening) silent(w *wire) {
	l.t.Helper()
	if !comes(func() bool {
		before, _ := w.seen()
		time.Sleep(200 * time.Millisecond) // nothing tells of packets that do not come
		after, _ := w.seen()
		return after == before
	}) {
		l.t.Fatal("the stream comes where nobody listens")
	}
}

// flows waits until the stream comes because of something that is done: it may have
// ended when that has.
func (l *listening) flows(w *wire, because func()) {
	l.t.Helper()
	before, _ := w.seen()
	because()
	l.await(func() bool { after, _ := w.seen(); return after > before+2 })
}

// join has the node listen on one of its interfaces.
func (l *listening) join(name string) {
	l.t.Helper()
	var conn *net.UDPConn
	l.must(l.MN.Do(func() error {
		on, err := net.InterfaceByName(name)
		if err == nil {
			conn, err = net.ListenMulticastUDP("udp6", on, &net.UDPAddr{IP: stream.AsSlice(), Port: streamPort})
		}
		return err
	}))
	l.t.Cleanup(func() { conn.Close() })
}

// knock makes the first gateway know where the node is: it has to answer it.
func (l *listening) knock() {
	l.must(l.MN.Do(func() error {
		conn, err := net.DialUDP("udp6", &net.UDPAddr{IP: l.node.AsSlice()}, &net.UDPAddr{IP: hostIn(segments[0], 1).AsSlice(), Port: 9})
		if err != nil {
			return err
		}
		defer conn.Close()
		_, err = conn.Write([]byte("here"))
		return err
	}))
}

// groups are what a daemon says that the node of a session listens to.
func (l *listening) groups(at *gateway, id cxtp.SessionID) []mld.View {
	l.t.Helper()
	var all []control.Session
	out, err := l.cxtp(at, "sessions", "--json")
	l.must(err)
	l.must(json.Unmarshal([]byte(out), &all))
	for _, s := range all {
		if s.Session == id {
			return s.Groups
		}
	}
	return nil
}

// TestMulticast hands a node over that listens to a group, alone and beside IPsec SAs:
// the group is there on the new link before the node has reported it there, and ends
// by its timer since it never does.
func TestMulticast(t *testing.T) {
	for name, withSAs := range map[string]bool{"alone": false, "beside SAs": true} {
		t.Run(name, func(t *testing.T) {
			l, id := newListening(t), cxtp.SessionID{0xab}
			first, second := l.gateways[0], l.gateways[1]
			here, there := l.tap(first.Name), l.tap(second.Name)
			l.silent(here)
			l.silent(there)
			l.flows(here, func() { l.join(first.Name) })
			l.knock()
			s := control.NewSession{Session: id, Previous: l.node}
			if withSAs {
				esp := linkOf(daemonCase)
				l.connectNode(esp)
				s.Identity, s.Inner, s.SAs = "mn.example", []netip.Prefix{full(esp.inner)}, []control.NewSA{esp.manual(true), esp.manual(false)}
			}
			text, err := json.Marshal(s)
			l.must(err)
			_, err = l.cxtp(first, "install", l.write("session.json", text))
			l.must(err)
			listens := func(v mld.View) bool { return v.Group == stream && v.Interface == access && v.Left > 0 }
			l.await(func() bool { return slices.ContainsFunc(l.groups(first, id), listens) })

			l.silent(there)
			l.flows(there, func() { l.handover(first, id) })
			l.stands(first, id, "gone")
			l.stands(second, id, "active")
			if _, reported := there.seen(); reported > 0 {
				t.Errorf("the node has reported the group %d times on the new link", reported)
			}
			if got := l.groups(second, id); len(got) > 0 && (got[0].Left > membership || got[0].Prefix != segments[1]) {
				t.Errorf("the second gateway says %+v", got)
			}
			l.silent(there)
			l.stop()
		})
	}
}
