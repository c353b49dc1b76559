//go:build linux && lab

package lab

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/control"
	"github.com/cxtp/cxtp/lab/topology"
	"github.com/cxtp/cxtp/lab/traffic"
	"github.com/cxtp/cxtp/transport"
	"github.com/cxtp/cxtp/transport/icmp"
)

// Addresses on the gateways' link to nodes that are attached to it, where no
// router is between the two.
var (
	accessSG1 = topology.Pair{V4: netip.MustParseAddr("172.16.0.11"), V6: netip.MustParseAddr("2001:db8:4::11")}
	accessSG2 = topology.Pair{V4: netip.MustParseAddr("172.16.0.12"), V6: netip.MustParseAddr("2001:db8:4::12")}
	accessMN  = topology.Pair{V4: netip.MustParseAddr("172.16.0.2"), V6: netip.MustParseAddr("2001:db8:4::2")}
)

// newAccess is a fleet whose gateways speak ICMP, with the node on their link.
func newAccess(t testing.TB) *fleet {
	t.Helper()
	f := newFleet(t, "lossless")
	f.must(f.SG1.AddAddress(topology.Outer, accessSG1))
	f.must(f.SG2.AddAddress(topology.Outer, accessSG2))
	f.must(f.Attach(f.MN, accessMN))
	for _, g := range f.gateways {
		f.reconfigure(g, "[node]\n", "[node]\nicmp = true\n")
	}
	return f
}

// nodeFile writes the file of a node's agent that has no UDP, and reaches the two
// routers at addresses of theirs.
func (f *fleet) nodeFile(l *link, id cxtp.SessionID, sg1, sg2 topology.Pair) string {
	f.t.Helper()
	secret := func(use string) string { return hex.EncodeToString(material(l.spiUp, use, 32)) }
	return f.write("node.toml", fmt.Appendf(nil, `
previous     = "%s"
session      = "%s"
update_key   = "%s"
kernel_reqid = %d
retry        = "100ms"
retry_max    = "15s"
[[token]]
number = 1
key    = "%s"
[routers]
"%s" = "%s"
"%s" = "%s"
`, l.node, id, secret("update"), l.reqID, secret("token"),
		topology.SG1.Of(l.outer6), netip.AddrPortFrom(sg1.Of(l.outer6), 5092),
		topology.SG2.Of(l.outer6), netip.AddrPortFrom(sg2.Of(l.outer6), 5092)))
}

// begin begins the session of a connection at a gateway. The node's agent takes its
// updates by ICMP.
func (f *fleet) begin(l *link, at *gateway, id cxtp.SessionID) {
	f.t.Helper()
	f.connectNode(l)
	secret := func(use string) string { return hex.EncodeToString(material(l.spiUp, use, 32)) }
	text, err := json.Marshal(control.NewSession{
		Session: id, Previous: l.node, Agent: netip.AddrPortFrom(accessMN.Of(l.outer6), 0), UpdateKey: secret("update"),
		Tokens: []control.NewToken{{Number: 1, Key: secret("token")}}, Identity: "mn.example",
		Inner: []netip.Prefix{full(l.inner)}, SAs: []control.NewSA{l.manual(true), l.manual(false)},
	})
	f.must(err)
	_, err = f.cxtp(at, "install", f.write("session.json", text))
	f.must(err)
}

// TestICMPHandover: a node asks the router that it comes to, is answered, is told
// of its new gateway and acknowledges that, all by ICMP: it has no UDP socket.
func TestICMPHandover(t *testing.T) {
	for _, outer6 := range []bool{false, true} {
		t.Run(map[bool]string{false: "IPv4", true: "IPv6"}[outer6], func(t *testing.T) {
			o := undisturbed(func() outcome {
				f, l, id := newAccess(t), linkOf(daemonCase), cxtp.SessionID{0xab}
				if outer6 {
					l.outer6, l.node, l.gate = true, topology.MN.V6, topology.SG1.V6
				}
				f.begin(l, f.gateways[0], id)
				o := f.trial(l, l.handedOver(), false, func(*traffic.Traffic) {
					f.agent(f.nodeFile(l, id, accessSG1, accessSG2), "--icmp", "--at", topology.SG2.Of(outer6).String(), "--naming", topology.SG1.Of(outer6).String())
					f.stands(f.gateways[1], id, "active")
					f.stands(f.gateways[0], id, "gone")
				})
				f.stop()
				return o
			})
			t.Logf("%v", o.Report)
		})
	}
}

// prober is a node that sends whatever it likes.
type prober struct {
	*fleet
	conn    *transport.NodeConn
	answers chan transport.NodeMessage
}

