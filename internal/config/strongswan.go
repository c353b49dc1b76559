package config

import "net/netip"

// Charon is how to reach the IKE daemon whose sessions are moved.
type Charon struct {
	Vici     string     `toml:"vici"`     // its control socket
	Agent    netip.Addr `toml:"agent"`    // charon.plugins.ha.remote: this program's end
	Charon   netip.Addr `toml:"charon"`   // charon.plugins.ha.local
	Segments int        `toml:"segments"` // charon.plugins.ha.segment_count
}

func defaultCharon() Charon {
	return Charon{Vici: "/var/run/charon.vici", Agent: netip.MustParseAddr("127.0.0.2"), Charon: netip.MustParseAddr("127.0.0.1"), Segments: 16}
}

// maxSegments is charon's own bound.
const maxSegments = 16

func (c *Charon) validate(m *mistakes) {
	m.need(c.Vici != "", "strongswan.vici", `"/var/run/charon.vici"`)
	m.need(c.Agent.IsValid(), "strongswan.agent", `"127.0.0.2"`)
	m.need(c.Charon.IsValid(), "strongswan.charon", `"127.0.0.1"`)
	for _, end := range []struct {
		key string
		a   netip.Addr
	}{{"strongswan.agent", c.Agent}, {"strongswan.charon", c.Charon}} {
		if end.a.IsValid() && !end.a.IsLoopback() {
			m.add(end.key, "is %s: keys pass there in the clear, so it has to be on the loopback interface", end.a)
		}
	}
	if c.Agent == c.Charon && c.Agent.IsValid() {
		m.add("strongswan.agent", "is %s, as strongswan.charon is: both use the same port", c.Agent)
	}
	if c.Segments < 2 || c.Segments > maxSegments {
		m.add("strongswan.segments", "is %d: set charon.plugins.ha.segment_count to 16, and this too", c.Segments)
	}
}
