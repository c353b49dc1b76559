package config

import (
	"fmt"
	"net/netip"
)

// Transport is what the association with other routers needs.
type Transport struct {
	Carrier     Carrier        `toml:"carrier"`
	Listen      netip.AddrPort `toml:"listen"`
	Certificate string         `toml:"certificate"` // PEM file: chain, leaf first
	Key         string         `toml:"key"`         // PEM file
	CA          string         `toml:"ca"`          // PEM file: issuers of the peers' certificates

	// InsecureKeyLog is a file that gets the secrets of every association, for a
	// packet analyser. Whoever reads it has all keys that moved. Empty: none.
	InsecureKeyLog string `toml:"insecure_key_log"`
	// InsecureSCTP takes peers whom no IPsec policy covers: all keys that move
	// pass readably.
	InsecureSCTP bool `toml:"insecure_sctp"`
}

// Carrier says what carries the messages between routers, and protects them.
type Carrier string

const (
	DTLS Carrier = "dtls" // SCTP over DTLS over UDP, with certificates
	SCTP Carrier = "sctp" // the kernel's, under IPsec that is configured beside it
)

// validate sees to it that each carrier has what it needs, and that what makes one
// insecure stands beside no other.
func (t *Transport) validate(m *mistakes) {
	m.need(t.Listen.IsValid(), "transport.listen", `"0.0.0.0:5091"`)
	switch t.Carrier {
	case DTLS:
		m.need(t.Certificate != "", "transport.certificate", `"sg1.pem"`)
		m.need(t.Key != "", "transport.key", `"sg1.key"`)
		m.need(t.CA != "", "transport.ca", `"ca.pem"`)
		if t.InsecureSCTP {
			m.add("transport.insecure_sctp", "is for transport.carrier = \"sctp\" alone: take it away")
		}
	case SCTP:
		if t.Listen.IsValid() && t.Listen.Addr().IsUnspecified() {
			m.add("transport.listen", "is the wildcard %s: write the one address that the IPsec policies are for", t.Listen)
		}
		if t.InsecureKeyLog != "" {
			m.add("transport.insecure_key_log", "is for transport.carrier = \"dtls\" alone: take it away")
		}
	default:
		m.add("transport.carrier", "is %q: write \"dtls\" or \"sctp\"", t.Carrier)
	}
}

// validateEndpoints checks where the peers are. Of the kernel's SCTP, that is who they
// are.
func (c *Config) validateEndpoints(m *mistakes) {
	taken := map[netip.AddrPort]string{}
	for i := range c.Peers {
		p := &c.Peers[i]
		key := fmt.Sprintf("peer %q: endpoint", p.Name)
		if c.Transport.Carrier != SCTP {
			if p.Endpoint != "" && !validEndpoint(p.Endpoint) {
				m.add(key, "is %q: write host:port, for example \"198.51.100.2:5091\"", p.Endpoint)
			}
			continue
		}
		addr, err := netip.ParseAddrPort(p.Endpoint)
		switch {
		case err != nil || addr.Port() == 0 || !routers(addr.Addr()):
			m.add(key, "is %q: write the address and port that it sends from, which is all that it is known by, for example \"198.51.100.2:5091\"", p.Endpoint)
		case addr.Addr().Is4() != c.Transport.Listen.Addr().Is4():
			m.add(key, "is %s, and transport.listen is %s: both have to be IPv4, or both IPv6", addr, c.Transport.Listen)
		case taken[addr] != "":
			m.add(key, "is %s, as that of peer %q: each router needs an endpoint of its own", addr, taken[addr])
		default:
			taken[addr] = p.Name
		}
	}
}

// routers reports whether an address can be a router's, which a packet's source is
// compared with.
func routers(a netip.Addr) bool {
	return a == a.Unmap().WithZone("") && !a.IsUnspecified() && !a.IsMulticast()
}