// probe opens a prober's sockets on the node.
func (f *fleet) probe() *prober {
	f.t.Helper()
	p := &prober{fleet: f, answers: make(chan transport.NodeMessage, 100)}
	f.must(f.MN.Do(func() (err error) {
		p.conn, err = transport.ListenNodes(transport.NodeConfig{ICMP: true, Handler: func(m transport.NodeMessage) { p.answers <- m }})
		return err
	}))
	f.t.Cleanup(func() { p.conn.Close() })
	return p
}

// request is a CTAR that is refused at once: it names a router that is none.
func (p *prober) request(sequence uint32) []byte {
	p.t.Helper()
	text, err := (&cxtp.CTAR{Ack: true, Previous: topology.MN.V4, Router: topology.Host.V4, Sequence: sequence, Token: cxtp.Token{1}}).Append(nil)
	p.must(err)
	return text
}

// answered waits for the next answer, which comes from the link and has the right
// checksum, or it would not be here.
func (p *prober) answered(by netip.Addr) {
	p.t.Helper()
	select {
	case m := <-p.answers:
		a, err := cxtp.Decode(m.Octets)
		if _, ok := a.(*cxtp.CTAA); !ok || m.From.Addr().WithZone("") != by.WithZone("") {
			p.t.Errorf("%s was asked, and %v (%v) came from %s", by, a, err, m.From)
		}
	case <-time.After(10 * time.Second):
		p.t.Fatalf("%s did not answer", by)
	}
}

// TestICMPAnswers asks a router at each of its addresses, which is the one that the
// answer comes from.
func TestICMPAnswers(t *testing.T) {
	f := newAccess(t)
	f.must(f.SG1.AddAddress(topology.Outer, topology.Pair{V4: netip.MustParseAddr("172.16.0.99"), V6: netip.MustParseAddr("2001:db8:4::99")}))
	p := f.probe()
	for i, at := range []string{"172.16.0.11", "172.16.0.99", "2001:db8:4::11", "2001:db8:4::99", f.linkLocal()} {
		to := netip.MustParseAddr(at)
		p.must(p.conn.Send(netip.AddrPortFrom(to, 0), p.request(uint32(i)+1)))
		p.answered(to)
	}
}

// linkLocal is the link-local address of the first gateway on the link that the
// node is attached to. The zone is a number: this process does not know the name,
// which is of the node's namespace.
func (f *fleet) linkLocal() string {
	f.t.Helper()
	var zone int
	var addrs []net.Addr
	f.must(f.MN.Do(func() error {
		i, err := net.InterfaceByName(topology.Attached)
		if err == nil {
			zone = i.Index
		}
		return err
	}))
	f.must(f.SG1.Do(func() error {
		i, err := net.InterfaceByName(topology.Outer)
		if err == nil {
			addrs, err = i.Addrs()
		}
		return err
	}))
	for _, a := range addrs {
		if p := netip.MustParsePrefix(a.String()); p.Addr().IsLinkLocalUnicast() {
			return fmt.Sprintf("%s%%%d", p.Addr(), zone)
		}
	}
	f.t.Fatal("the gateway has no link-local address")
	return ""
}

// raw sends ICMP from the node, whatever it is and with any hop limit.
func (p *prober) raw(to netip.Addr, hops int, octets []byte) {
	p.t.Helper()
	p.must(p.MN.Do(func() error {
		network, set := "ip4:1", func(c net.PacketConn) error { return ipv4.NewPacketConn(c).SetTTL(hops) }
		if to.Is6() {
			network, set = "ip6:58", func(c net.PacketConn) error { return ipv6.NewPacketConn(c).SetHopLimit(hops) }
		}
		conn, err := net.ListenPacket(network, "")
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := set(conn); err != nil {
			return err
		}
		_, err = conn.WriteTo(octets, &net.IPAddr{IP: to.AsSlice()})
		return err
	}))
}

