//go:build linux && lab

package lab

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/lab/matrix"
	"github.com/cxtp/cxtp/lab/topology"
)

// The path MTU from the router on, in octets. What ESP leaves of the narrow one has to
// be above IPv6's least: below that, nobody is told.
const wide, narrow = 1500, 1400

// narrowPath has the router forward nothing larger towards these addresses.
func (f *fleet) narrowPath(v6 bool, to map[netip.Addr]string) {
	f.t.Helper()
	for a, dev := range to {
		args := []string{"route", "replace", full(a).String(), "dev", dev, "mtu", "lock", strconv.Itoa(narrow)}
		if v6 {
			args = append([]string{"-6"}, args...)
		}
		f.shell(f.Router, "ip", args...)
	}
}

// learner sends datagrams that nobody may cut, to a receiver of its own.
type learner struct {
	from *net.UDPConn
	to   net.PacketConn
	v6   bool
}

const learningPort = 7200

func (f *fleet) learner(from *topology.Node, a netip.Addr, to *topology.Node, b netip.Addr) *learner {
	f.t.Helper()
	l := &learner{v6: a.Is6()}
	f.must(to.Do(func() (err error) {
		l.to, err = net.ListenPacket("udp", netip.AddrPortFrom(b, learningPort).String())
		return err
	}))
	f.t.Cleanup(func() { l.to.Close() })
	whole := net.Dialer{LocalAddr: net.UDPAddrFromAddrPort(netip.AddrPortFrom(a, 0)), Control: func(_, _ string, raw syscall.RawConn) error {
		var set error
		err := raw.Control(func(fd uintptr) {
			if l.v6 {
				set = unix.SetsockoptInt(int(fd), unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_DO)
			} else {
				set = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_DO)
			}
		})
		return errors.Join(err, set)
	}}
	f.must(from.Do(func() error {
		conn, err := whole.DialContext(f.ctx, "udp", netip.AddrPortFrom(b, learningPort).String())
		if err == nil {
			l.from = conn.(*net.UDPConn)
		}
		return err
	}))
	f.t.Cleanup(func() { l.from.Close() })
	return l
}

// arrives sends one datagram of a size, and reports whether it came.
func (l *learner) arrives(size int) bool {
	if _, err := l.from.Write(make([]byte, size)); err != nil {
		return false // we have been told, now or before
	}
	got := make([]byte, size+1)
	l.to.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
	n, _, err := l.to.ReadFrom(got)
	return err == nil && n == size
}

// learned is the path MTU that the sender has been told, for inner packets.
func (l *learner) learned() (mtu int, err error) {
	raw, err := l.from.SyscallConn()
	if err != nil {
		return 0, err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		level, option := unix.IPPROTO_IP, unix.IP_MTU
		if l.v6 {
			level, option = unix.IPPROTO_IPV6, unix.IPV6_MTU
		}
		mtu, failed = unix.GetsockoptInt(int(fd), level, option)
	})
	return mtu, errors.Join(err, failed)
}

// largest sends datagrams as large as the path is said to take, until one arrives.
func (l *learner) largest(ctx context.Context) (mtu int, err error) {
	headers := map[bool]int{false: 28, true: 48}[l.v6] // of IP and UDP
	for ctx.Err() == nil {
		if mtu, err = l.learned(); err != nil || l.arrives(mtu-headers) {
			return mtu, err
		}
	}
	return mtu, fmt.Errorf("the path is said to take %d octets, and that much does not arrive: %w", mtu, context.Cause(ctx))
}

// paths sees both ends find out what the outer path takes, less what ESP adds.
func (f *fleet) paths(up, down *learner, outer int) {
	f.t.Helper()
	for who, l := range map[string]*learner{"the node": up, "the host": down} {
		ctx, cancel := context.WithTimeout(f.ctx, patience)
		mtu, err := l.largest(ctx)
		cancel()
		if err != nil || mtu >= outer || mtu < outer-100 {
			f.t.Errorf("%s, where the outer path takes %d octets, was told of %d: %v", who, outer, mtu, err)
		}
		f.t.Logf("%s: of %d octets, an inner packet has %d", who, outer, mtu)
	}
}

// TestPathMTU has the outer path take less than large packets need. The node and the
// host behind the gateway are told; the session moves, and both are told again, of
// the path to a gateway that nothing is known of.
func TestPathMTU(t *testing.T) {
	for _, c := range matrix.All([]matrix.Axis{
		{Name: axisSuite, Values: []string{"gcm"}}, {Name: axisESN, Values: []string{"esn"}},
		{Name: axisMode, Values: []string{"tunnel"}}, {Name: axisFamily, Values: []string{"4in4", "6in6"}},
		{Name: axisEncap, Values: []string{"bare", "udp"}}, {Name: axisUplink, Values: []string{"direct"}},
	}, possible) {
		t.Run(c.Get(axisFamily)+"/"+c.Get(axisEncap), func(t *testing.T) {
			f, l, id := newFleet(t, "lossless"), linkOf(c), cxtp.SessionID{0xab}
			f.install(l, f.gateways[0], id)
			w := f.watch()
			f.traffic(l).Stop(settle)
			up, down := f.learner(f.MN, l.inner, f.Host, l.far), f.learner(f.Host, l.far, f.MN, l.inner)
			f.paths(up, down, wide)
			f.handover(f.gateways[0], id)
			f.stands(f.gateways[0], id, "gone")
			f.narrowPath(l.outer6, map[netip.Addr]string{l.node: f.MN.Name, f.gateways[1].Outer.Of(l.outer6): "bridge"})
			f.paths(up, down, narrow)
			f.traffic(l).Stop(settle)
			f.judge(w, l)
		})
	}
}
