//go:build linux && lab

package transport

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cxtp/cxtp/lab/topology"
	"github.com/cxtp/cxtp/lab/witness"
	"github.com/cxtp/cxtp/transport/sctp"
)

// The tables that run on every carrier run on the kernel's SCTP, too, without IPsec;
// the tests of this file are about IPsec, and about what is on the wire.
func init() { carriers["sctp"] = insecure }

func insecure(c *Config) { secured(c); c.InsecureSCTP = true }

func secured(c *Config) { c.Carrier = KernelSCTP }

// wire is the loopback interface of the guest with an address for each of two routers
// and, unlike other machines', with IPsec. (Namespaces would be more like two machines;
// but the kernel lets no process take associations in another than its own. See package
// lab for daemons in two.)
type wire struct {
	t    *testing.T
	ipv6 bool
}

var addrA, addrB = topology.SG1Sync, topology.SG2Sync

func newWire(t *testing.T, ipv6 bool) *wire {
	t.Helper()
	w := &wire{t, ipv6}
	for _, a := range []topology.Pair{addrA, addrB} {
		w.ip("address replace " + a.V4.String() + "/32 dev lo")
		w.ip("address replace " + a.V6.String() + "/128 dev lo nodad")
	}
	for _, name := range []string{"ipv4/conf/lo/disable_xfrm", "ipv4/conf/lo/disable_policy", "ipv6/conf/lo/disable_policy"} {
		w.set(name, "0")
	}
	w.set("ipv4/conf/lo/accept_local", "1") // out of a tunnel, a packet is one from elsewhere
	w.ip("link set lo mtu 1500")
	t.Cleanup(func() {
		w.cut(0)
		w.ip("link set lo mtu 65536")
		w.ip("xfrm policy flush")
		w.ip("xfrm state flush")
	})
	return w
}

func (w *wire) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// set writes a setting of the network.
func (w *wire) set(name, value string) {
	w.t.Helper()
	w.must(os.WriteFile("/proc/sys/net/"+name, []byte(value), 0))
}

// ip runs the ip command; the word none is an empty one.
func (w *wire) ip(words string) { w.run(append([]string{"ip"}, strings.Fields(words)...)) }

func (w *wire) run(words []string) {
	w.t.Helper()
	for i := range words {
		if words[i] == "none" {
			words[i] = ""
		}
	}
	if out, err := exec.Command(words[0], words[1:]...).CombinedOutput(); err != nil {
		w.t.Fatalf("%q: %v: %s", words, err, out)
	}
}

// protect has ESP demanded between the two routers, at both.
func (w *wire) protect() {
	w.t.Helper()
	w.protectIn("transport")
}

func (w *wire) protectIn(mode string) {
	w.t.Helper()
	a, b := addrA.Of(w.ipv6), addrB.Of(w.ipv6)
	for _, way := range [][2]netip.Addr{{a, b}, {b, a}} {
		state, policy := topology.Protection(mode, way[0], way[1])
		for _, words := range [][]string{state, policy("out"), policy("in")} {
			w.run(append([]string{"ip"}, words...))
		}
	}
}

// cut has the wire lose so many packets of a hundred.
func (w *wire) cut(percent int) {
	w.t.Helper()
	w.impair(fmt.Sprintf("loss %d%%", percent))
}

func (w *wire) impair(how string) {
	w.t.Helper()
	w.run(strings.Fields("tc qdisc replace dev lo root netem limit 10000 " + how))
}

func (w *wire) addr(of topology.Pair, port uint16) string {
	return netip.AddrPortFrom(of.Of(w.ipv6), port).String()
}

// a and b start the router of their name.
func (w *wire) a(change ...func(*Config)) *router {
	w.t.Helper()
	return w.start("a", addrA, peerAt("b", w.addr(addrB, sctp.Port)), change)
}

func (w *wire) b(change ...func(*Config)) *router {
	w.t.Helper()
	return w.start("b", addrB, peerAt("a", w.addr(addrA, sctp.Port)), change)
}

func (w *wire) start(name string, addr topology.Pair, peer Peer, change []func(*Config)) (r *router) {
	w.t.Helper()
	return start(w.t, newAuthority(w.t), name, []Peer{peer},
		append([]func(*Config){secured, func(c *Config) { c.Addr = w.addr(addr, sctp.Port) }}, change...)...)
}

// watch captures what is on the wire, until the function that it returns is called,
// and that returns the packets of a protocol between the two addresses.
func (w *wire) watch() func(protocol uint8) [][]byte {
	w.t.Helper()
	here, err := topology.Here()
	w.must(err)
	capture, err := witness.Watch(witness.Point{At: here, Interface: "lo", Node: "both"})
	w.must(err)
	return func(protocol uint8) (found [][]byte) {
		frames, err := capture.Stop()
		w.must(err)
		for _, f := range frames {
			// What comes out of a tunnel is seen as well, but was never sent like that.
			if p, ok := witness.Decode(f.Data); ok && p.Protocol == protocol && !f.Out {
				found = append(found, f.Data)
			}
		}
		return found
	}
}

const (
	protocolESP  = 50
	protocolSCTP = 132
)

// dialRaw opens an association with nothing of ours, and returns its socket.
func (w *wire) dialRaw(from, to string) int {
	w.t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_SCTP)
	w.must(err)
	w.t.Cleanup(func() { unix.Close(fd) })
	sockaddr := func(s string) unix.Sockaddr {
		a := netip.MustParseAddrPort(s)
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	w.must(unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1))
	w.must(unix.Bind(fd, sockaddr(from)))
	w.must(unix.Connect(fd, sockaddr(to)))
	return fd
}
