package uapi

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// A general netlink library would read into buffers that it allocates, copies
// and forgets; what comes here are keys. So the socket is our own: one buffer,
// wiped after each use.

const (
	// receiveBuffer is what the kernel may keep for us in octets. An answer or
	// event takes up to 2 KiB of it.
	receiveBuffer = 4 << 20
	// bufferSize holds any datagram: the kernel makes none above 32 KiB.
	bufferSize = 64 << 10
)

// socket is a netlink socket for one goroutine at a time, except for close.
type socket struct {
	file *os.File
	raw  syscall.RawConn
	port uint32 // the kernel's name for it
	buf  []byte
}

// openSocket opens an XFRM socket in the calling thread's network namespace.
func openSocket() (*socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.NETLINK_XFRM)
	if err != nil {
		return nil, err
	}
	port, err := setUp(fd)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	s := &socket{file: os.NewFile(uintptr(fd), "xfrm"), port: port, buf: make([]byte, bufferSize)}
	if s.raw, err = s.file.SyscallConn(); err != nil {
		s.file.Close()
		return nil, err
	}
	return s, nil
}

// setUp binds the socket and returns its port. A kernel that cannot do one of
// the options is used without.
func setUp(fd int) (uint32, error) {
	// Answers explain themselves, and do not repeat the request, which may hold
	// keys.
	for _, option := range []int{unix.NETLINK_EXT_ACK, unix.NETLINK_CAP_ACK} {
		if err := unix.SetsockoptInt(fd, unix.SOL_NETLINK, option, 1); err != nil && err != unix.ENOPROTOOPT {
			return 0, err
		}
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer) != nil {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer); err != nil {
			return 0, err
		}
	}
	if err := unix.Bind(fd, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, err
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		return 0, err
	}
	return name.(*unix.SockaddrNetlink).Pid, nil
}

func (s *socket) close() error { return s.file.Close() }

// membership joins or leaves a multicast group.
func (s *socket) membership(option int, g Group) error {
	var failed error
	err := s.raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.SOL_NETLINK, option, int(g))
	})
	return errors.Join(err, failed)
}

// send hands messages to the kernel, which has carried them out when it returns.
func (s *socket) send(b []byte) error {
	var failed error
	err := s.raw.Write(func(fd uintptr) bool {
		failed = unix.Sendto(int(fd), b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		return failed != unix.EAGAIN
	})
	return errors.Join(err, failed)
}

// errEmpty says that there is nothing to receive.
var errEmpty = errors.New("nothing to receive")

// receive waits for a datagram of the kernel's and gives its messages to f,
// until f returns false. The buffer is wiped then: f copies what it keeps.
func (s *socket) receive(ctx context.Context, f func(message) bool) error {
	n, err := s.wait(ctx)
	if err != nil {
		return err
	}
	return s.hand(n, f)
}

// poll is receive without waiting: [errEmpty] if there is nothing.
func (s *socket) poll(f func(message) bool) error {
	n, failed := 0, error(nil)
	if err := s.raw.Control(func(fd uintptr) { n, failed = s.read(fd) }); err != nil {
		return err
	}
	if failed == unix.EAGAIN {
		return errEmpty
	}
	if failed != nil {
		return failed
	}
	return s.hand(n, f)
}

// drain throws away what has been received, until f returns false.
func (s *socket) drain(f func(message) bool) {
	more, err := true, error(nil)
	for more && (err == nil || err == unix.ENOBUFS) {
		err = s.poll(func(m message) bool {
			more = f(m)
			return more
		})
	}
}

// wait reads the next datagram into the buffer, unless the context ends before.
func (s *socket) wait(ctx context.Context) (n int, err error) {
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		s.file.SetReadDeadline(time.Unix(1, 0))
		close(ended)
	})
	var failed error
	err = s.raw.Read(func(fd uintptr) bool {
		n, failed = s.read(fd)
		return failed != unix.EAGAIN
	})
	if !stop() {
		<-ended
		s.file.SetReadDeadline(time.Time{})
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return 0, context.Cause(ctx)
	}
	return n, errors.Join(err, failed)
}

// read reads a datagram if there is one. What other processes send is passed
// over.
func (s *socket) read(fd uintptr) (int, error) {
	for {
		n, _, flags, from, err := unix.Recvmsg(int(fd), s.buf, nil, 0)
		sender, _ := from.(*unix.SockaddrNetlink)
		switch {
		case err == unix.EINTR:
		case err != nil:
			return 0, err
		case flags&unix.MSG_TRUNC != 0:
			clear(s.buf)
			return 0, fmt.Errorf("a datagram of more than %d octets", len(s.buf))
		case sender != nil && sender.Pid == 0:
			return n, nil
		}
	}
}

// hand gives the messages in the first n octets of the buffer to f and wipes
// them.
func (s *socket) hand(n int, f func(message) bool) error {
	defer clear(s.buf[:n])
	for b := s.buf[:n]; len(b) > 0; {
		m, rest, err := next(b)
		if err != nil {
			return err
		}
		if !f(m) {
			return nil
		}
		b = rest
	}
	return nil
}
