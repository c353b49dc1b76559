//go:build linux && lab

package lab

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/cxtp/cxtp/lab/topology"
)

// manager plays the part of a service manager that holds a daemon's sockets.
type manager struct {
	at      string // where it takes notifications
	program string // the daemon, under its name

	mu   sync.Mutex
	told []string
	held []*os.File
}

func newManager(t testing.TB) *manager {
	t.Helper()
	m := &manager{at: filepath.Join(t.TempDir(), "notify"), program: filepath.Join(t.TempDir(), "cxtpd")}
	self, err := os.Executable()
	if err == nil {
		err = os.Symlink(self, m.program)
	}
	if err != nil {
		t.Fatal(err)
	}
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Net: "unixgram", Name: m.at})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	go m.listen(conn)
	return m
}

// listen takes notifications, and the sockets that come with them, until conn is
// closed.
func (m *manager) listen(conn *net.UnixConn) {
	text, rights := make([]byte, 1000), make([]byte, 1000)
	for {
		n, r, _, _, err := conn.ReadMsgUnix(text, rights)
		if err != nil {
			return
		}
		m.mu.Lock()
		m.told = append(m.told, string(text[:n]))
		messages, _ := unix.ParseSocketControlMessage(rights[:r])
		for i := range messages {
			fds, _ := unix.ParseUnixRights(&messages[i])
			for _, fd := range fds {
				m.held = append(m.held, os.NewFile(uintptr(fd), "held"))
			}
		}
		m.mu.Unlock()
	}
}

// prepare has a daemon find the manager, and what it holds. The process's own number
// is known to itself alone.
func (m *manager) prepare(cmd *exec.Cmd) {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := make([]string, len(m.held))
	for i := range names {
		names[i] = "esp-in-udp"
	}
	cmd.Path = "/bin/sh"
	cmd.Args = append([]string{"sh", "-c", `LISTEN_PID=$$ exec "$0" "$@"`, m.program}, cmd.Args[1:]...)
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+m.at, fmt.Sprintf("LISTEN_FDS=%d", len(m.held)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	cmd.ExtraFiles = m.held
}

// TestManaged kills a daemon under a service manager, twice, while ESP in UDP comes
// in: nothing is lost. The session then moves, and comes back.
func TestManaged(t *testing.T) {
	steadily(t, func(t *testing.T) *rig {
		m := newManager(t)
		f := newFleet(t, "lossless", func(g *gateway) {
			if g.Name == "sg1" {
				g.manager = m
			}
		})
		l, here := linkOf(daemonCase), f.gateways[0]
		f.install(l, here, faultySession)
		w, flows := f.watch(), f.traffic(l)
		for range 2 {
			f.must(flows.Await(f.ctx, some))
			here.kill()
			f.must(flows.Await(f.ctx, 100)) // a second
			f.must(f.start(here))
			f.stands(here, faultySession, "active")
		}
		f.must(flows.Await(f.ctx, some))
		f.lossless("the daemon was dead, and", flows.Stop(settle))
		for range 2 {
			f.must(f.moveOn(l, f.settled()))
		}
		f.judge(w, l)
		m.mu.Lock()
		defer m.mu.Unlock()
		ready, held := 0, 0
		for _, text := range m.told {
			if text == "READY=1" {
				ready++
			} else {
				held++
			}
		}
		if ready != 3 || held != 1 || len(m.held) != 1 {
			t.Errorf("told %q, holding %d sockets of %s", m.told, len(m.held), topology.SG1.V4)
		}
		return f.rig
	})
}
