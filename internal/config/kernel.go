package config

import (
	"net/netip"
	"slices"
)

// Kind says whose SAs the sessions are.
type Kind string

const (
	Userspace Kind = "userspace" // this program's: lost with it
	Kernel    Kind = "kernel"    // the Linux kernel's
	// Strongswan: the kernel's, installed by a charon beside this program.
	Strongswan Kind = "strongswan"
)

// OfKernel reports whether the SAs are the kernel's, so that [KernelGateway] counts.
func (k Kind) OfKernel() bool { return k == Kernel || k == Strongswan }

// KernelGateway is what the gateway may use of its machine where the SAs are the
// kernel's.
type KernelGateway struct {
	Protect     []netip.Prefix `toml:"protect"`     // inner addresses that are never to leave in the clear
	Outside     string         `toml:"outside"`     // interface towards the nodes
	Inside      string         `toml:"inside"`      // interface to the protected side
	Answer      bool           `toml:"answer"`      // ARP and ND for inner addresses, on the inside
	Shared      []netip.Addr   `toml:"shared"`      // outer addresses that other gateways have as well
	Encapsulate bool           `toml:"encapsulate"` // open the sockets for ESP in UDP
	SPIs        []uint32       `toml:"spis"`        // first and last of this gateway's own
	ReqIDs      []uint32       `toml:"reqids"`      // first and last that it may use
	Priority    uint32         `toml:"priority"`    // of its policies
	Mark        uint32         `toml:"mark"`        // on packets that are to be a session's
	MarkMask    uint32         `toml:"mark_mask"`
	IfID        uint32         `toml:"if_id"` // of the xfrm interface
}

func defaultKernel() KernelGateway {
	return KernelGateway{Encapsulate: true, SPIs: []uint32{0x100, 0xffffffff}, ReqIDs: []uint32{0x40000000, 0x7fffffff}, Priority: 1000}
}

func (k *KernelGateway) validate(m *mistakes) {
	m.need(len(k.Protect) > 0, "kernel.protect", `["10.9.0.0/16"]`)
	for _, p := range k.Protect {
		if p != p.Masked() {
			m.add("kernel.protect", "has %s with bits beyond its length: write %s", p, p.Masked())
		}
	}
	m.need(k.Outside != "", "kernel.outside", `"eth0"`)
	m.need(k.Inside != "", "kernel.inside", `"eth1"`)
	for i, a := range k.Shared {
		if !sentTo(a) {
			m.add("kernel.shared", "has %q: write an address that nodes send to", a)
		} else if slices.Contains(k.Shared[:i], a) {
			m.add("kernel.shared", "has %s twice: keep one", a)
		}
	}
	k.span(m, "kernel.spis", k.SPIs, 0x100)
	k.span(m, "kernel.reqids", k.ReqIDs, 1)
	if k.Mark&^k.MarkMask != 0 {
		m.add("kernel.mark", "has bits that kernel.mark_mask does not look at: set the mask to 0x%x, for example", k.Mark|k.MarkMask)
	}
}

// sentTo reports whether nodes can send to an address.
func sentTo(a netip.Addr) bool {
	return a.IsValid() && a == a.Unmap().WithZone("") && !a.IsUnspecified() && !a.IsMulticast() && !a.IsLoopback()
}

func (*KernelGateway) span(m *mistakes, key string, s []uint32, lowest uint32) {
	if len(s) != 2 || s[0] < lowest || s[1] < s[0] {
		m.add(key, "is %d: write the first and the last number, from %d on", s, lowest)
	}
}