// TestICMPDropped: what does not come from the link, or is not whole, gets no
// answer. The answer to what comes after it shows that it has arrived.
func TestICMPDropped(t *testing.T) {
	f := newAccess(t)
	p := f.probe()
	sequence := uint32(0)
	for _, to := range []netip.Addr{accessSG1.V4, accessSG1.V6} {
		for name, c := range map[string]struct {
			hops   int
			change func([]byte)
		}{
			"hop limit 254":    {254, func([]byte) {}},
			"hop limit 64":     {64, func([]byte) {}},
			"an echo's type":   {255, func(b []byte) { b[0] = map[bool]byte{false: 8, true: 128}[to.Is6()] }},
			"code 1":           {255, func(b []byte) { b[1] = 1 }},
			"sub-type 0":       {255, func(b []byte) { b[4] = 0 }},
			"the wrong family": {255, func(b []byte) { b[0] ^= icmp.TypeIPv4 ^ icmp.TypeIPv6 }},
		} {
			octets := icmp.Append(nil, netip.Addr{}, to, p.request(sequence+1))
			c.change(octets)
			if to.Is4() { // in IPv6, the kernel writes the checksum
				resum(octets)
			}
			p.dropped(name, to, c.hops, octets, p.request(sequence+2))
			sequence += 2
		}
	}
	damaged := icmp.Append(nil, netip.Addr{}, accessSG1.V4, p.request(sequence+1))
	damaged[2]++
	p.dropped("a wrong checksum", accessSG1.V4, icmp.HopLimit, damaged, p.request(sequence+2))
	// Of all these, the kernel hands over to the daemon only the last one.
	f.expectCounter(f.gateways[0], "discarded_icmp", 1)
}

// dropped sends ICMP that gets no answer, and then a request that does.
func (p *prober) dropped(name string, to netip.Addr, hops int, octets, request []byte) {
	p.t.Helper()
	p.raw(to, hops, octets)
	p.must(p.conn.Send(netip.AddrPortFrom(to, 0), request))
	p.answered(to)
	if len(p.answers) > 0 {
		p.t.Errorf("%s: answered", name)
	}
}

// resum puts the right checksum into an ICMP packet that was changed.
func resum(octets []byte) {
	octets[2], octets[3] = 0, 0
	sum := 0
	for i := 0; i < len(octets); i += 2 {
		sum += int(octets[i])<<8 | int(octets[i+1])
	}
	sum = sum>>16 + sum&0xffff
	sum = ^(sum>>16 + sum)
	octets[2], octets[3] = byte(sum>>8), byte(sum)
}

func (f *fleet) expectCounter(at *gateway, name string, want uint64) {
	f.t.Helper()
	client := control.Dial(f.socket(at))
	status, err := client.Status(f.ctx)
	f.must(err)
	if got := status.Counters[name]; got != want {
		f.t.Errorf("%s of %s is %d, want %d", name, at.Name, got, want)
	}
}

// TestICMPBehindARouter: the node's packets cross a router, so nobody answers, and
// the node is told what that may mean.
func TestICMPBehindARouter(t *testing.T) {
	f, l, id := newAccess(t), linkOf(daemonCase), cxtp.SessionID{0xab}
	f.begin(l, f.gateways[0], id)
	said, err := f.asks(f.nodeFile(l, id, topology.SG1, topology.SG2))
	if err == nil || !strings.Contains(said, "is it on this node's link") {
		t.Errorf("a router that is two hops away: %v: %s", err, said)
	}
	f.stands(f.gateways[0], id, "active")
}

// asks runs the node's agent until it is answered, with more in front of it.
func (f *fleet) asks(file string, before ...string) (string, error) {
	f.t.Helper()
	command := append(before, f.program("cxtp"), "mn", "--config", file, "--icmp",
		"--at", topology.SG2.V4.String(), "--naming", topology.SG1.V4.String(), "--once")
	return f.MN.Run(f.ctx, command[0], command[1:]...)
}

// TestICMPPowerless starts both programs without the right to raw sockets.
func TestICMPPowerless(t *testing.T) {
	f, l := newAccess(t), linkOf(daemonCase)
	g := f.gateways[0]
	g.kill()
	powerless := []string{"setpriv", "--bounding-set=-net_raw"}
	daemon := append(powerless[1:], f.program("cxtpd"), "-config", filepath.Join(f.folder, g.Name+".toml"))
	said, err := g.Run(f.ctx, powerless[0], daemon...)
	f.refusesRaw("cxtpd: [node]", said, err)
	said, err = f.asks(f.nodeFile(l, cxtp.SessionID{0xab}, accessSG1, accessSG2), powerless...)
	f.refusesRaw("cxtp: ", said, err)
}

// refusesRaw expects a program to have ended with one sentence that says what to do.
func (f *fleet) refusesRaw(start, said string, err error) {
	f.t.Helper()
	var exit *exec.ExitError
	lines := strings.Split(strings.TrimSpace(said), "\n")
	last := lines[len(lines)-1]
	if !errors.As(err, &exit) || exit.ExitCode() != 1 || !strings.HasPrefix(last, start) ||
		!strings.Contains(last, "setcap cap_net_raw+ep") || strings.Count(said, "CAP_NET_RAW may") != 1 {
		f.t.Errorf("without CAP_NET_RAW: %v: %s", err, said)
	}
	f.t.Log(last)
}
