package xfrm

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

// Node is the other end: the SAs of a mobile node in its own kernel, which follow
// its gateway to another address. They are those of one reqid, which ties a
// node's policies to its SAs.
//
// Only what the node sends is changed. The kernel finds inbound SAs by the node's
// own address and does not look where a packet came from, so what the old gateway
// still sends is accepted beside what the new one does, and nothing is lost.
type Node struct {
	kernel *uapi.Conn
	reqid  uint32
}

// NewNode is for the SAs of a reqid in the network namespace of the calling
// thread. Packets that find no SA while one is replaced are held back and not
// dropped, which is a setting of the namespace (net.core.xfrm_larval_drop).
func NewNode(reqid uint32) (*Node, error) {
	kernel, err := uapi.Dial()
	if err != nil {
		return nil, fmt.Errorf("failed to open the kernel's SAD: %w", err)
	}
	if err := queueWithoutSA(); err != nil {
		kernel.Close()
		return nil, err
	}
	return &Node{kernel, reqid}, nil
}

// Close closes the socket. The SAs stay.
func (n *Node) Close() error { return n.kernel.Close() }

// Follow points the node's outbound SAs at a gateway, with the sequence numbers
// where they were, and says how many it changed: none, where they point there
// already. A port of 0 leaves that of the UDP encapsulation as it is.
func (n *Node) Follow(ctx context.Context, gateway netip.AddrPort) (int, error) {
	changed := 0
	policies, err := n.outbound(ctx)
	if err != nil {
		return 0, err
	}
	for _, p := range policies {
		for i := range p.Templates {
			t := &p.Templates[i]
			if t.ReqID != n.reqid || t.Dst == gateway.Addr() {
				continue
			}
			if t.Dst.Is4() != gateway.Addr().Is4() {
				return changed, fmt.Errorf("failed to follow to %s: the node's SAs are of the other address family", gateway)
			}
			moved, err := n.move(ctx, t, gateway)
			if changed += moved; err != nil {
				return changed, err
			}
			t.Dst = gateway.Addr()
		}
		p.Index = 0 // this policy by its selector
		if err := n.kernel.UpdatePolicy(ctx, p); err != nil {
			return changed, fmt.Errorf("failed to point a policy at %s: %w", gateway, err)
		}
	}
	return changed, nil
}

// outbound lists the policies that use SAs of the reqid.
func (n *Node) outbound(ctx context.Context) ([]*uapi.Policy, error) {
	var found []*uapi.Policy
	for p, err := range n.kernel.Policies(ctx) {
		if err != nil {
			return nil, fmt.Errorf("failed to read the kernel's policies: %w", err)
		}
		if p.Dir == uapi.DirOut && slices.ContainsFunc(p.Templates, func(t uapi.Template) bool { return t.ReqID == n.reqid }) {
			found = append(found, p)
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("no outbound policy has reqid %d: set kernel_reqid to that of the node's policies (ip xfrm policy)", n.reqid)
	}
	return found, nil
}

// move replaces the SAs that a template finds by the same towards the gateway.
func (n *Node) move(ctx context.Context, t *uapi.Template, gateway netip.AddrPort) (int, error) {
	sas, err := n.matching(ctx, t)
	if err != nil {
		return 0, err
	}
	moved := 0
	for _, id := range sas {
		sa, err := n.kernel.DeleteState(ctx, id)
		if errors.Is(err, uapi.ErrNotFound) {
			continue // it ended meanwhile
		}
		if err != nil {
			return moved, fmt.Errorf("failed to stop %s: %w", id, err)
		}
		err = n.restart(ctx, sa, gateway)
		sa.Wipe()
		if err != nil {
			return moved, err
		}
		moved++
	}
	return moved, nil
}

// matching lists the SAs that a template finds.
func (n *Node) matching(ctx context.Context, t *uapi.Template) ([]uapi.StateID, error) {
	var found []uapi.StateID
	for sa, err := range n.kernel.States(ctx, uapi.Filter{Proto: t.Proto}) {
		if err != nil {
			return nil, fmt.Errorf("failed to read the kernel's SAs: %w", err)
		}
		if sa.ReqID == n.reqid && sa.Dst == t.Dst && sa.Src == t.Src && sa.SPI != 0 {
			found = append(found, sa.ID())
		}
		sa.Wipe()
	}
	return found, nil
}

// restart adds an SA that was taken out again, towards the gateway; where that
// fails, as it was.
func (n *Node) restart(ctx context.Context, sa *uapi.State, gateway netip.AddrPort) error {
	was, port := sa.Dst, uint16(0)
	sa.Dst = gateway.Addr()
	if sa.Encap != nil && gateway.Port() != 0 {
		port, sa.Encap.DstPort = sa.Encap.DstPort, gateway.Port()
	}
	err := n.kernel.AddState(ctx, sa)
	if err == nil {
		return nil
	}
	sa.Dst = was
	if port != 0 {
		sa.Encap.DstPort = port
	}
	return fmt.Errorf("failed to point an SA at %s: %w", gateway, errors.Join(err, n.kernel.AddState(ctx, sa)))
}
