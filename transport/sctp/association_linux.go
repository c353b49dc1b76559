package sctp

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Association is one with a peer. One goroutine may read, and others do the rest.
type Association struct {
	file   *os.File
	raw    syscall.RawConn
	remote netip.AddrPort
	buf    []byte // what is being read, from the first Read on

	room    chan struct{}
	waiting atomic.Bool // for room
	waiters sync.WaitGroup

	over     chan struct{} // Read has returned its last error, or there is nothing to read
	overOnce sync.Once
}

// newAssociation takes a socket that was peeled off. A peer with several addresses is
// refused.
func newAssociation(fd int) (*Association, error) {
	a := &Association{
		file: os.NewFile(uintptr(fd), "sctp"),
		room: make(chan struct{}, 1), over: make(chan struct{}),
	}
	peer, err := unix.Getpeername(fd)
	a.remote = addrPort(peer)
	if err == nil {
		a.raw, err = a.file.SyscallConn()
	}
	if err != nil {
		a.file.Close()
		return nil, fmt.Errorf("%w: %w", ErrLost, err)
	}
	if err := a.single(); err != nil {
		a.Abort()
		return nil, err
	}
	return a, nil
}

// single checks that the peer has one address, which is the one that a Guard looks at.
func (a *Association) single() error {
	var n int
	var err error
	if closed := a.raw.Control(func(fd uintptr) { n, err = peerAddresses(int(fd)) }); closed != nil {
		err = closed
	}
	switch {
	case err != nil:
		return fmt.Errorf("failed to read the peer's addresses: %w", err)
	case n != 1:
		return ErrMultihomed
	}
	return nil
}

// Remote is the peer's address and port.
func (a *Association) Remote() netip.AddrPort { return a.remote }

// Read waits for the next message, which is the caller's to keep. [ErrRestarted] is
// said between the last message of before and the first of after. Every other error
// is the last: [io.EOF] when the peer ended the association in order, [ErrLost],
// [ErrTooLong], and what tells that it was closed here.
func (a *Association) Read() ([]byte, error) {
	if a.buf == nil {
		a.buf = make([]byte, MaxMessage+1)
	}
	msg, err := a.read()
	if err != nil && !errors.Is(err, ErrRestarted) {
		a.overOnce.Do(func() { close(a.over) })
	}
	return msg, err
}

func (a *Association) read() ([]byte, error) {
	for have := 0; ; {
		n, flags, _, err := receive(a.raw, a.buf[have:])
		switch {
		case err != nil:
			return nil, closedError(err)
		case flags&msgNotification != 0:
			// It may come between the parts of a message, which it ends.
			note, _ := parseNotification(a.buf[have : have+n])
			clear(a.buf[:have])
			if have = 0; note.kind == eventPartialDeliver {
				continue
			}
			if err := note.end(); err != nil {
				return nil, err
			}
		case n == 0 && flags&unix.MSG_EOR == 0:
			return nil, io.EOF
		case have+n > MaxMessage:
			clear(a.buf)
			return nil, fmt.Errorf("%w: more than %d octets", ErrTooLong, MaxMessage)
		default:
			have += n
			if flags&unix.MSG_EOR != 0 {
				msg := slices.Clone(a.buf[:have])
				clear(a.buf[:have])
				return msg, nil
			}
		}
	}
}

// end is what a notification means to a reader; nil = nothing.
func (n notification) end() error {
	if n.kind == eventShutdown {
		return io.EOF
	}
	if n.kind == eventAssocChange {
		switch n.state {
		case changeRestart:
			return ErrRestarted
		case changeShutdown:
			return io.EOF
		case changeLost, changeNotStarted:
			return fmt.Errorf("%w, cause %d", ErrLost, n.cause)
		}
	}
	return nil
}

// Write gives SCTP a message, if it has room; otherwise, Room tells when it has again.
// SCTP gives up a message that is not acknowledged within its lifetime, to the
// millisecond, if the peer knows PR-SCTP; 0 = never.
func (a *Association) Write(msg []byte, lifetime time.Duration) bool {
	var err error
	if closed := a.raw.Control(func(fd uintptr) {
		_, err = unix.SendmsgN(int(fd), msg, sendControl(flagUnordered, lifetime), nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	}); closed != nil {
		err = closed
	}
	if errors.Is(err, unix.EAGAIN) {
		a.awaitRoom()
	}
	return err == nil
}

// Room tells once that there is room again after a Write that found none.
func (a *Association) Room() <-chan struct{} { return a.room }

// roomPause is the least time from a Write without room to the news that there is some:
// by its own count of what is under way, the kernel may see room where Write finds none.
const roomPause = time.Millisecond

func (a *Association) awaitRoom() {
	if a.waiting.Swap(true) {
		return
	}
	a.waiters.Go(func() {
		time.Sleep(roomPause)
		err := a.raw.Write(writable)
		a.waiting.Store(false)
		if err == nil {
			select {
			case a.room <- struct{}{}:
			default:
			}
		}
	})
}

func writable(fd uintptr) bool {
	set := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	n, _ := unix.Poll(set, 0)
	return n > 0
}

// Heartbeat asks the peer for a sign of life, which Received counts (RFC 9260 section
// 8.3).
func (a *Association) Heartbeat() {
	_ = a.raw.Control(func(fd uintptr) { _ = heartbeat(int(fd), a.remote) })
}

// Received counts the packets that came from the peer, acknowledgements included.
func (a *Association) Received() uint64 {
	var n uint64
	_ = a.raw.Control(func(fd uintptr) { n, _ = packetsReceived(int(fd)) })
	return n
}

// Shutdown ends the association in order, after what Write took was delivered. It
// waits until that is so, which takes a reader, or aborts when it cannot or the context
// ends.
func (a *Association) Shutdown(ctx context.Context) error {
	var err error
	if closed := a.raw.Control(func(fd uintptr) { err = shutDown(int(fd)) }); closed != nil {
		err = closed
	}
	if err != nil {
		a.Abort()
		return fmt.Errorf("failed to end the association in order: %w", err)
	}
	select {
	case <-a.over:
		return nil
	case <-ctx.Done():
		a.Abort()
		return context.Cause(ctx)
	}
}

// Abort ends the association at once and tells the peer so. What Write took and SCTP
// has not delivered is lost.
func (a *Association) Abort() {
	_ = a.raw.Control(func(fd uintptr) {
		_ = unix.SetsockoptLinger(int(fd), unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
	})
	a.Close()
}

// Close frees the association. If it is still up, the kernel ends it in order.
func (a *Association) Close() {
	_ = a.file.Close()
	a.overOnce.Do(func() { close(a.over) })
	a.waiters.Wait()
}
