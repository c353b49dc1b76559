//go:build linux && lab

package route_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/cxtp/cxtp/internal/route"
	"github.com/cxtp/cxtp/lab/topology"
	"golang.org/x/sys/unix"
)

// net1 is a network whose two gateways share an address that sg1 holds.
type net1 struct {
	*topology.Topology
	t        *testing.T
	shared   topology.Pair
	folder   string
	first    *route.Forwards // of sg1
	arrivals map[string]chan string
}

func newNet(t *testing.T) *net1 {
	t.Helper()
	lab, err := topology.New()
	if err != nil {
		t.Fatal(err)
	}
	n := &net1{Topology: lab, t: t, shared: topology.Virtual, folder: t.TempDir(), arrivals: map[string]chan string{}}
	t.Cleanup(func() { lab.Close() })
	for _, sg := range []*topology.Node{lab.SG1, lab.SG2} {
		n.must(sg.Do(func() error {
			a, err := route.NewAddresses(topology.Outer, n.both())
			if err != nil {
				return err
			}
			t.Cleanup(a.Close)
			if sg == lab.SG1 {
				for _, ip := range n.both() {
					if err := a.Take(ip); err != nil {
						return err
					}
				}
			}
			return nil
		}))
		n.arrivals[sg.Name] = make(chan string, 64)
		n.listen(sg)
	}
	n.first = n.forwards(lab.SG1, "sg2", topology.SG2)
	return n
}

func (n *net1) must(err error) {
	n.t.Helper()
	if err != nil {
		n.t.Fatal(err)
	}
}

func (n *net1) both() []netip.Addr { return []netip.Addr{n.shared.V4, n.shared.V6} }

func (n *net1) forwards(at *topology.Node, peer string, where topology.Pair) (f *route.Forwards) {
	n.t.Helper()
	n.must(at.Do(func() (err error) {
		f, err = route.OpenForwards(route.ForwardConfig{On: topology.Outer, File: filepath.Join(n.folder, at.Name, "forwards"),
			Shared: n.both(), Neighbours: []route.Neighbour{{Name: peer, Addrs: []netip.Addr{where.V4, where.V6}}}})
		return err
	}))
	n.t.Cleanup(func() { f.Close() })
	return f
}

// listen takes what arrives at a gateway for the shared address: ESP, AH, and UDP to
// ports 500 and 4500. Each datagram ends with its name.
func (n *net1) listen(at *topology.Node) {
	arrived := n.arrivals[at.Name]
	read := func(c net.PacketConn) {
		b := make([]byte, 2048)
		for {
			size, _, err := c.ReadFrom(b)
			if err != nil {
				return
			}
			if size > 8 {
				arrived <- string(b[size-8 : size])
			}
		}
	}
	for _, ip := range n.both() {
		for _, protocol := range []int{unix.IPPROTO_ESP, unix.IPPROTO_AH} {
			n.must(at.Do(func() error {
				c, err := net.ListenIP(fmt.Sprintf("ip%s:%d", version(ip), protocol), &net.IPAddr{IP: ip.AsSlice()})
				if err == nil {
					n.t.Cleanup(func() { c.Close() })
					go read(c)
				}
				return err
			}))
		}
		for _, port := range []uint16{500, 4500} {
			n.must(at.Do(func() error {
				c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(ip, port)))
				if err == nil {
					n.t.Cleanup(func() { c.Close() })
					go read(c)
				}
				return err
			}))
		}
	}
}

func version(ip netip.Addr) string {
	if ip.Is4() {
		return "4"
	}
	return "6"
}

// packet is something that the node sends to the shared address.
type packet struct {
	ipv6     bool
	protocol int    // IPPROTO_ESP, _AH or _UDP
	spi      uint32 // 0 with UDP is IKE
	from, to uint16 // UDP ports
}

var sent struct {
	sync.Mutex
	n int
}

// goesTo sends a packet and says which gateways it arrived at.
func (n *net1) goesTo(p packet) string {
	n.t.Helper()
	sent.Lock()
	sent.n++
	name := fmt.Sprintf("%08d", sent.n)
	sent.Unlock()
	b := make([]byte, 16)
	if p.protocol == unix.IPPROTO_AH {
		binary.BigEndian.PutUint32(b[4:], p.spi)
	} else {
		binary.BigEndian.PutUint32(b, p.spi)
	}
	b = append(b, name...)
	local, remote := topology.MN.Of(p.ipv6), n.shared.Of(p.ipv6)
	n.must(n.MN.Do(func() error {
		if p.protocol == unix.IPPROTO_UDP {
			c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(local, p.from)), net.UDPAddrFromAddrPort(netip.AddrPortFrom(remote, p.to)))
			if err != nil {
				return err
			}
			_, err = c.Write(b)
			return errors.Join(err, c.Close())
		}
		c, err := net.DialIP(fmt.Sprintf("ip%s:%d", version(remote), p.protocol), &net.IPAddr{IP: local.AsSlice()}, &net.IPAddr{IP: remote.AsSlice()})
		if err != nil {
			return err
		}
		_, err = c.Write(b)
		return errors.Join(err, c.Close())
	}))
	timeout := time.After(time.Minute)
	for {
		select {
		case got := <-n.arrivals["sg1"]:
			if got == name {
				return "sg1"
			}
		case got := <-n.arrivals["sg2"]:
			if got == name {
				return "sg2"
			}
		case <-timeout:
			return "nowhere"
		}
	}
}

