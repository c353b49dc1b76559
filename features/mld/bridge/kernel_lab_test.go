//go:build linux && lab

package bridge

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features/mld"
)

// run runs ip or bridge commands in the test's namespace. Its words have no spaces.
func run(t testing.TB, lines ...string) {
	t.Helper()
	for _, line := range lines {
		fields := strings.Fields(line)
		if out, err := exec.Command(fields[0], fields[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", line, err, out)
		}
	}
}

// onLinks gives the test a network namespace of its own, with a bridge of two ports
// and an interface that is none. The test's thread stays in it and ends with the test.
func onLinks(t *testing.T, report bool) (*Links, link) {
	t.Helper()
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		t.Fatal(err)
	}
	// Addresses are there at once.
	if err := os.WriteFile("/proc/sys/net/ipv6/conf/default/accept_dad", []byte("0"), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "ip link add br0 type bridge mcast_snooping 1 mcast_membership_interval 26000",
		"ip link add p1 type veth peer name n1", "ip link add p2 type veth peer name n2", "ip link add plain type veth peer name far",
		"ip link set p1 master br0", "ip link set p2 master br0",
		"ip addr add 2001:db8:1::1/64 dev br0 nodad", "ip addr add 2001:db8:2::1/64 dev plain nodad")
	for _, name := range []string{"br0", "p1", "n1", "p2", "n2", "plain", "far"} {
		run(t, "ip link set "+name+" up")
	}
	ready := func() bool {
		_, err := linkLocal(index(t, "plain"))
		_, err2 := linkLocal(index(t, "br0"))
		return err == nil && err2 == nil && forwards(t, "p1") && forwards(t, "p2")
	}
	for end := time.Now().Add(20 * time.Second); !ready(); {
		if time.Now().After(end) {
			t.Fatal("the links do not come up")
		}
	}
	l, err := New(Config{Interfaces: []string{"br0", "plain"}, Report: report})
	if err != nil {
		t.Fatal(err)
	}
	br0, err := l.kernel.link("br0")
	if err != nil {
		t.Fatal(err)
	}
	return l, br0
}

// forwards asks whether a port takes part in its bridge yet.
func forwards(t *testing.T, port string) bool {
	t.Helper()
	out, err := exec.Command("bridge", "link", "show", "dev", port).CombinedOutput()
	if err != nil {
		t.Fatalf("bridge link: %v: %s", err, out)
	}
	return strings.Contains(string(out), "state forwarding")
}

func index(t *testing.T, name string) int {
	t.Helper()
	i, err := net.InterfaceByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return i.Index
}

// find gives the entry of a group at a port.
func find(t *testing.T, l *Links, bridge, port int, group netip.Addr) (entry, bool) {
	t.Helper()
	table, err := l.kernel.table(bridge)
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(table, func(e entry) bool { return e.port == port && e.group == group })
	if i < 0 {
		return entry{}, false
	}
	return table[i], true
}

// TestKernelTable enters groups as a Report would, and reads them again.
func TestKernelTable(t *testing.T) {
	l, br0 := onLinks(t, false)
	p1, p2 := index(t, "p1"), index(t, "p2")
	if !br0.snoops || !slices.Equal(br0.prefixes, []netip.Prefix{prefix1}) || !slices.Contains(br0.ports, p1) || !slices.Contains(br0.ports, p2) || len(br0.ports) != 2 {
		t.Fatalf("the bridge is read as %+v", br0)
	}
	// A group of the administrator's stays one, and is not the node's.
	run(t, "bridge mdb add dev br0 port p1 grp "+groupB.String()+" permanent")
	n := mld.Node{Session: cxtp.SessionID{1}, Previous: netip.MustParseAddr("2001:db8:1::7")}
	contexts := []mld.Context{{Prefix: prefix1, Group: groupA}, {Prefix: prefix1, Group: groupB}, {Prefix: prefix1, Group: allNodes}}
	if err := l.Join(t.Context(), n, contexts); err != nil {
		t.Fatal(err)
	}
	for _, port := range []int{p1, p2} {
		if e, ok := find(t, l, br0.index, port, groupA); !ok || e.permanent || e.left < 250*time.Second || e.left > 260*time.Second {
			t.Errorf("at port %d the group is %+v, %t", port, e, ok)
		}
	}
	if e, ok := find(t, l, br0.index, p1, groupB); !ok || !e.permanent {
		t.Errorf("the administrator's entry is %+v, %t", e, ok)
	}
	// The node is seen: from now on it is about its port alone.
	run(t, "ip neigh add 2001:db8:1::7 lladdr 02:00:00:00:00:07 dev br0", "bridge fdb add 02:00:00:00:00:07 dev p2 master static")
	if port, err := l.kernel.port(br0.index, n.Previous); err != nil || port != p2 {
		t.Errorf("the node is at port %d, %v; want %d", port, err, p2)
	}
	if port, err := l.kernel.port(br0.index, netip.MustParseAddr("192.0.2.7")); err != nil || port != 0 {
		t.Errorf("a node that nobody has seen is at port %d, %v", port, err)
	}
	heard, err := l.Listening(t.Context(), n)
	if err != nil || !slices.Contains(heard, contexts[0]) || !slices.Contains(heard, contexts[1]) {
		t.Errorf("the node listens to %v, %v", heard, err)
	}
	if err := l.kernel.remove(br0.index, entry{port: p2, group: groupA}); err != nil {
		t.Fatal(err)
	}
	if err := l.kernel.remove(br0.index, entry{port: p2, group: groupA}); err != nil {
		t.Errorf("what has ended already: %v", err)
	}
	if _, ok := find(t, l, br0.index, p2, groupA); ok {
		t.Error("the entry is still there")
	}
}

