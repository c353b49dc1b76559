//go:build linux

package witness

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"

	"github.com/cxtp/cxtp/lab/topology"
)

// Replay sends captured frames once more, from the router to a node and to the
// address given: what somebody on the path would do who hopes that a session's
// new gateway has not seen what its old one has.
func Replay(t *topology.Topology, frames []Frame, to *topology.Node, address netip.Addr) error {
	hardware, err := to.Hardware(topology.Outer)
	if err != nil {
		return err
	}
	return t.Router.Do(func() (err error) {
		device, err := net.InterfaceByName(to.Name)
		if err != nil {
			return err
		}
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, unix.Close(fd)) }()
		for _, f := range frames {
			frame, err := Redirect(f.Data, address, hardware)
			if err != nil {
				return err
			}
			if err := unix.Sendto(fd, frame, 0, &unix.SockaddrLinklayer{Ifindex: device.Index}); err != nil {
				return fmt.Errorf("failed to replay a frame to %s: %w", to.Name, err)
			}
		}
		return nil
	})
}
