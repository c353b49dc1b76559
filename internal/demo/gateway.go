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

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/control"
	"github.com/cxtp/cxtp/internal/journal"
	"github.com/cxtp/cxtp/transport/testcert"
)

// gateway is one of the two, as this process sees it: the files that configure
// it, its process, and its control socket.
type gateway struct {
	Name   string
	Router netip.Addr // what CXTP messages call it
	Links  links
	Found  links // Transport and Node as others see them

	folder  string
	command []string // that starts it
	control *control.Client
	process *process

	mu      sync.Mutex
	session cxtp.SessionID       // whose steps are kept
	events  []control.TraceEvent // of that session, through all the gateway's lives
	last    uint64               // number of the last step seen, in this life
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
	Timers     timers
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
max_transfer = "{{.Timers.MaxTransfer}}"
request_wait = "{{.Timers.RequestWait}}"
steer_deadline = "{{.Timers.SteerDeadline}}"
freeze_deadline = "{{.Timers.FreezeDeadline}}"

[[peer]]
name          = "{{.Peer.Name}}"
address       = ["{{.Peer.Router}}"]
endpoint      = "{{.Peer.Found.Transport}}"
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

// start starts the gateway's process.
func (g *gateway) start(program string, flags ...string) (err error) {
	g.command = append([]string{program, gatewayRole, "--config", g.file()}, flags...)
	g.process, err = startProcess(g.Name, g.command[0], g.command[1:]...)
	return err
}

// restart starts the process again after its death, and waits until it is ready.
// What the old one saw last comes into the trace.
func (g *gateway) restart(ctx context.Context, watch func(*process)) error {
	g.mu.Lock()
	g.keep(g.process.last)
	g.last = 0
	g.mu.Unlock()
	process, err := startProcess(g.Name, g.command[0], g.command[1:]...)
	if err != nil {
		return err
	}
	g.process = process
	watch(process)
	return process.waitReady(ctx)
}

// follow keeps the steps of one session from now on, and forgets the others.
func (g *gateway) follow(session cxtp.SessionID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.session, g.events = session, nil
}

// poll takes the steps of the gateway's machine since the last time.
func (g *gateway) poll(ctx context.Context) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	events, err := g.control.Trace(ctx, g.last)
	if err != nil {
		return fmt.Errorf("failed to read the trace of %s: %w", g.Name, err)
	}
	g.keep(events)
	return nil
}

// keep adds what is new. Steps without a session may be anybody's.
func (g *gateway) keep(events []control.TraceEvent) {
	for _, e := range events {
		if e.Number <= g.last {
			continue
		}
		g.last = e.Number
		if e.Session == g.session || e.Session.IsZero() {
			g.events = append(g.events, e)
		}
	}
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

// states is what the gateway says of the sessions that it has seen.
func (g *gateway) states(ctx context.Context) (map[cxtp.SessionID]string, error) {
	views, err := g.control.Sessions(ctx)
	if err != nil {
		return nil, fmt.Errorf("failed to ask %s for its sessions: %w", g.Name, err)
	}
	states := map[cxtp.SessionID]string{}
	for _, v := range views {
		states[v.Session] = v.State
	}
	return states, nil
}

// ended reads in the gateway's journal why a session has ended; "" = it does not
// say so. A copy is read, as a restart would read it: the journal is the
// gateway's own.
func (g *gateway) ended(session cxtp.SessionID) (why string, err error) {
	folder, err := os.MkdirTemp(g.folder, "copy-")
	if err != nil {
		return "", fmt.Errorf("failed to copy the journal of %s: %w", g.Name, err)
	}
	defer os.RemoveAll(folder)
	if err := os.CopyFS(folder, os.DirFS(filepath.Join(g.folder, g.Name+".state"))); err != nil {
		return "", fmt.Errorf("failed to copy the journal of %s: %w", g.Name, err)
	}
	j, records, err := journal.Open(folder, journal.Options{})
	if err != nil {
		return "", fmt.Errorf("failed to read the journal of %s: %w", g.Name, err)
	}
	defer j.Close()
	for _, r := range records {
		if r.Session == session && r.Kind == cxtp.RecordEnded {
			why = r.Why
		}
	}
	return why, nil
}
