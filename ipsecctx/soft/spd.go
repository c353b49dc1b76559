package soft

import (
	"net/netip"
	"slices"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
)

// spd finds the session that an inner packet belongs to, and what of a new
// session collides with the ones that are there. Sessions never overlap, so
// there is no order among them.
//
// A gateway's sessions nearly always name the single inner addresses of a node
// as their remote side, so these are looked up by address; a session with any
// wider selector is in a list.
type spd struct {
	sessions map[cxtp.SessionID]*session
	byRemote map[netip.Addr][]*session
	wide     []*session
	inner    map[netip.Addr]*session // inner prefixes of one address
	nets     map[netip.Prefix]*session
}

func newSPD() spd {
	return spd{
		sessions: make(map[cxtp.SessionID]*session),
		byRemote: make(map[netip.Addr][]*session),
		inner:    make(map[netip.Addr]*session),
		nets:     make(map[netip.Prefix]*session),
	}
}

// lookup returns the session with an outbound SA for the flow, or nil.
func (t *spd) lookup(f *flow) *session {
	for _, s := range t.byRemote[f.dst] {
		if s.claims(f) {
			return s
		}
	}
	for _, s := range t.wide {
		if s.claims(f) {
			return s
		}
	}
	return nil
}

// remoteHosts lists the remote addresses of the session's selectors, or reports
// false if they are more than single addresses.
func remoteHosts(s *ipsecctx.Session) ([]netip.Addr, bool) {
	var hosts []netip.Addr
	for i := range s.SAs {
		for _, sel := range s.SAs[i].Selectors {
			if len(sel.Remote) == 0 {
				return nil, false
			}
			for _, r := range sel.Remote {
				if r.From != r.To {
					return nil, false
				}
				if !slices.Contains(hosts, r.From) {
					hosts = append(hosts, r.From)
				}
			}
		}
	}
	return hosts, true
}

func (t *spd) add(s *session) {
	t.sessions[s.id] = s
	if hosts, ok := remoteHosts(s.static); ok {
		for _, a := range hosts {
			t.byRemote[a] = append(t.byRemote[a], s)
		}
	} else {
		t.wide = append(t.wide, s)
	}
	for _, p := range s.static.Inner {
		if p.IsSingleIP() {
			t.inner[p.Addr()] = s
		} else {
			t.nets[p] = s
		}
	}
}

func (t *spd) remove(s *session) {
	delete(t.sessions, s.id)
	is := func(other *session) bool { return other == s }
	if hosts, ok := remoteHosts(s.static); ok {
		for _, a := range hosts {
			if t.byRemote[a] = slices.DeleteFunc(t.byRemote[a], is); len(t.byRemote[a]) == 0 {
				delete(t.byRemote, a)
			}
		}
	} else {
		t.wide = slices.DeleteFunc(t.wide, is)
	}
	for _, p := range s.static.Inner {
		if p.IsSingleIP() {
			delete(t.inner, p.Addr())
		} else {
			delete(t.nets, p)
		}
	}
}

// conflict returns a session other than self that overlaps static, in inner
// addresses or in selectors, or nil.
func (t *spd) conflict(static *ipsecctx.Session, self *session) *session {
	for _, p := range static.Inner {
		if other := t.innerConflict(p, self); other != nil {
			return other
		}
	}
	clashes := func(other *session) bool { return other != self && overlap(static, other.static) }
	hosts, ok := remoteHosts(static)
	if !ok {
		for _, other := range t.sessions {
			if clashes(other) {
				return other
			}
		}
		return nil
	}
	for _, a := range hosts {
		if i := slices.IndexFunc(t.byRemote[a], clashes); i >= 0 {
			return t.byRemote[a][i]
		}
	}
	if i := slices.IndexFunc(t.wide, clashes); i >= 0 {
		return t.wide[i]
	}
	return nil
}

func (t *spd) innerConflict(p netip.Prefix, self *session) *session {
	if p.IsSingleIP() {
		if other := t.inner[p.Addr()]; other != nil && other != self {
			return other
		}
	} else {
		for a, other := range t.inner {
			if other != self && p.Contains(a) {
				return other
			}
		}
	}
	for net, other := range t.nets {
		if other != self && net.Overlaps(p) {
			return other
		}
	}
	return nil
}

// overlap reports whether some packet could belong to both sessions.
func overlap(a, b *ipsecctx.Session) bool {
	for i := range a.SAs {
		for j := range b.SAs {
			for k := range a.SAs[i].Selectors {
				for l := range b.SAs[j].Selectors {
					if overlapSelectors(&a.SAs[i].Selectors[k], &b.SAs[j].Selectors[l]) {
						return true
					}
				}
			}
		}
	}
	return false
}

// overlapSelectors errs on the side of yes: it does not look into ICMP and
// Mobility Header types.
func overlapSelectors(a, b *ipsecctx.Selector) bool {
	if !overlapRanges(a.Local, b.Local) || !overlapRanges(a.Remote, b.Remote) {
		return false
	}
	if a.Protocol.Match != ipsecctx.MatchValue || b.Protocol.Match != ipsecctx.MatchValue {
		return true
	}
	if a.Protocol.Number != b.Protocol.Number {
		return false
	}
	return !hasPorts(a.Protocol.Number) || overlapPorts(a.LocalPort, b.LocalPort) && overlapPorts(a.RemotePort, b.RemotePort)
}

func overlapRanges(a, b []ipsecctx.Range) bool {
	if len(a) == 0 || len(b) == 0 {
		return true
	}
	for _, x := range a {
		for _, y := range b {
			if x.From.BitLen() == y.From.BitLen() && x.From.Compare(y.To) <= 0 && y.From.Compare(x.To) <= 0 {
				return true
			}
		}
	}
	return false
}

func overlapPorts(a, b ipsecctx.Ports) bool {
	if a == ipsecctx.OpaquePort || b == ipsecctx.OpaquePort {
		return a == b || a == ipsecctx.AnyPort || b == ipsecctx.AnyPort
	}
	return a.From <= b.To && b.From <= a.To
}
