// Package systemd speaks with the service manager that started this process: it
// tells it when the daemon is ready, and gives it sockets to hold, so that they
// outlive the daemon (sd_notify(3), "FDSTORE=1"; sd_listen_fds(3) for the way back).
//
// The kernel takes ESP out of UDP for as long as somebody has the socket open. While
// a daemon is dead and started again, that is the service manager.
//
// Where nobody manages the process, nothing is held and nobody is told: NOTIFY_SOCKET
// and LISTEN_FDS are not set then.
package systemd

import (
	"net/netip"
	"os"
	"sync"
)

// Manager is the service manager, and what it has held for us. Its methods are
// safe for concurrent use.
type Manager struct {
	socket string // where it takes notifications; "" = nowhere

	mu   sync.Mutex
	held map[netip.AddrPort]*os.File
}

// Take returns the UDP socket of an earlier daemon that is bound to this address and
// port, which the caller closes; nil = none was held. A socket is taken once.
func (m *Manager) Take(at netip.AddrPort) *os.File {
	m.mu.Lock()
	defer m.mu.Unlock()
	f := m.held[at]
	delete(m.held, at)
	return f
}

// Close closes what was held and not taken. The service manager goes on to hold it.
func (m *Manager) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	for at, f := range m.held {
		f.Close()
		delete(m.held, at)
	}
	return nil
}