// TestKernelTimerStartsAgain joins a second time when some of the timer has gone.
func TestKernelTimerStartsAgain(t *testing.T) {
	l, br0 := onLinks(t, false)
	p1 := index(t, "p1")
	n := mld.Node{Session: cxtp.SessionID{1}, Previous: netip.MustParseAddr("2001:db8:1::7")}
	contexts := []mld.Context{{Prefix: prefix1, Group: groupA}}
	join := func() time.Duration {
		if err := l.Join(t.Context(), n, contexts); err != nil {
			t.Fatal(err)
		}
		e, ok := find(t, l, br0.index, p1, groupA)
		if !ok {
			t.Fatal("the group is not there")
		}
		return e.left
	}
	run(t, "ip link set br0 type bridge mcast_membership_interval 2000")
	join()
	run(t, "ip link set br0 type bridge mcast_membership_interval 26000")
	if left := join(); left < 250*time.Second {
		t.Errorf("%v of the timer are left, and the group was joined just now", left)
	}
}

// TestKernelReports catches the Report on an interface that is no bridge.
func TestKernelReports(t *testing.T) {
	l, _ := onLinks(t, true)
	for _, c := range []struct{ out, in string }{{"plain", "far"}, {"br0", "n1"}} {
		prefix := prefix1
		if c.out == "plain" {
			prefix = prefix2
		}
		frames := listen(t, c.in)
		n := mld.Node{Session: cxtp.SessionID{1}, Previous: netip.MustParseAddr("2001:db8:1::7")}
		if err := l.Join(t.Context(), n, []mld.Context{{Prefix: prefix, Group: groupA}}); err != nil {
			t.Fatal(err)
		}
		frame := frames(groupA)
		ip := frame[14:]
		source, _ := netip.AddrFromSlice(ip[8:24])
		target, _ := netip.AddrFromSlice(ip[24:40])
		if ip[6] != 0 || ip[7] != reportHopLimit || !source.IsLinkLocalUnicast() || target != reportTo || !slices.Equal(ip[40:48], append([]byte{58}, routerAlert[1:]...)) {
			t.Errorf("on %s the report has the headers %x", c.out, ip[:48])
		}
		if icmp := ip[48:]; icmp[0] != typeReport || len(icmp) != sizeHeader+sizeRecord || icmp[8] != recordExclude {
			t.Errorf("on %s the report is %x", c.out, icmp)
		}
	}
	n := mld.Node{Session: cxtp.SessionID{1}, Previous: netip.MustParseAddr("2001:db8:2::7")}
	if heard, err := l.Listening(t.Context(), n); err != nil || !slices.Equal(heard, []mld.Context{{Prefix: prefix1, Group: groupA}}) {
		t.Errorf("what was joined last is %v, %v", heard, err)
	}
}

// listen captures on an interface: the function gives the first Report of a group.
func listen(t *testing.T, name string) func(netip.Addr) []byte {
	t.Helper()
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	const protocol = unix.ETH_P_IPV6
	if err := unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: protocol<<8&0xff00 | protocol>>8, Ifindex: index(t, name)}); err != nil {
		t.Fatal(err)
	}
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 20}); err != nil {
		t.Fatal(err)
	}
	return func(group netip.Addr) []byte {
		for {
			frame := make([]byte, 1500)
			n, err := unix.Read(fd, frame)
			if err != nil {
				t.Fatalf("no report on %s: %v", name, err)
			}
			if g := group.As16(); n > 62 && strings.Contains(string(frame[62:n]), string(g[:])) {
				return frame[:n]
			}
		}
	}
}
