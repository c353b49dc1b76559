//go:build linux

package witness

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"sync"
	"time"
	"unsafe"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"golang.org/x/sys/unix"

	"github.com/cxtp/cxtp/lab/topology"
)

// Point is where to capture: on the far end of a node's link, so that what
// arrives there is what the node sent.
type Point struct {
	At        *topology.Node // whose interface it is
	Interface string
	Node      string // the node behind it, as frames name it
}

// OuterPoints are the router's ends of the links of mn, mn2, sg1 and sg2.
func OuterPoints(t *topology.Topology) []Point {
	var points []Point
	for _, n := range []*topology.Node{t.MN, t.MN2, t.SG1, t.SG2} {
		points = append(points, Point{t.Router, n.Name, n.Name})
	}
	return points
}

// InnerPoints are the host's ends of the links of sg1 and sg2, where packets
// are in clear by design.
func InnerPoints(t *topology.Topology) []Point {
	return []Point{{t.Host, t.SG1.Name, t.SG1.Name}, {t.Host, t.SG2.Name, t.SG2.Name}}
}

// Witness captures from Watch to Stop.
type Witness struct {
	sockets []*tap // until Stop
	readers sync.WaitGroup

	mu     sync.Mutex
	frames []Frame
	failed error
}

// tap is a packet socket on one interface.
type tap struct {
	file  *os.File
	point Point
}

// receiveBuffer has room for what arrives while this process does not run.
const receiveBuffer = 16 << 20 // octets

// Watch begins to capture at the points given.
func Watch(points ...Point) (*Witness, error) {
	w := &Witness{}
	for _, point := range points {
		s, err := open(point)
		if err != nil {
			_, stopped := w.Stop()
			return nil, errors.Join(fmt.Errorf("failed to capture on %s of %s: %w", point.Interface, point.At.Name, err), stopped)
		}
		w.sockets = append(w.sockets, s)
		w.readers.Go(func() { w.read(s) })
	}
	return w, nil
}

// open makes the socket of a point.
func open(point Point) (*tap, error) {
	s := &tap{point: point}
	err := point.At.Do(func() error {
		device, err := net.InterfaceByName(point.Interface)
		if err != nil {
			return err
		}
		// Of protocol 0 it receives nothing until it is bound to its interface.
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		s.file = os.NewFile(uintptr(fd), point.Interface)
		return errors.Join(
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, receiveBuffer),
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1),
			unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_IGNORE_OUTGOING, 0),
			unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: device.Index}))
	})
	if err != nil && s.file != nil {
		s.file.Close()
	}
	return s, err
}

func networkOrder(v uint16) uint16 {
	return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v))
}

// read collects frames until Stop, and then what is still in the socket.
func (w *Witness) read(s *tap) {
	raw, err := s.file.SyscallConn()
	if err != nil {
		w.fail(err)
		return
	}
	var failed error
	more := func(fd uintptr) bool {
		failed = w.take(s, int(fd))
		return !errors.Is(failed, unix.EAGAIN)
	}
	if err = raw.Read(more); errors.Is(err, os.ErrDeadlineExceeded) {
		err = raw.Control(func(fd uintptr) { more(fd) })
	}
	if errors.Is(failed, unix.EAGAIN) {
		failed = nil
	}
	if err = errors.Join(err, failed); err != nil {
		w.fail(fmt.Errorf("failed to capture on %s: %w", s.point.Interface, err))
	}
}

// take collects the frames that a socket has, and returns why there are no
// more.
func (w *Witness) take(s *tap, fd int) error {
	buf, control := make([]byte, 1<<16), make([]byte, 256)
	for {
		n, controlled, _, from, err := unix.Recvmsg(fd, buf, control, 0)
		if err != nil {
			return err
		}
		link, ok := from.(*unix.SockaddrLinklayer)
		frame := Frame{
			At: stamp(control[:controlled]), From: s.point.Node,
			Out:  !ok || link.Pkttype != unix.PACKET_OUTGOING,
			Data: slices.Clone(buf[:n]),
		}
		w.mu.Lock()
		w.frames = append(w.frames, frame)
		w.mu.Unlock()
	}
}

// stamp reads the time when the kernel took the frame.
func stamp(control []byte) time.Time {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return time.Now()
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS &&
			len(m.Data) >= int(unsafe.Sizeof(unix.Timespec{})) {
			at := (*unix.Timespec)(unsafe.Pointer(&m.Data[0]))
			return time.Unix(at.Unix())
		}
	}
	return time.Now()
}

func (w *Witness) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = errors.Join(w.failed, err)
}

// Frames returns what was captured so far, in the order of time.
func (w *Witness) Frames() []Frame {
	w.mu.Lock()
	frames := slices.Clone(w.frames)
	w.mu.Unlock()
	slices.SortStableFunc(frames, func(a, b Frame) int { return a.At.Compare(b.At) })
	return frames
}

// Stop ends the capture and returns its frames in the order of time. It is an
// error when the kernel had to drop some: then the witness did not see all.
// Again it returns the same.
func (w *Witness) Stop() ([]Frame, error) {
	for _, s := range w.sockets {
		if err := s.file.SetReadDeadline(time.Now()); err != nil {
			w.fail(err)
			s.file.Close()
		}
	}
	w.readers.Wait()
	for _, s := range w.sockets {
		if err := s.check(); err != nil {
			w.fail(err)
		}
		s.file.Close()
	}
	w.sockets = nil
	return w.Frames(), w.failed
}

// check asks the kernel whether the socket's buffer was always large enough.
func (s *tap) check() error {
	raw, err := s.file.SyscallConn()
	if err != nil {
		return err
	}
	var stats *unix.TpacketStats
	var failed error
	err = raw.Control(func(fd uintptr) {
		stats, failed = unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS)
	})
	if err = errors.Join(err, failed); err != nil {
		return err
	}
	if stats.Drops > 0 {
		return fmt.Errorf("the capture on %s missed %d frames", s.point.Interface, stats.Drops)
	}
	return nil
}

// WritePcap writes frames for other tools to read.
func WritePcap(to io.Writer, frames []Frame) error {
	out := pcapgo.NewWriterNanos(to)
	const whole = 1 << 16
	if err := out.WriteFileHeader(whole, layers.LinkTypeEthernet); err != nil {
		return err
	}
	for _, f := range frames {
		info := gopacket.CaptureInfo{Timestamp: f.At, CaptureLength: len(f.Data), Length: len(f.Data)}
		if err := out.WritePacket(info, f.Data); err != nil {
			return err
		}
	}
	return nil
}
