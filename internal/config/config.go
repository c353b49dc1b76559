// Package config reads the TOML configuration of the daemon.
//
// The file is the whole of it: there are no environment variables and no
// flags that change a setting. A key that the daemon does not know is refused,
// with the place where it stands, because a misspelt setting that silently
// keeps its default is worse than a daemon that does not start. [Reference]
// returns a file with every key, its meaning and its default.
//
// Relative paths are taken from the folder of the configuration file, so that
// a folder with a configuration and its certificates can be moved as one.
package config

import (
	"bytes"
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pelletier/go-toml/v2"

	"github.com/cxtp/cxtp/cxtp"
)

// Config is a daemon's configuration, complete with the defaults of whatever
// the file leaves out.
type Config struct {
	Name     string       `toml:"name"`      // this router, as its certificate says
	Address  []netip.Addr `toml:"address"`   // what CXTP messages call this router
	StateDir string       `toml:"state_dir"` // folder of the journal
	Control  string       `toml:"control"`   // Unix socket for the operator's tool
	Mode     Mode         `toml:"mode"`

	Transport Transport     `toml:"transport"`
	Node      Node          `toml:"node"`
	Gateway   Gateway       `toml:"gateway"`
	Kernel    KernelGateway `toml:"kernel"`
	Charon    Charon        `toml:"strongswan"`
	Steering  Steering      `toml:"steering"`
	Timers    Timers        `toml:"timers"`
	Limits    Limits        `toml:"limits"`
	Standby   Standby       `toml:"standby"`
	Multicast Multicast     `toml:"multicast"`
	Peers     []Peer        `toml:"peer"`
}

// Standby is where copies of this router's sessions are kept fresh.
type Standby struct {
	Peer string `toml:"peer"` // "" = nowhere, unless an operator orders it for a session
	Rate int    `toml:"rate"` // renewals a second of all sessions together
}

// Node is where mobile nodes send their messages.
type Node struct {
	Listen netip.AddrPort `toml:"listen"`
	ICMP   bool           `toml:"icmp"` // also by ICMP Experimental Mobility
}

// Gateway is the ESP gateway. Of the kernel's, Kind and Announce say all that is
// not in [KernelGateway].
type Gateway struct {
	Kind     Kind             `toml:"kind"`
	Announce []netip.AddrPort `toml:"announce"` // what nodes are told; at most one a family
	Outside  netip.AddrPort   `toml:"outside"`  // ESP in UDP, towards the nodes
	Inside   netip.AddrPort   `toml:"inside"`   // bare inner packets in UDP
	NextHop  netip.AddrPort   `toml:"next_hop"` // where inner packets from nodes go
	Queue    int              `toml:"queue"`    // packets that a frozen or staged session may queue

	SPIConflict SPIConflict `toml:"spi_conflict"` // what a session gets whose inbound SPI is taken here
}

// Steering is the operator's hook that makes the network send a node's
// downlink to this router.
type Steering struct {
	Hook    []string `toml:"hook"` // program and arguments; empty: nothing to do
	Timeout Duration `toml:"timeout"`
}

// Limits bound what others may make the daemon do.
type Limits struct {
	RequestRate  int `toml:"request_rate"`  // CT_REQUEST_RATE, of one source
	RequestTotal int `toml:"request_total"` // the same of all sources together
	WrongTokens  int `toml:"wrong_tokens"`  // of 32 bits, for one session in a row
	Attempts     int `toml:"attempts"`      // of an operator's order that nothing answers
}

// Peer is another router, how to reach it, and this router's policy for it.
type Peer struct {
	Name      string         `toml:"name"`
	Address   []netip.Addr   `toml:"address"`   // what CXTP messages call it
	Endpoint  string         `toml:"endpoint"`  // host:port of its transport; empty: it dials us
	Identity  string         `toml:"identity"`  // DNS name in its certificate; default: Name
	Inside    netip.AddrPort `toml:"inside"`    // of its userspace gateway; redirected packets go there
	Via       []netip.Addr   `toml:"via"`       // of its kernel gateway, on the protected side, for the same; one a family
	Multicast netip.Prefix   `toml:"multicast"` // of its link to nodes, where it is not as ours
	Outside   []netip.Addr   `toml:"outside"`   // of its kernel gateway, on the link to the nodes: for what comes to a shared address

	Plain        bool           `toml:"plain"` // it knows nothing but RFC 4067
	Push         bool           `toml:"push"`
	WithoutToken bool           `toml:"without_token"`
	Identities   []string       `toml:"identities"`
	Inner        []netip.Prefix `toml:"inner"`
	MaxSessions  int            `toml:"max_sessions"`
	Pull         Pull           `toml:"pull"`
}

// reference is a configuration with every key.
//
//go:embed reference.toml
var reference string

