package config

import (
	"net/netip"

	"github.com/cxtp/cxtp/cxtp"
)

// Multicast says on which links of this router nodes listen to multicast groups (RFC
// 4067 appendix B).
type Multicast struct {
	Prefixes   []netip.Prefix `toml:"prefixes"`   // of links that this program has no hand in
	Interfaces []string       `toml:"interfaces"` // the links themselves
	Report     bool           `toml:"report"`     // to other MLD routers on bridges
}

func (c *Multicast) validate(m *mistakes) {
	for _, p := range c.Prefixes {
		link(m, "multicast.prefixes", p)
	}
	if len(c.Prefixes) > 0 && len(c.Interfaces) > 0 {
		m.add("multicast.prefixes", "is set, and so is multicast.interfaces, whose prefixes are those of their addresses: keep one")
	}
	for _, name := range c.Interfaces {
		m.need(name != "", "multicast.interfaces", `["br0"]`)
	}
	if c.Report && len(c.Interfaces) == 0 {
		m.add("multicast.report", "is true, and there is no link to report on: set multicast.interfaces")
	}
}

// link checks the prefix of a link that nodes are on.
func link(m *mistakes, key string, p netip.Prefix) {
	switch {
	case !p.Addr().Is6() || p.Addr().Is4In6() || p.Bits() > 64:
		m.add(key, "has %s: write an IPv6 prefix of at most 64 bits", p)
	case p != p.Masked():
		m.add(key, "has %s with bits beyond its length: write %s", p, p.Masked())
	}
}

// LinkOf is the prefix of a peer's link to nodes; zero where it is not known.
func (c *Config) LinkOf(peer cxtp.RouterID) netip.Prefix {
	for i := range c.Peers {
		if c.Peers[i].Name == string(peer) {
			return c.Peers[i].Multicast
		}
	}
	return netip.Prefix{}
}
