package xfrm

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

// probeTime bounds what asking the kernel for a transform takes.
const probeTime = 5 * time.Second

// Supports implements [ipsecctx.Backend]: what the package comment lists, as far
// as this kernel has it. It asks the kernel once for each combination of
// protocol, transforms, mode and address family, with an SA that nobody can send
// to.
func (g *Gateway) Supports(sa *ipsecctx.SA) error {
	if err := expressible(sa); err != nil {
		return err
	}
	for i := range sa.Selectors {
		if _, err := selectorsOf(&sa.Selectors[i], uapi.DirOut); err != nil {
			return err
		}
	}
	key := fmt.Sprint(sa.Protocol, sa.Mode, sa.Local.Is4(), sa.ESN, sa.Encap.Enabled(),
		sa.Encryption.ID, sa.Encryption.Bits, sa.Integrity.ID, sa.Integrity.Truncate)
	g.mu.Lock()
	answer, known := g.probed[key]
	g.mu.Unlock()
	if !known {
		var lasting bool
		if answer, lasting = g.probe(sa); lasting {
			g.mu.Lock()
			g.probed[key] = answer
			g.mu.Unlock()
		}
	}
	if answer != nil {
		return answer
	}
	return nil
}

// probe adds an SA like sa, with keys of zeros, from and to an address that
// documents are for, and takes it away. lasting says that another try would give
// the same answer.
func (g *Gateway) probe(sa *ipsecctx.SA) (err error, lasting bool) {
	ctx, cancel := context.WithTimeout(context.Background(), probeTime)
	defer cancel()
	like := *sa
	like.Direction, like.Window = ipsecctx.Outbound, 0
	like.Local, like.Remote = netip.MustParseAddr("192.0.2.254"), netip.MustParseAddr("192.0.2.255")
	if sa.Local.Is6() {
		like.Local, like.Remote = netip.MustParseAddr("2001:db8::fffe"), netip.MustParseAddr("2001:db8::ffff")
	}
	zeros := func(k secret.Key) secret.Key { return secret.New(make([]byte, k.Len())) }
	like.Encryption.Key, like.Encryption.Salt = probeKey(sa.Encryption.Key.Len()), zeros(sa.Encryption.Salt)
	like.Integrity.Key = probeKey(sa.Integrity.Key.Len())
	st, err := newState(&like, g.cfg.LastReqID, Placement{})
	if err != nil {
		return err, true
	}
	g.probing.Lock()
	defer g.probing.Unlock()
	_, err = g.each(ctx, []uapi.Request{addState(st)})
	if err == nil || errors.Is(err, uapi.ErrExists) || errors.Is(err, uapi.ErrOutcomeUnknown) {
		if gone := g.erase(context.WithoutCancel(ctx), []uapi.Request{deleteState(st.ID())}); gone != nil {
			g.log.Warn("an SA that the kernel was asked for cannot be deleted", "sa", st.ID(), "error", gone)
		}
	}
	switch {
	case err == nil || errors.Is(err, uapi.ErrExists):
		return nil, err == nil
	case errors.Is(err, uapi.ErrUnsupportedAlgorithm), errors.Is(err, uapi.ErrUnsupportedProtocol):
		return explain(sa.ID().String(), err), true
	default:
		return explain(sa.ID().String(), err), false
	}
}

// probeKey is a key for a probe. Its octets differ: a cipher may refuse a weak
// key, as 3DES does one whose parts are the same.
func probeKey(n int) secret.Key {
	octets := make([]byte, n)
	for i := range octets {
		octets[i] = byte(i)
	}
	return secret.New(octets)
}

// reservationTime is how long the kernel keeps a reserved SPI, at least
// (net.core.xfrm_acq_expires, by default).
const reservationTime = 30 * time.Second

// ReserveSPI takes an inbound SPI that nobody has, of this gateway's part, for an
// SA between two addresses. The kernel keeps it for 30 seconds; a session that is
// staged with it before takes it over. Where an IKE daemon chooses the SPIs it
// refuses.
func (g *Gateway) ReserveSPI(ctx context.Context, local, remote netip.Addr, protocol ipsecctx.Protocol, mode ipsecctx.Mode) (uint32, error) {
	if g.cfg.Adopt {
		return 0, refuse(cxtp.StatusSPIConflict, "the SPIs at %v are the IKE daemon's to choose: have it rekey the session after another move", local)
	}
	r := &uapi.SPIRequest{Src: remote, Dst: local, Proto: uapi.Proto(protocol), Mode: modeOf(&ipsecctx.SA{Mode: mode}),
		Min: g.cfg.FirstSPI, Max: g.cfg.LastSPI}
	results, err := g.each(ctx, []uapi.Request{{Op: uapi.OpAllocSPI, SPI: r}})
	if errors.Is(err, uapi.ErrInUse) {
		return 0, refuse(cxtp.StatusSPIConflict, "no SPI from %#x to %#x is free at %v: widen this gateway's part", r.Min, r.Max, local)
	}
	if err != nil {
		return 0, explain("failed to reserve an SPI", err)
	}
	st := results[0].State
	g.mu.Lock()
	defer g.mu.Unlock()
	g.reserved[st.ID()] = g.now().Add(reservationTime)
	return st.SPI, nil
}

// takeReservation reports whether an SPI is reserved for a session that is being
// staged, and forgets that.
func (g *Gateway) takeReservation(id uapi.StateID) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	until, reserved := g.reserved[id]
	delete(g.reserved, id)
	for other, end := range g.reserved {
		if end.Before(g.now()) {
			delete(g.reserved, other)
		}
	}
	return reserved && g.now().Before(until)
}
