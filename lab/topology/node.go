//go:build linux

package topology

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Node is a namespace.
type Node struct {
	Name  string
	ns    netns.NsHandle
	links *netlink.Handle // a socket in the namespace
}

// newNode makes a namespace with its loopback interface up, without IPv6's
// duplicate address detection, router advertisements and random addresses, and
// without checks of the reverse path.
func newNode(name string) (*Node, error) {
	n := &Node{Name: name}
	err := inThread(func() error {
		var err error
		n.ns, err = netns.New()
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("failed to make the namespace %s: %w", name, err)
	}
	if n.links, err = netlink.NewHandleAt(n.ns); err != nil {
		return nil, errors.Join(fmt.Errorf("failed to open a socket in %s: %w", name, err), n.ns.Close())
	}
	for _, setting := range [][2]string{
		{"net.ipv6.conf.default.accept_dad", "0"},
		{"net.ipv6.conf.default.dad_transmits", "0"},
		{"net.ipv6.conf.default.accept_ra", "0"},
		{"net.ipv6.conf.default.router_solicitations", "0"},
		{"net.ipv4.conf.all.rp_filter", "0"},
		{"net.ipv4.conf.default.rp_filter", "0"},
		{"net.ipv4.conf.all.arp_ignore", "1"}, // addresses of the loopback interface are not announced
		{"net.ipv4.conf.all.send_redirects", "0"},
		{"net.ipv4.conf.default.send_redirects", "0"},
		{"net.ipv4.conf.all.accept_redirects", "0"},
	} {
		if err = n.Sysctl(setting[0], setting[1]); err != nil {
			break
		}
	}
	if err == nil {
		err = n.up("lo")
	}
	if err != nil {
		return nil, errors.Join(err, n.close())
	}
	return n, nil
}

// Here is the namespace that the calling thread is in, whatever it is.
func Here() (*Node, error) {
	n := &Node{Name: "here"}
	var err error
	if n.ns, err = netns.Get(); err == nil {
		n.links, err = netlink.NewHandleAt(n.ns)
	}
	if err != nil {
		return nil, fmt.Errorf("failed to open this thread's namespace: %w", err)
	}
	return n, nil
}

func (n *Node) close() error {
	n.links.Close()
	return n.ns.Close()
}

// inThread calls f on a thread of its own, in the namespace that the thread
// had before when it returns.
func inThread(f func() error) error {
	runtime.LockOSThread()
	before, err := netns.Get()
	if err != nil {
		runtime.UnlockOSThread()
		return fmt.Errorf("failed to learn this thread's namespace: %w", err)
	}
	defer func() {
		// A thread that cannot return stays locked, and ends with its goroutine.
		if netns.Set(before) == nil {
			runtime.UnlockOSThread()
		}
		before.Close()
	}()
	return f()
}

// Do calls f in the namespace. Sockets and processes that f makes belong to
// it; goroutines that f starts do not.
func (n *Node) Do(f func() error) error {
	return inThread(func() error {
		if err := netns.Set(n.ns); err != nil {
			return fmt.Errorf("failed to enter %s: %w", n.Name, err)
		}
		return f()
	})
}

// Start starts a process in the namespace. The process ends with the context,
// if that was what the command was made with.
func (n *Node) Start(cmd *exec.Cmd) error { return n.Do(cmd.Start) }

// Run runs a program in the namespace to its end and returns what it printed.
func (n *Node) Run(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	var output strings.Builder
	cmd.Stdout, cmd.Stderr = &output, &output
	err := n.Start(cmd)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return output.String(), fmt.Errorf("failed to run %s %s in %s: %w: %s",
			name, strings.Join(args, " "), n.Name, err, strings.TrimSpace(output.String()))
	}
	return output.String(), nil
}

// Sysctl writes a setting of the namespace, "net.ipv4.ip_forward" for one.
func (n *Node) Sysctl(name, value string) error {
	path := filepath.Join("/proc/sys", strings.ReplaceAll(name, ".", "/"))
	err := n.Do(func() error { return os.WriteFile(path, []byte(value), 0) })
	if err != nil {
		return fmt.Errorf("failed to set %s of %s to %s: %w", name, n.Name, value, err)
	}
	return nil
}