// Reference returns a commented configuration with every key. It is itself
// valid.
func Reference() string { return reference }

// Load reads the configuration file at path.
func Load(path string) (*Config, error) {
	data, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no configuration %s: name the file with -config, or begin one with cxtpd -reference", path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("this user may not read the configuration: %w", err)
	case err != nil:
		return nil, fmt.Errorf("failed to read the configuration: %w", err)
	}
	return Parse(path, data)
}

// Parse reads a configuration. The name is the file's, for messages and for
// the folder from which relative paths are taken. What is wrong is reported
// all at once where that is possible, one line a mistake.
func Parse(name string, data []byte) (*Config, error) {
	c := &Config{
		StateDir:  "/var/lib/cxtpd",
		Control:   "/run/cxtpd/control.sock",
		Mode:      Mode(cxtp.ModeLossless),
		Transport: Transport{Carrier: DTLS},
		Gateway:   Gateway{Kind: Userspace, Queue: 1024, SPIConflict: Deny},
		Kernel:    defaultKernel(),
		Charon:    defaultCharon(),
		Steering:  Steering{Timeout: Duration{5 * time.Second}},
		Timers:    defaultTimers(),
		Standby:   Standby{Rate: 1000},
		Limits: Limits{
			RequestRate: cxtp.DefaultRequestRate, RequestTotal: cxtp.DefaultRequestTotal, WrongTokens: cxtp.DefaultWrongTokens, Attempts: cxtp.DefaultAttempts,
		},
	}
	dec := toml.NewDecoder(bytes.NewReader(data)).DisallowUnknownFields()
	if err := dec.Decode(c); err != nil {
		return nil, explain(name, err)
	}
	c.complete(filepath.Dir(name))
	if err := c.validate(); err != nil {
		return nil, inFile(name, err)
	}
	return c, nil
}

// explain turns the decoder's errors into lines of "file:line:column: what".
func explain(name string, err error) error {
	var unknown *toml.StrictMissingError
	if errors.As(err, &unknown) {
		var errs []error
		for _, e := range unknown.Errors {
			line, column := e.Position()
			errs = append(errs, fmt.Errorf("%s:%d:%d: unknown key %q: remove it or correct its spelling",
				name, line, column, strings.Join(e.Key(), ".")))
		}
		return errors.Join(errs...)
	}
	var bad *toml.DecodeError
	if errors.As(err, &bad) {
		line, column := bad.Position()
		what := inWords(bad)
		if key := strings.Join(bad.Key(), "."); key != "" {
			what = key + ": " + what
		}
		return fmt.Errorf("%s:%d:%d: %s", name, line, column, what)
	}
	return fmt.Errorf("%s: %w", name, err)
}

// complete fills in what follows from other keys.
func (c *Config) complete(folder string) {
	for _, path := range []*string{
		&c.StateDir, &c.Control, &c.Charon.Vici,
		&c.Transport.Certificate, &c.Transport.Key, &c.Transport.CA, &c.Transport.InsecureKeyLog,
	} {
		*path = within(folder, *path)
	}
	// A hook without a separator is looked up in PATH, as a shell would.
	if hook := c.Steering.Hook; len(hook) > 0 && filepath.Base(hook[0]) != hook[0] {
		hook[0] = within(folder, hook[0])
	}
	if outside := c.Gateway.Outside; len(c.Gateway.Announce) == 0 && outside.IsValid() && !outside.Addr().IsUnspecified() {
		c.Gateway.Announce = []netip.AddrPort{outside}
	}
	for i := range c.Peers {
		p := &c.Peers[i]
		p.Identity = cmp.Or(p.Identity, p.Name)
		p.MaxSessions = cmp.Or(p.MaxSessions, cxtp.DefaultMaxSessions)
	}
}

// within takes a relative path from folder. No path stays no path.
func within(folder, path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(folder, path)
}

// MachineGateway returns what the machine's gateway updates announce; zero
// for a family that is not served.
func (c *Config) MachineGateway() (v4, v6 netip.AddrPort) {
	for _, a := range c.Gateway.Announce {
		if a.Addr().Is4() {
			v4 = a
		} else {
			v6 = a
		}
	}
	return v4, v6
}

// MachinePeers returns the machine's view of the peers: names, addresses and
// policy.
func (c *Config) MachinePeers() []cxtp.Peer {
	peers := make([]cxtp.Peer, len(c.Peers))
	for i, p := range c.Peers {
		peers[i] = cxtp.Peer{
			ID: cxtp.RouterID(p.Name), Addrs: p.Address,
			Push: p.Push, ActivateWithoutToken: p.WithoutToken,
			Identities: p.Identities, Inner: p.Inner, MaxSessions: p.MaxSessions,
			Pull: cxtp.PullPolicy(p.Pull), Plain: p.Plain,
		}
	}
	return peers
}
