package demo

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"text/template"

	"github.com/cxtp/cxtp/internal/control"
	"github.com/cxtp/cxtp/transport/testcert"
)

// gateway is one of the two, as this process sees it: the files that configure
// it, its process, and its control socket.
type gateway struct {
	Name   string
	Router netip.Addr // what CXTP messages call it
	Links  links

	folder  string
	control *control.Client
	process *process

	mu     sync.Mutex
	events []control.TraceEvent // of all its life
}

// links are a gateway's UDP endpoints.
type links struct{ Transport, Node, Outside, Inside netip.AddrPort }

// Identity is the name in the gateway's certificate.
func (g *gateway) Identity() string { return g.Name + ".example.net" }

func (g *gateway) socket() string { return filepath.Join(g.folder, g.Name+".sock") }

func (g *gateway) file() string { return filepath.Join(g.folder, g.Name+".toml") }

// settings is what a gateway's configuration is made from.
type settings struct {
	Self, Peer *gateway
	NextHop    netip.AddrPort
	Hook       []string
	Node       string // its identity
	Inner      netip.Prefix
}

// configuration lets each gateway take the one node's session from the other,
// with a token and without, and give it away when asked: the operator of both
// is the same.
var configuration = template.Must(template.New("configuration").Parse(`# A gateway of the demo.
name      = "{{.Self.Name}}"
address   = ["{{.Self.Router}}"]
state_dir = "{{.Self.Name}}.state"
control   = "{{.Self.Name}}.sock"
mode      = "lossless"

[transport]
listen      = "{{.Self.Links.Transport}}"
certificate = "{{.Self.Name}}.pem"
key         = "{{.Self.Name}}.key"
ca          = "{{.Self.Name}}.ca.pem"

[node]
listen = "{{.Self.Links.Node}}"

[gateway]
outside  = "{{.Self.Links.Outside}}"
announce = ["{{.Self.Links.Outside}}"]
inside   = "{{.Self.Links.Inside}}"
next_hop = "{{.NextHop}}"
queue    = 16384

[steering]
hook = [{{range $i, $word := .Hook}}{{if $i}}, {{end}}{{printf "%q" $word}}{{end}}]

[timers]
max_transfer = "1s" # a demo machine may have a slow disk under the journal
request_wait = "1s"

[[peer]]
name          = "{{.Peer.Name}}"
address       = ["{{.Peer.Router}}"]
endpoint      = "{{.Peer.Links.Transport}}"
identity      = "{{.Peer.Identity}}"
inside        = "{{.Peer.Links.Inside}}"
push          = true
without_token = true
pull          = "move"
identities    = ["fqdn:{{.Node}}"]
inner         = ["{{.Inner}}"]
`))

// configure writes the gateway's files.
func (g *gateway) configure(s settings, cert tls.Certificate, roots []byte) error {
	s.Self = g
	var text bytes.Buffer
	if err := configuration.Execute(&text, s); err != nil {
		return fmt.Errorf("failed to write the configuration of %s: %w", g.Name, err)
	}
	key, err := testcert.KeyPEM(cert)
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		".toml": text.Bytes(), ".pem": testcert.ChainPEM(cert), ".key": key, ".ca.pem": roots,
	} {
		if err := os.WriteFile(filepath.Join(g.folder, g.Name+name), content, 0o600); err != nil {
			return fmt.Errorf("failed to write the configuration of %s: %w", g.Name, err)
		}
	}
	if err := os.MkdirAll(filepath.Join(g.folder, g.Name+".state"), 0o700); err != nil {
		return fmt.Errorf("failed to make the journal's folder of %s: %w", g.Name, err)
	}
	g.control = control.Dial(g.socket())
	return nil
}

// poll takes the steps of the gateway's machine since the last time.
func (g *gateway) poll(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	var after uint64
	if n := len(g.events); n > 0 {
		after = g.events[n-1].Number
	}
	events, err := g.control.Trace(ctx, after)
	if err != nil {
		return fmt.Errorf("failed to read the trace of %s: %w", g.Name, err)
	}
	g.events = append(g.events, events...)
	return nil
}

// since returns the steps after the first n.
func (g *gateway) since(n int) []control.TraceEvent {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.events[n:]
}

func (g *gateway) steps() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.events)
}

// counter reads one of the gateway's counters.
func (g *gateway) counter(ctx context.Context, name string) (uint64, error) {
	status, err := g.control.Status(ctx)
	if err != nil {
		return 0, fmt.Errorf("failed to read the counters of %s: %w", g.Name, err)
	}
	return status.Counters[name], nil
}
