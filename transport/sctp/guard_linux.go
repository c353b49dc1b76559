package sctp

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

// Guard sees whether the kernel's IPsec protects what two routers say to each other
// by SCTP. Its methods may be called concurrently.
type Guard struct {
	kernel *uapi.Conn
	routes *netlink.Handle
}

// OpenGuard opens the kernel's policies, which takes CAP_NET_ADMIN. They are those of
// the calling thread's network namespace, which has to be the process's.
func OpenGuard() (*Guard, error) {
	g := &Guard{}
	var err error
	if g.kernel, err = uapi.Dial(); err == nil {
		g.routes, err = netlink.NewHandle(unix.NETLINK_ROUTE)
	}
	if err != nil {
		_ = g.Close()
		return nil, fmt.Errorf("failed to see the IPsec policies: %w", err)
	}
	return g, nil
}

// Check tells whether the kernel applies ESP to SCTP between the two addresses, and
// takes nothing in without: the error is [ErrUnprotected] with the policy that fails,
// or what kept us from looking. Of SAs that are there for it, none may be one that
// does not encrypt (RFC 4067 section 6.2), and the interface to the peer may not be
// one that goes by without policies. Policies of one socket alone, which the
// association's has none of, do not count, nor do those of xfrm interfaces.
func (g *Guard) Check(ctx context.Context, local, remote netip.AddrPort) error {
	if err := g.checkInterface(local.Addr(), remote.Addr()); err != nil {
		return err
	}
	// Unless it was asked for, and before Linux 5.11, there is no such way in.
	if port, err := os.ReadFile("/proc/sys/net/sctp/udp_port"); err == nil && strings.TrimSpace(string(port)) != "0" {
		return fmt.Errorf("%w: net.sctp.udp_port lets SCTP in through UDP, which a policy for SCTP does not cover: set it to 0", ErrUnprotected)
	}
	var policies []*uapi.Policy
	for p, err := range g.kernel.Policies(ctx) {
		if err != nil {
			return fmt.Errorf("%w: %w", ErrUnprotected, err)
		}
		policies = append(policies, p)
	}
	for _, f := range []flow{{uapi.DirOut, local, remote}, {uapi.DirIn, remote, local}} {
		found, err := covered(policies, f)
		if err != nil {
			return err
		}
		for _, p := range found {
			if err := g.checkStates(ctx, f, p); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkInterface looks for the settings that exempt an interface's packets from
// policies, as those of the loopback interface are.
func (g *Guard) checkInterface(local, remote netip.Addr) error {
	routes, err := g.routes.RouteGetWithOptions(remote.AsSlice(), &netlink.RouteGetOptions{SrcAddr: local.AsSlice()})
	if err != nil {
		return fmt.Errorf("%w: failed to find the way to %s: %w", ErrUnprotected, remote, err)
	}
	if len(routes) == 0 {
		return fmt.Errorf("%w: there is no way to %s from %s", ErrUnprotected, remote, local)
	}
	link, err := g.routes.LinkByIndex(routes[0].LinkIndex)
	if err != nil {
		return fmt.Errorf("%w: failed to read the interface to %s: %w", ErrUnprotected, remote, err)
	}
	family, names := "ipv4", []string{"disable_xfrm", "disable_policy"}
	if remote.Is6() {
		family, names = "ipv6", []string{"disable_policy"}
	}
	for _, device := range []string{link.Attrs().Name, "all"} {
		for _, name := range names {
			value, err := os.ReadFile(path.Join("/proc/sys/net", family, "conf", device, name))
			if err != nil {
				return fmt.Errorf("%w: failed to read %s of %s: %w", ErrUnprotected, name, device, err)
			}
			if strings.TrimSpace(string(value)) != "0" {
				return fmt.Errorf("%w: net.%s.conf.%s.%s exempts what is said to %s from IPsec policies: set it to 0, or reach the router through another interface",
					ErrUnprotected, family, device, name, remote)
			}
		}
	}
	return nil
}

// checkStates looks at the SAs that a policy's ESP may take.
func (g *Guard) checkStates(ctx context.Context, f flow, p *uapi.Policy) error {
	for _, t := range p.Templates {
		if t.Proto != uapi.ESP {
			continue
		}
		src, dst := t.Src, t.Dst
		if t.Mode == uapi.Transport || !src.IsValid() || src.IsUnspecified() {
			src, dst = f.src.Addr(), f.dst.Addr()
		}
		filter := uapi.Filter{Proto: uapi.ESP, Src: netip.PrefixFrom(src, src.BitLen()), Dst: netip.PrefixFrom(dst, dst.BitLen())}
		for s, err := range g.kernel.States(ctx, filter) {
			if err != nil {
				return fmt.Errorf("%w: %w", ErrUnprotected, err)
			}
			s.Wipe()
			if why := exposes(s); why != "" && s.ReqID == t.ReqID && !larval(s) {
				return fmt.Errorf("%w: of what is said %s, the SA %s %s", ErrUnprotected, f, s.ID(), why)
			}
		}
	}
	return nil
}

// larval tells whether an SA is a mere reservation, without keys, which protects
// nothing and lets nothing pass.
func larval(s *uapi.State) bool {
	return s.SPI == 0 || s.AEAD == nil && s.Crypt == nil && s.Auth == nil
}

// Watch calls changed whenever a policy has changed that may be about the local
// address, until the context ends. What it does not see are limits that policies meet.
func (g *Guard) Watch(ctx context.Context, local netip.Addr, changed func()) error {
	events, err := g.kernel.Watch(ctx, uapi.GroupPolicies)
	if err != nil {
		return err
	}
	for event, err := range events {
		if err != nil && !errors.As(err, new(*uapi.FormatError)) {
			return err
		}
		if e, ok := event.(*uapi.PolicyChanged); !ok || about(e.Policy, local) {
			changed()
		}
	}
	return nil
}

// Close ends the guard.
func (g *Guard) Close() error {
	var failed []error
	if g.routes != nil {
		g.routes.Close()
	}
	if g.kernel != nil {
		failed = append(failed, g.kernel.Close())
	}
	return errors.Join(failed...)
}