// XFRMCounters returns the namespace's counters of packets that IPsec refused,
// by the names in /proc/net/xfrm_stat.
func (n *Node) XFRMCounters() (map[string]uint64, error) {
	var text []byte
	if err := n.Do(func() (err error) {
		text, err = os.ReadFile("/proc/thread-self/net/xfrm_stat")
		return err
	}); err != nil {
		return nil, err
	}
	counters := make(map[string]uint64)
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		if len(fields) != 2 {
			continue
		}
		count, err := strconv.ParseUint(fields[1], 10, 64)
		if err != nil {
			return nil, fmt.Errorf("failed to read the counters of %s: %w", n.Name, err)
		}
		counters[fields[0]] = count
	}
	return counters, nil
}

func (n *Node) up(name string) error {
	link, err := n.links.LinkByName(name)
	if err == nil {
		err = n.links.LinkSetUp(link)
	}
	if err != nil {
		return fmt.Errorf("failed to start %s of %s: %w", name, n.Name, err)
	}
	return nil
}

// AddBridge makes a bridge that has both addresses of a segment.
func (n *Node) AddBridge(name string, address Pair) error {
	attributes := netlink.NewLinkAttrs()
	attributes.Name = name
	if err := n.links.LinkAdd(&netlink.Bridge{LinkAttrs: attributes}); err != nil {
		return fmt.Errorf("failed to make the bridge of %s: %w", n.Name, err)
	}
	return errors.Join(n.up(name), n.AddAddress(name, address))
}

// Join puts an interface into a bridge.
func (n *Node) Join(name, bridge string) error {
	link, err := n.links.LinkByName(name)
	if err != nil {
		return err
	}
	master, err := n.links.LinkByName(bridge)
	if err != nil {
		return err
	}
	return n.links.LinkSetMaster(link, master)
}

// forward makes the node a router.
func (n *Node) forward() error {
	return errors.Join(n.Sysctl("net.ipv4.ip_forward", "1"), n.Sysctl("net.ipv6.conf.all.forwarding", "1"))
}

// AddAddress gives an interface both addresses of a segment.
func (n *Node) AddAddress(name string, address Pair) error {
	return n.changeAddress(n.links.AddrAdd, "add", name, address, bitsV4, bitsV6)
}

// RemoveAddress undoes AddAddress.
func (n *Node) RemoveAddress(name string, address Pair) error {
	return n.changeAddress(n.links.AddrDel, "remove", name, address, bitsV4, bitsV6)
}

// addHostAddress gives an interface addresses that are nobody else's.
func (n *Node) addHostAddress(name string, address Pair) error {
	return n.changeAddress(n.links.AddrAdd, "add", name, address, 32, 128)
}

func (n *Node) changeAddress(change func(netlink.Link, *netlink.Addr) error, what, name string, address Pair, v4, v6 int) error {
	link, err := n.links.LinkByName(name)
	if err != nil {
		return fmt.Errorf("failed to find %s of %s: %w", name, n.Name, err)
	}
	var failed []error
	for _, p := range []netip.Prefix{netip.PrefixFrom(address.V4, v4), netip.PrefixFrom(address.V6, v6)} {
		a := &netlink.Addr{IPNet: ipNet(p)}
		if p.Addr().Is6() {
			a.Flags = unix.IFA_F_NODAD
		}
		if err := change(link, a); err != nil {
			failed = append(failed, fmt.Errorf("failed to %s %v on %s of %s: %w", what, p, name, n.Name, err))
		}
	}
	return errors.Join(failed...)
}

// Route sends a prefix through a gateway, in place of what was before. Packets
// that the node itself sends there have the source given, if it is valid.
func (n *Node) Route(prefix netip.Prefix, gateway, source netip.Addr) error {
	route := &netlink.Route{Dst: ipNet(prefix), Gw: gateway.AsSlice()}
	if source.IsValid() {
		route.Src = source.AsSlice()
	}
	if err := n.links.RouteReplace(route); err != nil {
		return fmt.Errorf("failed to route %v through %v in %s: %w", prefix, gateway, n.Name, err)
	}
	return nil
}

// Hardware returns the Ethernet address of an interface.
func (n *Node) Hardware(name string) (net.HardwareAddr, error) {
	link, err := n.links.LinkByName(name)
	if err != nil {
		return nil, fmt.Errorf("failed to find %s of %s: %w", name, n.Name, err)
	}
	return link.Attrs().HardwareAddr, nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}
