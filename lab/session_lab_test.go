//go:build linux && lab

package lab

import (
	"net/netip"

	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
	"github.com/cxtp/cxtp/lab/matrix"
	"github.com/cxtp/cxtp/lab/topology"
)

// The axes of the matrices.
const (
	axisSuite  = "suite"
	axisESN    = "esn"
	axisMode   = "mode"
	axisFamily = "family" // inner in outer
	axisEncap  = "encap"
	axisUplink = "uplink" // how the node's packets find the new gateway
	axisMove   = "move"   // lossless or strict
	axisDelay  = "delay"  // of each step of a move
)

// link is the IPsec connection of a node with a gateway, and what it protects.
type link struct {
	suite      suite
	esn        bool
	transport  bool
	encap      bool
	window     uint32
	node, gate netip.Addr // outer
	inner, far netip.Addr // what the node and whom it talks to have; in transport mode the outer ones
	spiUp      uint32     // of what the node sends, chosen by the gateway
	spiDown    uint32     // of what it receives, chosen by the node
	reqID      uint32
	virtual    bool // the gateways share their address
	outer6     bool
}

// linkOf makes the connection that a case asks for, with the first gateway.
func linkOf(c matrix.Case) *link {
	l := &link{
		suite: suiteNamed(c.Get(axisSuite)), esn: c.Get(axisESN) == "esn", transport: c.Get(axisMode) == "transport",
		encap: c.Get(axisEncap) == "udp", window: 64,
		spiUp: 0xc0000001, spiDown: 0xc1000001, reqID: 7,
		virtual: c.Get(axisUplink) == "indirect" || c.Get(axisUplink) == "forwarded",
	}
	family := c.Get(axisFamily)
	l.outer6 = family == "4in6" || family == "6in6"
	inner6 := family == "6in4" || family == "6in6"
	l.node, l.gate = topology.MN.Of(l.outer6), topology.SG1.Of(l.outer6)
	if l.virtual {
		l.gate = topology.Virtual.Of(l.outer6)
	}
	l.inner, l.far = topology.MNInner.Of(inner6), topology.Host.Of(inner6)
	if l.transport {
		l.inner, l.far = l.node, l.gate
	}
	return l
}

// possible leaves out what cannot be.
func possible(c matrix.Case) bool {
	family, suite := c.Get(axisFamily), suiteNamed(c.Get(axisSuite))
	switch {
	case c.Get(axisMode) == "transport" && (family == "4in6" || family == "6in4"):
		return false // transport mode has one header
	case c.Get(axisMode) == "transport" && c.Get(axisUplink) == "direct":
		return false // the address is part of what is protected
	case suite.proto == uapi.AH && c.Get(axisEncap) == "udp":
		return false // RFC 3948 is for ESP
	}
	return true
}

func full(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()) }

func familyOf(a netip.Addr) uapi.Family {
	if a.Is6() {
		return uapi.IPv6
	}
	return uapi.IPv4
}

const encapPort = 4500

// state is an SA of the connection, the same at both of its ends.
func (l *link) state(src, dst netip.Addr, spi uint32) *uapi.State {
	s := &uapi.State{
		Src: src, Dst: dst, Proto: l.suite.proto, SPI: spi, Mode: uapi.Tunnel, ReqID: l.reqID,
		Flags: uapi.FlagAFUnspec, Limits: uapi.NoLimits(),
		Replay: uapi.Replay{Extended: true, Window: l.window, Bitmap: make([]uint32, l.window/32)},
	}
	if l.transport {
		s.Mode, s.Flags = uapi.Transport, 0
		s.Selector.Family = familyOf(l.inner)
	}
	if l.esn {
		s.Flags |= uapi.FlagESN
	}
	if l.suite.proto == uapi.AH && !l.outer6 {
		s.Flags |= uapi.FlagAlign4 // else the kernel pads AH as for IPv6, against RFC 4302
	}
	if l.encap {
		s.Encap = &uapi.Encap{Type: uapi.ESPInUDP, SrcPort: encapPort, DstPort: encapPort}
	}
	l.suite.protect(s)
	return s
}

// up and down are the SAs of the node's direction and of the other.
func (l *link) up() *uapi.State   { return l.state(l.node, l.gate, l.spiUp) }
func (l *link) down() *uapi.State { return l.state(l.gate, l.node, l.spiDown) }

// policy is an entry that protects one direction of the connection.
func (l *link) policy(dir uapi.Dir, up bool) *uapi.Policy {
	from, to, src, dst := l.far, l.inner, l.gate, l.node
	if up {
		from, to, src, dst = l.inner, l.far, l.node, l.gate
	}
	mode := uapi.Tunnel
	if l.transport {
		mode = uapi.Transport
	}
	return &uapi.Policy{
		Selector: uapi.Selector{Family: familyOf(from), Src: full(from), Dst: full(to)},
		Dir:      dir, Priority: 100, Action: uapi.Allow, Limits: uapi.NoLimits(),
		Templates: []uapi.Template{{
			Family: familyOf(src), Src: src, Dst: dst, Proto: l.suite.proto, Mode: mode, ReqID: l.reqID,
			AuthAlgs: uapi.AllAlgorithms, CryptAlgs: uapi.AllAlgorithms, CompAlgs: uapi.AllAlgorithms,
		}},
	}
}

// nodePolicies are the entries at the node.
func (l *link) nodePolicies() []*uapi.Policy {
	return []*uapi.Policy{l.policy(uapi.DirOut, true), l.policy(uapi.DirIn, false)}
}

// gatePolicies are the entries at a gateway.
func (l *link) gatePolicies() []*uapi.Policy {
	return []*uapi.Policy{l.policy(uapi.DirIn, true), l.policy(uapi.DirFwd, true), l.policy(uapi.DirOut, false)}
}

// block discards what the connection protects, where nothing else wants it.
func (l *link) block(dir uapi.Dir, up bool) *uapi.Policy {
	p := l.policy(dir, up)
	p.Action, p.Templates, p.Priority = uapi.Block, nil, 10_000
	// A selector of its own: the kernel takes one only once a direction.
	widen := func(f netip.Prefix) netip.Prefix { return netip.PrefixFrom(f.Addr(), f.Bits()-1).Masked() }
	p.Selector.Src, p.Selector.Dst = widen(p.Selector.Src), widen(p.Selector.Dst)
	return p
}

// gateBlocks are the entries that a gateway has before anything else.
func (l *link) gateBlocks() []*uapi.Policy {
	return []*uapi.Policy{l.block(uapi.DirIn, true), l.block(uapi.DirFwd, true), l.block(uapi.DirOut, false)}
}
