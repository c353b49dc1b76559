package strongswan

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"

	"github.com/cxtp/cxtp/ikectx/strongswan/ha"
)

// plugin is the agent's end of the socket of charon's ha plugin. The plugin
// connects its own end, so it hears nobody else; and this end hears nobody but it.
type plugin struct {
	conn *net.UDPConn
	room *semaphore.Weighted // for messages on their way

	mu      sync.Mutex // one sequence of messages at a time
	version ha.Version // 0 until charon is there
	buffer  []byte

	hearing sync.Mutex              // what comes is handed on one after the other
	heard   func(ha.Message, error) // nil until receive
	inbox   []byte
}

// openPlugin takes the place of the other gateway that charon is configured with.
// It has to be taken before anybody else on this machine can: keys come to it.
func openPlugin(agent, charon netip.Addr) (*plugin, error) {
	conn, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(agent, ha.Port)), net.UDPAddrFromAddrPort(netip.AddrPortFrom(charon, ha.Port)))
	if errors.Is(err, unix.EADDRINUSE) {
		return nil, fmt.Errorf("%s port %d is taken: charon sends keys there, find out by whom: %w", agent, ha.Port, err)
	}
	if err != nil {
		return nil, fmt.Errorf("failed to open the agent's end of the ha plugin: %w", err)
	}
	return &plugin{conn: conn, room: semaphore.NewWeighted(roomForMessages)}, nil
}

// roomForMessages is how many messages may be on their way: a socket of charon's
// has room for about 170, and what comes then is lost, which nothing tells.
const roomForMessages = 96

// speak sets the version of what is sent from now on.
func (p *plugin) speak(v ha.Version) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.version = v
}

// versionOf is the ha plugin's protocol in a release of strongSwan.
func versionOf(release string) (ha.Version, error) {
	var n [3]int
	for i, digits := range strings.SplitN(release, ".", 3) {
		value, err := strconv.Atoi(leadingDigits(digits))
		if err != nil {
			return 0, fmt.Errorf("charon's release %q is not understood", release)
		}
		n[i] = value
	}
	switch {
	case n[0] == 5, n == [3]int{6, 0, 0}:
		return ha.Version3, nil
	case n == [3]int{6, 0, 1}:
		return ha.Version4, nil
	case n[0] == 6 && n[1] == 0 && n[2] <= 6, n == [3]int{6, 1, 0}:
		return ha.Version5, nil
	}
	return 0, fmt.Errorf("strongSwan %s speaks a protocol of its ha plugin that is not known here: releases 5.0.0 to 6.1.0 are", release)
}

func leadingDigits(s string) string {
	end := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
	if end < 0 {
		return s
	}
	return s[:end]
}

// send tells the plugin some things, with nothing of anybody else's in between.
// Nothing says whether they arrived.
func (p *plugin) send(bodies ...ha.Body) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.version == 0 {
		return ErrNotRunning
	}
	for _, body := range bodies {
		b, err := ha.Message{Version: p.version, Body: body}.Append(p.buffer[:0])
		if err == nil {
			err = p.write(b)
		}
		clear(b)
		p.buffer = b[:0]
		if err != nil {
			return fmt.Errorf("failed to tell charon: %w", err)
		}
	}
	return nil
}

// write sends a datagram. That one was refused is told with the next: what it says
// about charon, the one after it shows.
func (p *plugin) write(b []byte) error {
	_, err := p.conn.Write(b)
	if errors.Is(err, unix.ECONNREFUSED) {
		_, err = p.conn.Write(b)
	}
	if errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("%w: nobody has the port of its ha plugin: %w", ErrNotRunning, err)
	}
	return err
}

// tell tells the plugin some things as send does, once there is room for them, which
// they take until they are seen to have arrived. Where seen gives up with its
// context and not with ctx, they are told again.
func (p *plugin) tell(ctx context.Context, seen func(context.Context) error, bodies ...ha.Body) error {
	size := min(int64(len(bodies)), roomForMessages)
	if err := p.room.Acquire(ctx, size); err != nil {
		return err
	}
	defer p.room.Release(size)
	for {
		if err := p.send(bodies...); err != nil {
			return err
		}
		once, cancel := context.WithTimeout(ctx, sayAgain)
		err := seen(once)
		cancel()
		if err == nil || ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) {
			return err
		}
	}
}

// sayAgain is how long after they were told things are told again that show no
// effect. They are lost only if somebody else fills charon's socket.
const sayAgain = time.Second

// receive hands on what the plugin says, until the socket is closed or ctx ends.
func (p *plugin) receive(ctx context.Context, heard func(ha.Message, error)) error {
	stop := context.AfterFunc(ctx, func() { p.conn.Close() })
	defer stop()
	raw, err := p.conn.SyscallConn()
	if err != nil {
		return err
	}
	p.hearing.Lock()
	p.heard, p.inbox = heard, make([]byte, 1<<16)
	p.hearing.Unlock()
	err = raw.Read(func(fd uintptr) bool { return !errors.Is(p.hear(int(fd)), unix.EAGAIN) })
	if ctx.Err() != nil {
		return nil
	}
	return fmt.Errorf("failed to hear the ha plugin: %w", err)
}

// catchUp returns when all has been handed on that the plugin has said before: what
// charon's control socket shows is often there before the word of it is read.
func (p *plugin) catchUp() {
	if raw, err := p.conn.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) { p.hear(int(fd)) })
	}
}

// hear hands on what has arrived, and returns why there is no more: unix.EAGAIN, as
// a rule.
func (p *plugin) hear(fd int) error {
	p.hearing.Lock()
	defer p.hearing.Unlock()
	for p.heard != nil {
		n, _, err := unix.Recvfrom(fd, p.inbox, unix.MSG_DONTWAIT)
		switch {
		case errors.Is(err, unix.ECONNREFUSED), errors.Is(err, unix.EINTR):
			continue // charon is not there at present
		case err != nil:
			return err
		}
		m, err := ha.Parse(p.inbox[:n])
		clear(p.inbox[:n])
		p.heard(m, err)
	}
	return unix.EAGAIN
}
