package transport

import (
	"context"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/netip"
	"strconv"
	"time"
)

// The pause after a failed dial doubles from the first to the last of these. A
// random half of it is left out, so that two routers do not stay in step.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 2 * time.Second
	// lasting is how long an association has to last for the next dial to come at once.
	// Two routers with one certificate take the peer from each other again and again.
	lasting = 2 * lastPause
)

// keepUp dials the peer whenever it is down, if its address is known, until the
// context ends: RFC 4067 section 6 wants the secure channel there in advance.
func (p *peer) keepUp(ctx context.Context) {
	p.setPause(firstPause)
	for ctx.Err() == nil {
		if s := p.current(); s != nil {
			select {
			case <-p.wake:
			case <-ctx.Done():
			}
			if p.current() != nil {
				continue
			}
			if time.Since(s.began) >= lasting {
				p.setPause(firstPause)
				continue
			}
		} else if p.Addr != "" && p.dial(ctx) == nil {
			continue
		}
		p.rest(ctx)
		p.drain() // what waits may have become stale
	}
}

// rest lets the pause pass, and doubles it.
func (p *peer) rest(ctx context.Context) {
	pause := p.pausing()
	select {
	case <-time.After(pause/2 + mathrand.N(pause/2)):
		p.setPause(min(2*pause, lastPause))
	case <-p.wake:
	case <-ctx.Done():
	}
}

func (p *peer) setPause(d time.Duration) { p.pause.Store(int64(d)) }

func (p *peer) pausing() time.Duration { return time.Duration(p.pause.Load()) }

// dial tries once to set up an association.
func (p *peer) dial(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, p.endpoint.config.HandshakeTimeout)
	defer cancel()
	p.setDialing(true)
	err := p.endpoint.carrier.dial(ctx, p)
	p.setDialing(false)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil && p.session == nil && !errors.Is(err, errBusy) && !errors.Is(err, errYield) {
		p.stats.LastError = err.Error()
	}
	return err
}

func (p *peer) setDialing(yes bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.dialing = yes
}

// resolve finds the address of host:port in the socket's family.
func (e *Endpoint) resolve(ctx context.Context, addr string) (netip.AddrPort, error) {
	if literal, err := netip.ParseAddrPort(addr); err == nil {
		return unmap(literal), nil
	}
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return netip.AddrPort{}, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return netip.AddrPort{}, err
	}
	network := "ip"
	if e.LocalAddr().Addr().Is4() {
		network = "ip4"
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, network, host)
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("failed to look up %s: %w", host, err)
	}
	return unmap(netip.AddrPortFrom(found[0], uint16(port))), nil
}