// expect sends a packet and wants it at a gateway.
func (n *net1) expect(p packet, at string) {
	n.t.Helper()
	if got := n.goesTo(p); got != at {
		n.t.Errorf("%+v arrived %s, want %s", p, got, at)
	}
}

func (n *net1) flow(p packet) route.Flow {
	f := route.Flow{Local: netip.AddrPortFrom(n.shared.Of(p.ipv6), p.to), Remote: netip.AddrPortFrom(topology.MN.Of(p.ipv6), p.from),
		Protocol: uint8(p.protocol), SPI: p.spi}
	if p.protocol == unix.IPPROTO_UDP {
		f.Protocol = unix.IPPROTO_ESP
	}
	return f
}

// TestForward throws what a session's width says to the other gateway, and nothing
// else.
func TestForward(t *testing.T) {
	n := newNet(t)
	for _, ipv6 := range []bool{false, true} {
		for _, p := range []packet{
			{ipv6, unix.IPPROTO_ESP, 0xc0000001, 0, 0},
			{ipv6, unix.IPPROTO_AH, 0xc0000001, 0, 0},
			{ipv6, unix.IPPROTO_UDP, 0xc0000001, 4500, 4500},
		} {
			another, same := p, p
			another.spi, same.spi = 0xc0000101, 0xc0000002 // in the same hash bucket, and not
			ike := packet{ipv6, unix.IPPROTO_UDP, 0, p.from, p.to}
			if p.protocol != unix.IPPROTO_UDP {
				ike.from, ike.to = 500, 500
			}
			elsewhere := packet{ipv6, unix.IPPROTO_UDP, 0, 1500, 500}
			t.Run(fmt.Sprintf("protocol %d ipv6 %v", p.protocol, ipv6), func(t *testing.T) {
				n.t = t
				n.expect(p, "sg1")
				for _, c := range []struct {
					width                   route.Width
					another, ike, elsewhere string
				}{
					{route.BySPI, "sg1", "sg1", "sg1"},
					{route.ByPort, "sg2", "sg2", "sg1"},
					{route.ByAddress, "sg2", "sg2", "sg2"},
					{route.ByLocal, "sg2", "sg2", "sg2"},
				} {
					if c.width == route.ByPort && p.protocol != unix.IPPROTO_UDP {
						continue // there is none
					}
					n.must(n.first.Forward(t.Context(), route.Forward{ID: "a", To: "sg2", Width: c.width, Flows: []route.Flow{n.flow(p)}}))
					n.expect(p, "sg2")
					n.expect(another, c.another)
					n.expect(same, c.another)
					n.expect(ike, c.ike)
					n.expect(elsewhere, c.elsewhere)
				}
				n.must(n.first.Stop("a"))
				n.expect(p, "sg1")
				n.expect(elsewhere, "sg1")
			})
		}
	}
}

// TestForwardOutlivesTheDaemon: the kernel goes on, and the next one finds what
// there is, keeps it and can end it.
func TestForwardOutlivesTheDaemon(t *testing.T) {
	n := newNet(t)
	p, q := packet{false, unix.IPPROTO_ESP, 0xc0000001, 0, 0}, packet{true, unix.IPPROTO_UDP, 0xc0000002, 4500, 4500}
	for id, one := range map[string]packet{"a": p, "b": q} {
		n.must(n.first.Forward(t.Context(), route.Forward{ID: id, To: "sg2", Width: route.ByAddress, Flows: []route.Flow{n.flow(one)}}))
	}
	before := n.filters()
	n.must(n.first.Close())
	n.expect(p, "sg2")
	again := n.forwards(n.SG1, "sg2", topology.SG2)
	n.must(again.Refresh(t.Context()))
	if after := n.filters(); after != before {
		t.Errorf("filters of the one before\n%s\nof the next\n%s", before, after)
	}
	if all := again.List(); len(all) != 2 || all[0].ID != "a" || all[1].Flows[0] != n.flow(q) {
		t.Errorf("found again: %+v", all)
	}
	n.expect(p, "sg2")
	n.expect(q, "sg2")
	n.must(again.Stop("a"))
	n.expect(p, "sg1")
	n.expect(q, "sg2")
	n.must(again.Stop("b"))
	n.expect(q, "sg1")
	// Without its file nothing is anybody's.
	n.must(again.Forward(t.Context(), route.Forward{ID: "a", To: "sg2", Width: route.BySPI, Flows: []route.Flow{n.flow(p)}}))
	n.must(again.Close())
	n.folder = t.TempDir()
	n.forwards(n.SG1, "sg2", topology.SG2)
	n.expect(p, "sg1")
}

