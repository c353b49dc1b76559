package sctp

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// Socket sets up associations from one address and port, its own and those that
// others dial. Its methods may be called concurrently; Accept has to be called all
// the time, also for Dial to come to an end.
type Socket struct {
	file *os.File
	raw  syscall.RawConn

	mu    sync.Mutex // guards dials, and a dial's start against its end
	dials map[netip.AddrPort]chan<- dialed
}

// dialed is what became of a dial.
type dialed struct {
	association *Association
	err         error
}

// Listen opens a socket in the process's network namespace. (In another, the kernel
// refuses to give an association a socket of its own.)
func Listen(c Config) (*Socket, error) {
	if !c.Addr.IsValid() || c.Addr.Addr().IsUnspecified() {
		return nil, fmt.Errorf("failed to listen on SCTP %s: name one address of this host, because SCTP would tell the peer all it has, and IPsec protects each by itself", c.Addr)
	}
	family := unix.AF_INET
	if c.Addr.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_SEQPACKET|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_SCTP)
	if err != nil {
		return nil, listenError(c.Addr, err)
	}
	// A restarted program takes the port though its last associations still end.
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err == nil {
		err = configure(fd, &c)
	}
	if err == nil {
		err = unix.Bind(fd, sockaddr(c.Addr))
	}
	if err == nil {
		err = unix.Listen(fd, unix.SOMAXCONN)
	}
	if err != nil {
		unix.Close(fd)
		return nil, listenError(c.Addr, err)
	}
	s := &Socket{file: os.NewFile(uintptr(fd), "sctp"), dials: map[netip.AddrPort]chan<- dialed{}}
	s.raw, err = s.file.SyscallConn()
	return s, err
}

// listenError says what to do.
func listenError(addr netip.AddrPort, err error) error {
	switch {
	case errors.Is(err, unix.EPROTONOSUPPORT), errors.Is(err, unix.ESOCKTNOSUPPORT), errors.Is(err, unix.EAFNOSUPPORT):
		return fmt.Errorf("%w: load its module (modprobe sctp), or let DTLS carry what routers say: %w", ErrUnsupported, err)
	case errors.Is(err, unix.EADDRINUSE):
		return fmt.Errorf("another program has SCTP %s: stop it or choose another port: %w", addr, err)
	case errors.Is(err, unix.EADDRNOTAVAIL):
		return fmt.Errorf("this host does not have the address of %s: add it or listen on another: %w", addr, err)
	}
	return fmt.Errorf("failed to listen on SCTP %s: %w", addr, err)
}

// LocalAddr is the address that peers dial.
func (s *Socket) LocalAddr() netip.AddrPort {
	var local unix.Sockaddr
	_ = s.raw.Control(func(fd uintptr) { local, _ = unix.Getsockname(int(fd)) })
	return addrPort(local)
}

// Accept returns the next association that somebody else opened, and ends the dials
// that are under way. After a [*RefusedError] it goes on; [net.ErrClosed] = the socket
// was closed.
func (s *Socket) Accept() (*Association, error) {
	buf := make([]byte, 2048) // messages come on the associations' own sockets
	for {
		n, flags, from, err := receive(s.raw, buf)
		if err != nil {
			return nil, closedError(err)
		}
		note, ok := parseNotification(buf[:n])
		if flags&msgNotification == 0 || !ok || note.kind != eventAssocChange {
			continue
		}
		switch d := s.change(note, addrPort(from)); {
		case d.association != nil:
			return d.association, nil
		case d.err != nil:
			return nil, &RefusedError{addrPort(from), d.err}
		}
	}
}

// change gives the news of an association to its dial, or returns it if it is nobody's.
func (s *Socket) change(note notification, from netip.AddrPort) dialed {
	s.mu.Lock()
	defer s.mu.Unlock()
	var d dialed
	result := s.dials[from]
	switch note.state {
	case changeUp:
		d.association, d.err = s.take(note.association, from)
	case changeNotStarted, changeLost:
		if result == nil {
			return d
		}
		d.err = fmt.Errorf("%w with %s", ErrNoAnswer, from)
	default:
		return d
	}
	if result == nil {
		return d
	}
	result <- d
	delete(s.dials, from)
	return dialed{}
}

// take makes an association of the kernel's one of ours, or ends it.
func (s *Socket) take(id uint32, from netip.AddrPort) (*Association, error) {
	var own int
	var err error
	if closed := s.raw.Control(func(fd uintptr) { own, err = peelOff(int(fd), id) }); closed != nil {
		err = closed
	}
	if err != nil {
		s.abort(from)
		return nil, fmt.Errorf("failed to give it a socket: %w", err)
	}
	return newAssociation(own)
}

// abort ends an association that has no socket of its own.
func (s *Socket) abort(remote netip.AddrPort) {
	_ = s.raw.Control(func(fd uintptr) {
		_ = unix.Sendmsg(int(fd), nil, sendControl(flagAbort, 0), sockaddr(remote), unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	})
}

// Dial sets up an association with the router at the address. If that dials us at the
// same time, there is one association, which either Dial or Accept returns.
func (s *Socket) Dial(ctx context.Context, remote netip.AddrPort) (*Association, error) {
	result := make(chan dialed, 1)
	if err := s.begin(remote, result); err != nil {
		return nil, err
	}
	select {
	case r := <-result:
		return r.association, r.err
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case r := <-result: // in the last moment
		return r.association, r.err
	default:
	}
	delete(s.dials, remote)
	s.abort(remote)
	return nil, fmt.Errorf("%w with %s: %w", ErrNoAnswer, remote, context.Cause(ctx))
}

func (s *Socket) begin(remote netip.AddrPort, result chan<- dialed) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.dials[remote] != nil {
		return ErrBusy
	}
	var err error
	if closed := s.raw.Control(func(fd uintptr) { err = unix.Connect(int(fd), sockaddr(remote)) }); closed != nil {
		return closedError(closed)
	}
	switch {
	case err == nil, errors.Is(err, unix.EINPROGRESS):
		s.dials[remote] = result
		return nil
	case errors.Is(err, unix.EADDRNOTAVAIL), errors.Is(err, unix.EISCONN), errors.Is(err, unix.EALREADY):
		return ErrBusy
	}
	return fmt.Errorf("failed to dial %s: %w", remote, err)
}

// Close ends the socket, and with it Accept. Associations go on.
func (s *Socket) Close() error { return s.file.Close() }

// receive waits for the next part of a message, or notification.
func receive(raw syscall.RawConn, buf []byte) (n, flags int, from unix.Sockaddr, err error) {
	if ended := raw.Read(func(fd uintptr) bool {
		n, _, flags, from, err = unix.Recvmsg(int(fd), buf, nil, unix.MSG_DONTWAIT)
		return !errors.Is(err, unix.EAGAIN) && !errors.Is(err, unix.EINTR)
	}); ended != nil {
		err = ended
	}
	return n, flags, from, err
}

// closedError gives the end of a file its name in package net.
func closedError(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return net.ErrClosed
	}
	return err
}
