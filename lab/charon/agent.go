//go:build linux && lab

package charon

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/cxtp/cxtp/ikectx/strongswan/ha"
	"github.com/cxtp/cxtp/lab/topology"
)

// Agent is the other end of a gateway's ha plugin: it keeps what the plugin
// says, and says what a test wants it to.
type Agent struct {
	conn *net.UDPConn
	mu   sync.Mutex
	said []ha.Message
	bad  error // of the first datagram that is no message
}

// Listen takes the agent's place in a gateway's node, until the test ends. What
// the plugin says before is lost.
func Listen(t testing.TB, node *topology.Node) *Agent {
	t.Helper()
	a := &Agent{}
	if err := node.Do(func() (err error) {
		a.conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(agentAddress))
		return err
	}); err != nil {
		t.Fatalf("failed to take the agent's place in %s: %v", node.Name, err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.read()
	}()
	t.Cleanup(func() {
		a.conn.Close()
		<-done
	})
	return a
}

func (a *Agent) read() {
	buffer := make([]byte, 1<<16)
	for {
		n, _, err := a.conn.ReadFromUDPAddrPort(buffer)
		if err != nil {
			return // closed
		}
		m, err := ha.Parse(buffer[:n])
		a.mu.Lock()
		if err == nil {
			a.said = append(a.said, m)
		} else if a.bad == nil {
			a.bad = err
		}
		a.mu.Unlock()
	}
}

// Send sends messages to the plugin, in this order. Nothing answers.
func (a *Agent) Send(bodies ...ha.Body) error {
	for _, b := range bodies {
		m, err := ha.Message{Version: version, Body: b}.Append(nil)
		if err == nil {
			_, err = a.conn.WriteToUDPAddrPort(m, pluginAddress)
		}
		if err != nil {
			return fmt.Errorf("failed to send to the ha plugin: %w", err)
		}
	}
	return nil
}

// version is what Debian's plugin speaks.
const version ha.Version = 3

// Activate makes a gateway that has started responsible for all clients. Before
// that it connects them, but has no inner addresses for them.
func (a *Agent) Activate() error {
	const all = 0
	return a.Send(&ha.Segments{Action: ha.TypeSegmentDrop, Numbers: []uint16{all}})
}

// Await waits until the plugin has said at least so many messages since the
// last call, and returns all since then.
func (a *Agent) Await(ctx context.Context, atLeast int) ([]ha.Message, error) {
	for {
		said, err := a.take(atLeast)
		if err != nil || len(said) >= atLeast {
			return said, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%d messages of the ha plugin in place of %d: %w", len(said), atLeast, context.Cause(ctx))
		case <-time.After(time.Millisecond):
		}
	}
}

// take is what was said, which is forgotten if it is enough.
func (a *Agent) take(atLeast int) ([]ha.Message, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	said := a.said
	if len(said) >= atLeast {
		a.said = nil
	}
	return said, a.bad
}
