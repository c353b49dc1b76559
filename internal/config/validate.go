package config

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// mistakes collects what is wrong, so that an operator sees all of it at once.
type mistakes []error

func (m *mistakes) add(key, format string, args ...any) {
	*m = append(*m, fmt.Errorf("%s %s", key, fmt.Sprintf(format, args...)))
}

// need reports a key that has no value.
func (m *mistakes) need(present bool, key, example string) {
	if !present {
		m.add(key, "is missing: set it, for example %s = %s", key[strings.LastIndexAny(key, ". ")+1:], example)
	}
}

// destination checks an endpoint that has to be there and takes packets.
func (m *mistakes) destination(key string, endpoint netip.AddrPort, example string) {
	if m.need(endpoint.IsValid(), key, example); endpoint.IsValid() {
		m.reachable(key, endpoint)
	}
}

// reachable reports endpoints that packets cannot be sent to.
func (m *mistakes) reachable(key string, endpoints ...netip.AddrPort) {
	for _, e := range endpoints {
		if e.Addr().IsUnspecified() || e.Port() == 0 {
			m.add(key, "has %s, which nothing can be sent to: write the address and the port that packets reach it at", e)
		}
	}
}

// addresses checks what CXTP messages call a router.
func (m *mistakes) addresses(key string, addrs []netip.Addr, example string) {
	m.need(len(addrs) > 0, key, example)
	for _, a := range addrs {
		if plain := a.Unmap().WithZone(""); a.IsUnspecified() || !a.IsValid() {
			m.add(key, "has %q: write the address that other routers know it by", a)
		} else if a != plain {
			m.add(key, "has %s, which messages cannot carry: write %s", a, plain)
		}
	}
}

// inFile puts the file's name before each mistake.
func inFile(name string, err error) error {
	var errs []error
	for _, e := range err.(interface{ Unwrap() []error }).Unwrap() {
		errs = append(errs, fmt.Errorf("%s: %w", name, e))
	}
	return errors.Join(errs...)
}

func (c *Config) validate() error {
	var m mistakes
	m.need(c.Name != "", "name", `"sg1"`)
	m.addresses("address", c.Address, `["192.0.2.1"]`)
	m.need(c.StateDir != "", "state_dir", `"/var/lib/cxtpd"`)
	m.need(c.Control != "", "control", `"/run/cxtpd/control.sock"`)
	c.Transport.validate(&m)
	m.need(c.Node.Listen.IsValid(), "node.listen", `"0.0.0.0:5092"`)
	c.Gateway.validate(&m)
	if c.Gateway.Kind.OfKernel() {
		c.Kernel.validate(&m)
		c.validateShared(&m)
	}
	if c.Gateway.Kind == Strongswan {
		c.Charon.validate(&m)
	}
	c.Steering.validate(&m)
	c.Timers.validate(&m)
	c.Limits.validate(&m)
	c.Multicast.validate(&m)
	if c.Standby.Rate < 1 {
		m.add("standby.rate", "is %d: set it to at least 1 renewal a second", c.Standby.Rate)
	}
	if slices.ContainsFunc(c.Peers, func(x Peer) bool { return x.Plain && x.Name == c.Standby.Peer }) {
		m.add("standby.peer", "is %q, and that is plain: a standby needs our control profile", c.Standby.Peer)
	}
	if p := c.Standby.Peer; p != "" && !slices.ContainsFunc(c.Peers, func(x Peer) bool { return x.Name == p }) {
		m.add("standby.peer", "is %q, and there is no [[peer]] of that name", p)
	}
	c.validatePeers(&m)
	c.validateEndpoints(&m)
	return errors.Join(m...)
}

func (g *Gateway) validate(m *mistakes) {
	if g.Kind != Userspace && !g.Kind.OfKernel() {
		m.add("gateway.kind", "is %q: write \"userspace\", \"kernel\" or \"strongswan\"", g.Kind)
		return
	}
	switch g.SPIConflict {
	case Deny, Renegotiate, Reassign:
	default:
		m.add("gateway.spi_conflict", "is %q: write \"deny\", \"renegotiate\" or \"reassign\"", g.SPIConflict)
	}
	if g.Kind == Userspace {
		m.need(g.Outside.IsValid(), "gateway.outside", `"0.0.0.0:4500"`)
		m.need(g.Inside.IsValid(), "gateway.inside", `"127.0.0.1:4600"`)
		m.destination("gateway.next_hop", g.NextHop, `"127.0.0.1:4601"`)
	} else {
		m.need(len(g.Announce) > 0, "gateway.announce", `["203.0.113.1:4500"]`)
	}
	if g.Kind == Userspace && g.Outside.IsValid() && len(g.Announce) == 0 {
		m.add("gateway.announce", "is missing, and gateway.outside is the wildcard %s: set it to what nodes can reach, for example announce = [\"203.0.113.1:4500\"]", g.Outside)
	}
	m.reachable("gateway.announce", g.Announce...)
	families := map[bool]netip.AddrPort{}
	for _, a := range g.Announce {
		if first, dup := families[a.Addr().Is4()]; dup {
			m.add("gateway.announce", "has both %s and %s: keep one IPv4 and one IPv6 endpoint at most", first, a)
		}
		families[a.Addr().Is4()] = a
	}
	if g.Queue < 1 {
		m.add("gateway.queue", "is %d: set it to at least 1 packet", g.Queue)
	}
}

