//go:build linux

package topology

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// Impairment is what a link does to packets, each way. A loss of 100 cuts it.
type Impairment struct {
	Delay time.Duration
	Loss  float32 // percent
}

// ImpairSync impairs the link between the gateways.
func (t *Topology) ImpairSync(i Impairment) error {
	return errors.Join(t.SG1.impair(Sync, i), t.SG2.impair(Sync, i))
}

// ImpairAccess impairs the link between mn and the router.
func (t *Topology) ImpairAccess(i Impairment) error {
	return errors.Join(t.MN.impair(Outer, i), t.Router.impair(t.MN.Name, i))
}

// impair sets what an interface does to what it sends; the zero value undoes it.
func (n *Node) impair(name string, i Impairment) error {
	link, err := n.links.LinkByName(name)
	if err != nil {
		return err
	}
	attributes := netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Handle: netlink.MakeHandle(1, 0), Parent: netlink.HANDLE_ROOT}
	if i == (Impairment{}) {
		err = n.links.QdiscDel(&netlink.GenericQdisc{QdiscAttrs: attributes, QdiscType: "netem"})
		if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EINVAL) {
			err = nil
		}
	} else {
		const queue = 10_000 // packets: a queue that never limits
		err = n.links.QdiscReplace(netlink.NewNetem(attributes, netlink.NetemQdiscAttrs{
			Latency: uint32(i.Delay.Microseconds()), Loss: i.Loss, Limit: queue,
		}))
	}
	if err != nil {
		return fmt.Errorf("failed to impair %s of %s: %w", name, n.Name, err)
	}
	return nil
}

// NAT makes the router translate the nodes' IPv4 addresses to its own on the
// outer segment, and UDP source ports to those from the first to the last.
// Called again it forgets every mapping, so that the next packet of a node
// comes from another port, if the range is another.
func (t *Topology) NAT(ctx context.Context, first, last uint16) error {
	ports := fmt.Sprintf("%d-%d", first, last)
	source := "198.51.100.0/23" // of both nodes
	for _, rule := range [][]string{
		{"-t", "nat", "-F", "POSTROUTING"},
		{"-t", "nat", "-A", "POSTROUTING", "-s", source, "-p", "udp", "-j", "MASQUERADE", "--to-ports", ports},
		{"-t", "nat", "-A", "POSTROUTING", "-s", source, "-j", "MASQUERADE"},
	} {
		if _, err := t.Router.Run(ctx, "iptables-legacy", rule...); err != nil {
			return err
		}
	}
	if err := t.Router.links.ConntrackTableFlush(netlink.ConntrackTable); err != nil {
		return fmt.Errorf("failed to forget the router's mappings: %w", err)
	}
	return nil
}

// NATAddress is what the gateways see of the nodes behind NAT.
var NATAddress = routerOuter.V4
