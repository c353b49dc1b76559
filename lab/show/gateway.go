//go:build linux

package show

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"text/template"
	"time"

	"github.com/cxtp/cxtp/internal/control"
	"github.com/cxtp/cxtp/lab/topology"
	"github.com/cxtp/cxtp/transport/testcert"
)

// configuration is that of doc/strongswan.md.
var configuration = template.Must(template.New("configuration").Parse(`
name      = "{{.Name}}"
address   = ["{{.Outer.V4}}"]
state_dir = "{{.Name}}.state"
control   = "{{.Name}}.sock"
[transport]
listen      = "{{.Sync}}:5091"
certificate = "{{.Name}}.pem"
key         = "{{.Name}}.key"
ca          = "{{.Name}}.ca.pem"
[node]
listen = "127.0.0.1:5092"
[gateway]
kind     = "strongswan"
announce = ["{{.Virtual.V4}}:4500"]
[kernel]
protect = ["{{.Pool}}"]
outside = "outer"
inside  = "inner"
shared  = ["{{.Virtual.V4}}"]
answer  = true
[strongswan]
vici = "{{.Name}}.vici"
[timers]
max_transfer = "5s"
[[peer]]
name          = "{{.Peer.Name}}"
address       = ["{{.Peer.Outer.V4}}"]
endpoint      = "{{.Peer.Sync}}:5091"
via           = ["{{.Peer.Inner.V4}}"]
outside       = ["{{.Peer.Outer.V4}}"]
push          = true
without_token = true
`))

// gateway is one of the two daemons.
type gateway struct {
	*topology.Node
	Outer, Inner topology.Pair
	Sync         netip.Addr
	Peer         *gateway

	folder string
	cmd    *exec.Cmd
	hold   io.Closer // its standard input
}

// Virtual is the address that the gateways share.
func (g *gateway) Virtual() topology.Pair { return topology.Virtual }

// Pool has the clients' inner addresses.
func (g *gateway) Pool() string { return pool.String() }

func (g *gateway) file(kind string) string { return filepath.Join(g.folder, g.Name+"."+kind) }

func (g *gateway) socket() string { return g.file("sock") }

// start writes the gateway's files and starts its daemon.
func (g *gateway) start(ca *testcert.Authority, daemon func(file string) []string) error {
	cert, err := ca.Issue(g.Name)
	if err != nil {
		return err
	}
	key, err := testcert.KeyPEM(cert)
	if err != nil {
		return err
	}
	var text bytes.Buffer
	if err := configuration.Execute(&text, g); err != nil {
		return err
	}
	for kind, content := range map[string][]byte{"toml": text.Bytes(), "pem": testcert.ChainPEM(cert), "key": key, "ca.pem": ca.CertPEM()} {
		if err := os.WriteFile(g.file(kind), content, 0o600); err != nil {
			return err
		}
	}
	return g.run(daemon(g.file("toml")))
}

func (g *gateway) run(args []string) error {
	// The program that is in the guest's memory: its path may be hidden there.
	g.cmd = exec.Command("/proc/self/exe", args...)
	log, err := os.Create(g.file("log"))
	if err != nil {
		return err
	}
	defer log.Close()
	g.cmd.Stderr = log
	said, err := g.cmd.StdoutPipe()
	if err == nil {
		g.hold, err = g.cmd.StdinPipe()
	}
	if err == nil {
		err = errors.Join(os.Mkdir(g.file("state"), 0o700), g.Start(g.cmd))
	}
	if err != nil {
		return fmt.Errorf("failed to start cxtpd of %s: %w", g.Name, err)
	}
	if _, err := said.Read(make([]byte, 64)); err != nil {
		return fmt.Errorf("cxtpd of %s did not start: %s", g.Name, g.said())
	}
	go io.Copy(io.Discard, said)
	return nil
}

// ready waits until a gateway's daemon has found its strongSwan and its peer.
func (g *gateway) ready(ctx context.Context) error {
	client := control.Dial(g.socket())
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		status, err := client.Status(ctx)
		switch {
		case err != nil:
			return err
		case status.IKE.Problem == "" && status.Peers[0].Up:
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%s is not ready: %s %s", g.Name, status.IKE.Problem, status.Peers[0].Error)
		}
	}
}

// has waits until a gateway's daemon has the client's session.
func (g *gateway) has(ctx context.Context) error {
	client := control.Dial(g.socket())
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	for {
		sessions, err := client.Sessions(ctx)
		if err != nil {
			return err
		}
		if len(sessions) > 0 && sessions[0].State == "active" {
			return nil
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("%s does not have the client's session: %+v", g.Name, sessions)
		}
	}
}

// said is what the daemon has logged.
func (g *gateway) said() string {
	text, err := os.ReadFile(g.file("log"))
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (g *gateway) stop() {
	if g.hold != nil {
		g.hold.Close()
		g.cmd.Wait()
	}
}