// filters are what the kernel shows of them, without the numbers of actions, which
// are new each time that one is replaced.
func (n *net1) filters() string {
	n.t.Helper()
	out, err := n.SG1.Run(context.Background(), "tc", "filter", "show", "dev", topology.Outer, "ingress")
	n.must(err)
	lines := slices.DeleteFunc(strings.Split(out, "\n"), func(l string) bool { return strings.Contains(l, " index ") || strings.Contains(l, "\tindex ") })
	return strings.Join(lines, "\n")
}

// TestForwardIdle: what was used a moment ago is not idle.
func TestForwardIdle(t *testing.T) {
	n := newNet(t)
	p, q := packet{false, unix.IPPROTO_ESP, 0xc0000001, 0, 0}, packet{true, unix.IPPROTO_UDP, 0xc0000002, 4500, 4500}
	for id, one := range map[string]packet{"a": p, "b": q} {
		n.must(n.first.Forward(t.Context(), route.Forward{ID: id, To: "sg2", Width: route.ByAddress, Flows: []route.Flow{n.flow(one)}}))
	}
	const long, tick = time.Second, 10 * time.Millisecond // of the kernel's clock
	for {
		began := time.Now()
		n.expect(q, "sg2")
		idle, err := n.first.Idle(long)
		n.must(err)
		if slices.Contains(idle, "b") && time.Since(began) < long-2*tick {
			t.Fatalf("idle: %v", idle)
		}
		if slices.Equal(idle, []string{"a"}) {
			return
		}
	}
}

// TestForwardOtherConfiguration: the next daemon has the same addresses in another
// order, and one less.
func TestForwardOtherConfiguration(t *testing.T) {
	n := newNet(t)
	p, q := packet{false, unix.IPPROTO_ESP, 0xc0000001, 0, 0}, packet{true, unix.IPPROTO_ESP, 0xc0000002, 0, 0}
	for id, one := range map[string]packet{"a": p, "b": q} {
		n.must(n.first.Forward(t.Context(), route.Forward{ID: id, To: "sg2", Width: route.BySPI, Flows: []route.Flow{n.flow(one)}}))
	}
	n.must(n.first.Close())
	reopen := func(shared ...netip.Addr) {
		n.must(n.SG1.Do(func() error {
			f, err := route.OpenForwards(route.ForwardConfig{On: topology.Outer, File: filepath.Join(n.folder, "sg1", "forwards"),
				Shared: shared, Neighbours: []route.Neighbour{{Name: "sg3", Addrs: []netip.Addr{topology.Host.V4}}, {Name: "sg2", Addrs: []netip.Addr{topology.SG2.V4}}}})
			if err != nil {
				return err
			}
			n.must(f.Forward(t.Context(), route.Forward{ID: "c", To: "sg2", Width: route.BySPI, Flows: []route.Flow{n.flow(q)}}))
			return f.Close()
		}))
	}
	reopen(n.shared.V6, n.shared.V4)
	n.expect(p, "sg2")
	n.expect(q, "sg2")
	reopen(n.shared.V6)
	n.expect(p, "sg1")
	n.expect(q, "sg2")
}

// TestForwardToEachOther: two gateways that each take the other to have a session
// do not throw its packets to and fro.
func TestForwardToEachOther(t *testing.T) {
	n := newNet(t)
	second := n.forwards(n.SG2, "sg1", topology.SG1)
	p := packet{false, unix.IPPROTO_ESP, 0xc0000001, 0, 0}
	for f, to := range map[*route.Forwards]string{n.first: "sg2", second: "sg1"} {
		for _, w := range []route.Width{route.ByAddress, route.ByLocal} {
			n.must(f.Forward(t.Context(), route.Forward{ID: string(w), To: to, Width: w, Flows: []route.Flow{n.flow(p)}}))
		}
	}
	n.expect(p, "sg2") // who got it from sg1 does not give it back
}

// TestAsk finds who has an address, and does not tell anybody of it.
func TestAsk(t *testing.T) {
	n := newNet(t)
	hardware, err := n.SG1.Hardware(topology.Outer)
	n.must(err)
	n.must(n.SG2.Do(func() error {
		a, err := route.NewAddresses(topology.Outer, n.both())
		if err != nil {
			return err
		}
		defer a.Close()
		for _, ip := range n.both() {
			who, err := a.Ask(t.Context(), ip)
			if err != nil || len(who) != 1 || who[0].String() != hardware.String() {
				t.Errorf("%s is at %v, %v; want %v", ip, who, err, hardware)
			}
			if held, err := a.Holds(ip); held || err != nil {
				t.Errorf("sg2 holds %s: %v", ip, err)
			}
		}
		return nil
	}))
	n.must(n.SG1.Do(func() error {
		a, err := route.NewAddresses(topology.Outer, n.both())
		if err != nil {
			return err
		}
		defer a.Close()
		for _, ip := range n.both() {
			if who, err := a.Ask(t.Context(), ip); err != nil || len(who) != 0 {
				t.Errorf("%s is at %v too, %v", ip, who, err)
			}
			if err := a.Give(ip); err != nil {
				return err
			}
			if held, err := a.Holds(ip); held || err != nil {
				t.Errorf("sg1 still holds %s: %v", ip, err)
			}
		}
		return nil
	}))
}
