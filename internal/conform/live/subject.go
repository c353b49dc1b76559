package live

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/config"
)

// Subject is the router under test, and what the prober has to know of it.
type Subject struct {
	Name     string `toml:"name"`     // in reports
	Router   string `toml:"router"`   // UDP host:port where it speaks to routers
	Identity string `toml:"identity"` // DNS name in its certificate
	Node     string `toml:"node"`     // UDP host:port where it speaks to mobile nodes

	// Profile is the router's name in our control profile; "" = it speaks RFC 4067
	// alone.
	Profile string `toml:"control_profile"`
	// NullToken: it gives the prober contexts for a token of zero (section 2.5.6).
	NullToken bool `toml:"null_token"`

	Probe  Probe  `toml:"probe"`
	Timers Timers `toml:"timers"`
	Nodes  []Node `toml:"mobile_node"`

	// Strangers is where the addresses of nodes are taken from of whom the router has
	// nothing, one prefix a family. Nobody else uses them.
	Strangers []netip.Prefix `toml:"strangers"`
}

// Probe is what the router knows the prober as: one of its neighbours.
type Probe struct {
	Address     []netip.Addr `toml:"address"`     // what CXTP messages call it, one a family
	Listen      string       `toml:"listen"`      // UDP host:port for routers
	ListenNode  string       `toml:"listen_node"` // UDP host:port as the mobile node
	Certificate string       `toml:"certificate"` // PEM file
	Key         string       `toml:"key"`         // PEM file
	CA          string       `toml:"ca"`          // PEM file: who issued the router's certificate
}

// Timers are how the router is set up, and how long the prober waits.
type Timers struct {
	MaxTransfer config.Duration `toml:"max_transfer"` // CT_MAX_TRANSFER_TIME
	RequestRate int             `toml:"request_rate"` // CT_REQUEST_RATE, CTARs a second
	Patience    config.Duration `toml:"patience"`     // a message that is due is there in this time
	Quiet       config.Duration `toml:"quiet"`        // and one that is not there then does not come
}

// Node is a mobile node whose contexts the router has.
type Node struct {
	Previous netip.Addr      `toml:"previous"` // the address that the router knows it by
	Keys     []config.HexKey `toml:"keys"`     // of its tokens (HMAC-SHA-1), in the order of their use
	Contexts []cxtp.FPT      `toml:"contexts"` // the types of its contexts
	Groups   []netip.Addr    `toml:"groups"`   // of its multicast listener contexts (appendix B)
}

// Parse reads a subject's TOML. name is its file, for messages and as the place
// from which relative paths of files are taken.
func Parse(name string, text []byte) (*Subject, error) {
	s := &Subject{
		Probe: Probe{Listen: "0.0.0.0:0", ListenNode: "0.0.0.0:0"},
		Timers: Timers{
			MaxTransfer: config.Duration{Duration: cxtp.DefaultTimers().MaxTransfer}, RequestRate: cxtp.DefaultRequestRate,
			Patience: config.Duration{Duration: 3 * time.Second}, Quiet: config.Duration{Duration: 500 * time.Millisecond},
		},
		Strangers: []netip.Prefix{netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("2001:db8:cafe::/64")},
	}
	if err := toml.NewDecoder(bytes.NewReader(text)).DisallowUnknownFields().Decode(s); err != nil {
		return nil, fmt.Errorf("failed to read %s: %w", name, config.Where(err, "doc/conformance.md lists them"))
	}
	for _, path := range []*string{&s.Probe.Certificate, &s.Probe.Key, &s.Probe.CA} {
		if *path != "" && !filepath.IsAbs(*path) {
			*path = filepath.Join(filepath.Dir(name), *path)
		}
	}
	if err := s.check(); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if s.Name == "" {
		s.Name = s.Router
	}
	return s, nil
}

// check finds what no case could be run with.
func (s *Subject) check() error {
	for _, setting := range []struct{ name, text string }{
		{"router", s.Router}, {"identity", s.Identity},
		{"probe.certificate", s.Probe.Certificate}, {"probe.key", s.Probe.Key}, {"probe.ca", s.Probe.CA},
	} {
		if setting.text == "" {
			return fmt.Errorf("%s is missing: the prober is a neighbour of the router, and connects to it", setting.name)
		}
	}
	if len(s.Probe.Address) == 0 {
		return errors.New("probe.address is missing: what CXTP messages call the prober's router")
	}
	for _, endpoint := range []string{s.Router, s.Node} {
		if _, _, err := net.SplitHostPort(endpoint); err != nil && endpoint != "" {
			return fmt.Errorf("%q is no endpoint, write host:port", endpoint)
		}
	}
	for i, n := range s.Nodes {
		if !n.Previous.IsValid() || len(n.Keys) == 0 || len(n.Contexts) == 0 {
			return fmt.Errorf("mobile_node[%d]: it needs previous, keys and contexts", i)
		}
	}
	switch t := s.Timers; {
	case t.MaxTransfer.Duration <= 0 || t.Patience.Duration <= 0 || t.Quiet.Duration <= 0:
		return errors.New("timers: every time is above zero")
	case t.RequestRate < 1 || t.RequestRate > 1000:
		return fmt.Errorf("timers.request_rate is %d, the prober can tell rates from 1 to 1000 a second", t.RequestRate)
	}
	return nil
}
