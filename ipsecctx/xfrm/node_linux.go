package xfrm

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

// Node is the other end: the SAs of a mobile node in its own kernel, which follow
// its gateway to another address. They are those of one reqid, which ties a
// node's policies to its SAs.
//
// Mostly only what the node sends is changed. The kernel finds inbound SAs by the
// node's own address and does not look where a packet came from, so what the old
// gateway still sends is accepted beside what the new one does, and nothing is
// lost. Only a gateway that does not know the last numbers of the old one has the
// inbound SAs refuse those.
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

// Follow points the node's outbound SAs at a gateway, on the SPIs that they have
// there and with the sequence numbers where they were, and says how many it
// changed: none, where they are so already. A port of 0 leaves that of the UDP
// encapsulation as it is. Inbound SAs that are behind a floor go on above it.
func (n *Node) Follow(ctx context.Context, f cxtp.AgentFollow) (int, error) {
	changed := 0
	policies, err := n.outbound(ctx)
	if err != nil {
		return 0, err
	}
	for _, p := range policies {
		for i := range p.Templates {
			t := &p.Templates[i]
			if t.ReqID != n.reqid {
				continue
			}
			if err := n.raise(ctx, t, f.Floors); err != nil {
				return changed, err
			}
			if t.Dst.Is4() != f.Gateway.Addr().Is4() {
				return changed, fmt.Errorf("failed to follow to %s: the node's SAs are of the other address family", f.Gateway)
			}
			moved, err := n.move(ctx, t, f)
			if changed += moved; err != nil {
				return changed, err
			}
			t.Dst, t.SPI = f.Gateway.Addr(), spiThere(f, t.Proto, t.SPI)
		}
		p.Index = 0 // this policy by its selector
		if err := n.kernel.UpdatePolicy(ctx, p); err != nil {
			return changed, fmt.Errorf("failed to point a policy at %s: %w", f.Gateway, err)
		}
	}
	return changed, nil
}

// spiThere is the SPI that an outbound SA has at the gateway.
func spiThere(f cxtp.AgentFollow, proto uapi.Proto, spi uint32) uint32 {
	of := func(c cxtp.SPIChange) bool { return uapi.Proto(c.Protocol) == proto && c.Old == spi }
	if i := slices.IndexFunc(f.SPIs, of); i >= 0 {
		return f.SPIs[i].New
	}
	return spi
}

// raise has the inbound SAs of a template's address count everything up to a floor
// as seen. A packet of the gateway that arrives between the reading and the
// writing could be accepted once more; with extended sequence numbers that are
// far behind none arrives.
func (n *Node) raise(ctx context.Context, t *uapi.Template, floors []cxtp.SequenceFloor) error {
	for _, floor := range floors {
		id := uapi.StateID{Dst: t.Src, SPI: floor.SPI, Proto: uapi.Proto(floor.Protocol)}
		e, err := n.kernel.GetReplay(ctx, id)
		if errors.Is(err, uapi.ErrNotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("failed to read the sequence numbers of %s: %w", id, err)
		}
		if e.Replay == nil || e.ReqID != n.reqid {
			continue
		}
		number := floor.Number
		if !e.Replay.Extended {
			number = min(number, last32)
		}
		if e.Replay.Seq >= number {
			continue
		}
		e.Replay.Seq = number
		for i := range e.Replay.Bitmap {
			e.Replay.Bitmap[i] = math.MaxUint32
		}
		if err := n.kernel.SetReplay(ctx, &uapi.AEvent{ID: e.ID, Src: e.Src, ReqID: e.ReqID, Replay: e.Replay}); err != nil {
			return fmt.Errorf("failed to set the sequence number of %s to %d: %w", id, number, err)
		}
	}
	return nil
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

// move replaces the SAs that a template finds by the same towards the gateway,
// those excepted that are so already.
func (n *Node) move(ctx context.Context, t *uapi.Template, f cxtp.AgentFollow) (int, error) {
	sas, err := n.matching(ctx, t)
	if err != nil {
		return 0, err
	}
	moved := 0
	for _, id := range sas {
		if id.Dst == f.Gateway.Addr() && spiThere(f, id.Proto, id.SPI) == id.SPI {
			continue
		}
		sa, err := n.kernel.DeleteState(ctx, id)
		if errors.Is(err, uapi.ErrNotFound) {
			continue // it ended meanwhile
		}
		if err != nil {
			return moved, fmt.Errorf("failed to stop %s: %w", id, err)
		}
		err = n.restart(ctx, sa, f)
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
func (n *Node) restart(ctx context.Context, sa *uapi.State, f cxtp.AgentFollow) error {
	gateway, was, spi, port := f.Gateway, sa.Dst, sa.SPI, uint16(0)
	sa.Dst, sa.SPI = gateway.Addr(), spiThere(f, sa.Proto, spi)
	if sa.Encap != nil && gateway.Port() != 0 {
		port, sa.Encap.DstPort = sa.Encap.DstPort, gateway.Port()
	}
	err := n.kernel.AddState(ctx, sa)
	if err == nil {
		return nil
	}
	sa.Dst, sa.SPI = was, spi
	if port != 0 {
		sa.Encap.DstPort = port
	}
	return fmt.Errorf("failed to point an SA at %s: %w", gateway, errors.Join(err, n.kernel.AddState(ctx, sa)))
}
