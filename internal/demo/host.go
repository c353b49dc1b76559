package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// host is what the node talks to: one machine behind the gateways. Its wire is
// the gateways' inside, one bare IP packet a datagram.
type host struct {
	conn     *net.UDPConn
	steering net.Listener
	inner    netip.AddrPort // its own inner endpoint
	insides  [2]netip.AddrPort
	up, down *flow
	steered  func(gateway int, at time.Time)

	mu    sync.Mutex
	peer  netip.AddrPort // the node's inner endpoint, in its present session
	route int            // the gateway that packets for the node go to
}

// steerRequest is what the steering hook says: the daemon's environment for it.
type steerRequest struct {
	Action string         `json:"action"`
	Inner  string         `json:"inner"`
	Inside netip.AddrPort `json:"inside"`
}

// talkTo begins a session of the node, at a gateway.
func (h *host) talkTo(peer netip.AddrPort, gateway int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.peer, h.route = peer, gateway
}

// gateway is where packets for the node go now.
func (h *host) gateway() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.route
}

// run takes packets and steering until ctx ends.
func (h *host) run(ctx context.Context) {
	stop := context.AfterFunc(ctx, h.close)
	defer stop()
	var tasks sync.WaitGroup
	tasks.Go(func() {
		read(h.conn, func(_ netip.AddrPort, packet []byte) {
			if number, ok := packetNumber(packet); ok {
				h.up.arrived(number, time.Now())
			}
		})
	})
	tasks.Go(func() {
		for {
			conn, err := h.steering.Accept()
			if err != nil {
				return
			}
			h.answer(conn)
		}
	})
	tasks.Wait()
}

func (h *host) close() {
	h.conn.Close()
	if h.steering != nil {
		h.steering.Close()
	}
}

// send sends the next packet to the node.
func (h *host) send() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sendTo(h.route, h.down.next())
}

// sendTo sends a packet for the node to a gateway; the caller holds the route.
func (h *host) sendTo(gateway int, number uint64) {
	h.conn.WriteToUDPAddrPort(appendPacket(nil, h.inner, h.peer, number), h.insides[gateway])
}

// burstPackets is how many packets come at once where a guard is put to the
// test.
const burstPackets = 32

// burst sends packets to the node the way they go now.
func (h *host) burst() {
	for range burstPackets {
		h.send()
	}
}

// ahead sends packets to a gateway that the network takes for the node's already.
func (h *host) ahead(gateway int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for range burstPackets {
		h.sendTo(gateway, h.down.next())
	}
}

// probe sends packets to a gateway that has nothing to do with the node any
// more. They are outside of the account: nothing may come of them.
func (h *host) probe(gateway int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for range burstPackets {
		h.sendTo(gateway, 0)
	}
}

// answer takes one request of the steering hook.
func (h *host) answer(conn net.Conn) {
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(steerTimeout))
	var q steerRequest
	err := json.NewDecoder(conn).Decode(&q)
	if err == nil {
		err = h.steer(q)
	}
	if err != nil {
		fmt.Fprintln(conn, err)
		return
	}
	fmt.Fprintln(conn, steerDone)
}

// steer changes the route, with a burst at either side of it: the first to the
// old gateway, which is frozen by now, the second to the new one. A session that
// is not the node's present one has no route.
func (h *host) steer(q steerRequest) error {
	if !h.talksTo(q.Inner) {
		return nil
	}
	for i, inside := range h.insides {
		if inside != q.Inside || q.Action != "steer" {
			continue
		}
		h.burst()
		h.mu.Lock()
		h.route = i
		h.mu.Unlock()
		h.steered(i, time.Now())
		h.burst()
		return nil
	}
	return fmt.Errorf("no route: action %q, inside %v", q.Action, q.Inside)
}

// talksTo reports whether prefixes, separated by spaces, hold the node's inner
// address.
func (h *host) talksTo(inner string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(strings.Fields(inner), func(text string) bool {
		p, err := netip.ParsePrefix(text)
		return err == nil && p.Contains(h.peer.Addr())
	})
}

const (
	steerTimeout = 5 * time.Second
	steerDone    = "done"
)

// steerHook is the steering hook's other end: the daemon starts it with the
// request in the environment.
func steerHook(socket string) error {
	inside, err := netip.ParseAddrPort(os.Getenv("CXTP_INSIDE"))
	if err != nil {
		return fmt.Errorf("failed to read CXTP_INSIDE: %w", err)
	}
	conn, err := net.DialTimeout("unix", socket, steerTimeout)
	if err != nil {
		return fmt.Errorf("failed to reach the host: %w", err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(steerTimeout))
	request := steerRequest{Action: os.Getenv("CXTP_ACTION"), Inner: os.Getenv("CXTP_INNER"), Inside: inside}
	if err := json.NewEncoder(conn).Encode(request); err != nil {
		return fmt.Errorf("failed to ask the host: %w", err)
	}
	said, err := io.ReadAll(conn)
	switch {
	case err != nil:
		return fmt.Errorf("failed to hear from the host: %w", err)
	case string(said) != steerDone+"\n":
		return errors.New("the host refused: " + string(said))
	}
	return nil
}