// validateShared sees to it that nodes are told of the addresses that are shared and
// of no others, and that peers can be forwarded to.
func (c *Config) validateShared(m *mistakes) {
	if len(c.Kernel.Shared) == 0 {
		return
	}
	for _, a := range c.Kernel.Shared {
		if sentTo(a) && !slices.ContainsFunc(c.Gateway.Announce, func(e netip.AddrPort) bool { return e.Addr() == a }) {
			m.add("kernel.shared", "has %s, and gateway.announce does not: nodes would be told to leave it, so announce it", a)
		}
	}
	for i := range c.Peers {
		if p := &c.Peers[i]; p.Name != "" {
			key := fmt.Sprintf("peer %q: outside", p.Name)
			m.addresses(key, p.Outside, `["192.0.2.12"]`)
			for _, a := range p.Outside {
				if slices.Contains(c.Kernel.Shared, a) {
					m.add(key, "has %s, which is shared: write an address that is this peer's alone", a)
				}
			}
		}
	}
}

func (s *Steering) validate(m *mistakes) {
	if len(s.Hook) > 0 && s.Hook[0] == "" {
		m.add("steering.hook", "names no program: begin it with the path of one, or leave it empty")
	}
	if s.Timeout.Duration <= 0 {
		m.add("steering.timeout", "is %v: set it to more than 0s", s.Timeout)
	}
}

func (t *Timers) validate(m *mistakes) {
	for _, timer := range []struct {
		key   string
		value Duration
	}{
		{"max_transfer", t.MaxTransfer}, {"request_wait", t.RequestWait}, {"stage_hold", t.StageHold},
		{"repeat", t.Repeat}, {"repeat_max", t.RepeatMax}, {"freeze_deadline", t.FreezeDeadline},
		{"steer_deadline", t.SteerDeadline}, {"update_repeat", t.UpdateRepeat},
		{"update_give_up", t.UpdateGiveUp}, {"close_wait", t.CloseWait}, {"close_give_up", t.CloseGiveUp}, {"standby_every", t.StandbyEvery}, {"standby_hold", t.StandbyHold}, {"remember", t.Remember},
	} {
		if timer.value.Duration <= 0 {
			m.add("timers."+timer.key, "is %v: set it to more than 0s, or leave it out for its default", timer.value)
		}
	}
	if t.Grace.Duration < 0 {
		m.add("timers.grace", "is %v: set it to 0s or more", t.Grace)
	}
	if t.Lease.Duration < 0 || t.Lease.Duration > 0 && t.Lease.Duration < 2*t.StandbyEvery.Duration {
		m.add("timers.lease", "is %v: set it to twice timers.standby_every or more, so that one lost renewal freezes nothing, or to 0s", t.Lease)
	}
	if t.RepeatMax.Duration < t.Repeat.Duration {
		m.add("timers.repeat_max", "is %v, below timers.repeat: set it to at least %v", t.RepeatMax, t.Repeat)
	}
}

func (l *Limits) validate(m *mistakes) {
	for _, limit := range []struct {
		key   string
		value int
	}{{"request_rate", l.RequestRate}, {"request_total", l.RequestTotal}, {"wrong_tokens", l.WrongTokens}, {"attempts", l.Attempts}} {
		if limit.value < 1 {
			m.add("limits."+limit.key, "is %d: set it to 1 or more, or leave it out for its default", limit.value)
		}
	}
}

func (c *Config) validatePeers(m *mistakes) {
	names := map[string]bool{}
	identities := map[string]string{}
	addresses := map[netip.Addr]string{}
	for _, a := range c.Address {
		addresses[a] = c.Name
	}
	for i := range c.Peers {
		p := &c.Peers[i]
		key := fmt.Sprintf("peer[%d]", i+1)
		if p.Name == "" {
			m.need(false, key+".name", `"sg2"`)
			continue
		}
		key = fmt.Sprintf("peer %q: ", p.Name)
		switch identity := strings.ToLower(p.Identity); {
		case p.Name == c.Name:
			m.add(key+"name", "is this router's own: list only the other routers")
		case names[p.Name]:
			m.add(key+"name", "is listed twice: keep one [[peer]] for each router")
		case identities[identity] != "":
			m.add(key+"identity", "is %q, as that of peer %q: each router needs a certificate of its own", p.Identity, identities[identity])
		default:
			names[p.Name], identities[identity] = true, p.Name
		}
		for _, a := range p.Address {
			if other, dup := addresses[a]; dup {
				m.add(key+"address", "has %s, which is %q's: give each router addresses of its own", a, other)
			}
			addresses[a] = p.Name
		}
		p.validate(key, c.Gateway.Kind, m)
	}
}

func (p *Peer) validate(key string, kind Kind, m *mistakes) {
	m.addresses(key+"address", p.Address, `["192.0.2.2"]`)
	if kind == Userspace {
		m.destination(key+"inside", p.Inside, `"127.0.0.1:4700"`)
	} else if kind.OfKernel() {
		m.addresses(key+"via", p.Via, `["10.0.0.2"]`)
	}
	if p.Multicast.IsValid() {
		if link(m, key+"multicast", p.Multicast); p.Multicast.Bits() < 64 {
			m.add(key+"multicast", "is %s: the messages say 64 bits of it, so write the /64 that its nodes are in", p.Multicast)
		}
	}
	if p.MaxSessions < 0 {
		m.add(key+"max_sessions", "is %d: set it to 1 or more, or leave it out for its default", p.MaxSessions)
	}
	for _, inner := range p.Inner {
		if inner != inner.Masked() {
			m.add(key+"inner", "has %s with bits beyond its length: write %s", inner, inner.Masked())
		}
	}
}

// validEndpoint reports whether s is a host and a numeric port that can be dialed.
func validEndpoint(s string) bool {
	host, port, err := net.SplitHostPort(s)
	n, portErr := strconv.ParseUint(port, 10, 16)
	return err == nil && host != "" && portErr == nil && n > 0
}
