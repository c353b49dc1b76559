package xfrm

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"syscall"

	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
	"golang.org/x/sys/unix"
)

// New opens the kernel of the calling thread's network namespace as a gateway. It
// needs CAP_NET_ADMIN. It makes packets that find no SA wait instead of being
// dropped (net.core.xfrm_larval_drop = 0), has policies hashed by the node's
// address alone ("ip xfrm policy set hthresh4 0 32 hthresh6 0 128"), and blocks
// unprotected traffic of the nodes; all of it is the whole namespace's, and stays
// when the daemon ends.
func New(ctx context.Context, cfg Config) (*Gateway, error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := queueWithoutSA(); err != nil {
		return nil, err
	}
	home, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return nil, fmt.Errorf("failed to find the network namespace: %w", err)
	}
	conn, err := uapi.Dial()
	if err != nil {
		return nil, errors.Join(explain("failed to reach the kernel's IPsec", err), home.Close())
	}
	release := func() error { return errors.Join(conn.Close(), home.Close()) }
	if err := hashPolicies(ctx, conn); err != nil {
		return nil, errors.Join(err, release())
	}
	boot, err := bootID(home)
	if err != nil {
		return nil, errors.Join(err, release())
	}
	g, err := newGateway(ctx, conn, boot, cfg)
	if err != nil {
		return nil, errors.Join(err, release())
	}
	g.listen = func(at netip.AddrPort) (io.Closer, error) { return g.listenESP(home, at) }
	g.release = release
	return g, nil
}

// queueWithoutSA makes packets that find no SA wait for one.
func queueWithoutSA() error {
	const larvalDrop = "/proc/sys/net/core/xfrm_larval_drop"
	if err := os.WriteFile(larvalDrop, []byte("0\n"), 0); err != nil {
		return fmt.Errorf("failed to make packets wait for their SA, the kernel needs CONFIG_XFRM and the process the right to write %s: %w", larvalDrop, err)
	}
	return nil
}

// hashPolicies has the kernel find a policy by the node's address. As it is by
// default, those with a network on the local side would all be in one list with
// the block policies.
func hashPolicies(ctx context.Context, conn *uapi.Conn) error {
	err := conn.HashPolicies(ctx, uapi.PolicyHash{Remote: 32}, uapi.PolicyHash{Remote: 128})
	return explain("failed to set how policies are found", err)
}

// bootID names this boot of this machine, and the network namespace.
func bootID(namespace *os.File) (string, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("failed to tell one boot from another: %w", err)
	}
	info, err := namespace.Stat()
	if err != nil {
		return "", fmt.Errorf("failed to tell one network namespace from another: %w", err)
	}
	inode := info.Sys().(*syscall.Stat_t).Ino
	return fmt.Sprintf("%s %d", strings.TrimSpace(string(boot)), inode), nil
}

// listenESP takes the socket that was held for this address, or opens one and has
// it held.
func (g *Gateway) listenESP(namespace *os.File, at netip.AddrPort) (io.Closer, error) {
	if g.cfg.Sockets == nil {
		return listenESP(namespace, at)
	}
	if held := g.cfg.Sockets.Take(at); held != nil {
		defer held.Close() // what follows has a copy
		socket, err := net.FilePacketConn(held)
		if err != nil {
			return nil, fmt.Errorf("failed to take the socket for ESP in UDP at %v: %w", at, err)
		}
		discard(socket)
		return socket, nil
	}
	socket, err := listenESP(namespace, at)
	if err != nil {
		return nil, err
	}
	if err := g.cfg.Sockets.Keep(socket); err != nil {
		g.log.Warn("what arrives in UDP will be lost while the daemon is restarted", "socket", at.String(), "error", err)
	}
	return socket, nil
}

// discard reads what is not ESP: nobody else does.
func discard(socket net.PacketConn) { go io.Copy(io.Discard, socket.(*net.UDPConn)) }

// listenESP opens a UDP socket in a network namespace that takes ESP (RFC 3948)
// out of what arrives, for as long as it is open. The address need not be this
// machine's yet.
func listenESP(namespace *os.File, at netip.AddrPort) (socket *net.UDPConn, err error) {
	network := "udp6"
	if at.Addr().Is4() {
		network = "udp4"
	}
	config := net.ListenConfig{Control: func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) { failed = takeESP(int(fd), at.Addr()) })
		return errors.Join(err, failed)
	}}
	err = inNamespace(namespace, func() error {
		packets, err := config.ListenPacket(context.Background(), network, at.String())
		if err != nil {
			return err
		}
		socket = packets.(*net.UDPConn)
		discard(socket)
		return nil
	})
	switch {
	case errors.Is(err, unix.EADDRINUSE):
		return nil, fmt.Errorf("another program has UDP %v: if it is an IKE daemon that takes ESP there, set OthersEncapsulate: %w", at, err)
	case err != nil:
		return nil, fmt.Errorf("failed to open a socket for ESP in UDP: %w", err)
	}
	return socket, nil
}

// takeESP prepares a socket. It is excepted from all policies: one that covers
// the outer addresses would drop what arrives before it is known to be ESP.
func takeESP(fd int, at netip.Addr) error {
	level, free, except := unix.IPPROTO_IP, unix.IP_FREEBIND, unix.IP_XFRM_POLICY
	if at.Is6() {
		level, free, except = unix.IPPROTO_IPV6, unix.IPV6_FREEBIND, unix.IPV6_XFRM_POLICY
	}
	return errors.Join(
		unix.SetsockoptInt(fd, level, free, 1),
		unix.SetsockoptInt(fd, unix.IPPROTO_UDP, unix.UDP_ENCAP, unix.UDP_ENCAP_ESPINUDP),
		unix.SetsockoptString(fd, level, except, exception(at, uapi.DirIn)),
		unix.SetsockoptString(fd, level, except, exception(at, uapi.DirOut)),
	)
}

// exception is a struct xfrm_userpolicy_info that allows everything.
func exception(at netip.Addr, dir uapi.Dir) string {
	const size, family, direction = 168, 40, 160 // octets, and where in them
	policy := make([]byte, size)
	binary.NativeEndian.PutUint16(policy[family:], uint16(familyOf(at)))
	policy[direction] = byte(dir)
	return string(policy)
}

// inNamespace runs f on a thread in a network namespace. A thread that cannot
// come back from there ends with its goroutine.
func inNamespace(namespace *os.File, f func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := unix.Setns(int(namespace.Fd()), unix.CLONE_NEWNET)
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}
