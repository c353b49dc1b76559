package soft

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
)

// Supports implements [ipsecctx.Backend]: tunnel-mode ESP in UDP with the
// transforms that the package comment lists, and no others.
func (g *Gateway) Supports(sa *ipsecctx.SA) error { return supports(sa) }

// Install starts a session whose life begins here, by manual keying for
// instance. An SA without an entry in dynamic starts from zero. The session is
// copied. What is refused is as for Stage.
func (g *Gateway) Install(id cxtp.SessionID, static *ipsecctx.Session, dynamic []ipsecctx.Dynamic) error {
	now := time.Now()
	s, err := newSession(g, id, static, now)
	if err != nil {
		return err
	}
	if err = s.check(dynamic, false); err == nil {
		s.loadInbound(dynamic, now)
		s.loadOutbound(dynamic, now)
		s.phase, s.live = Active, true
		err = g.admit(s, nil)
	}
	if err != nil {
		s.static.Wipe()
	}
	return err
}

// Stage implements [ipsecctx.Backend]. A session that is staged already is
// replaced, and what waits in its queue stays. SPIs that are taken, and
// selectors or inner addresses that overlap another session's, are refused.
func (g *Gateway) Stage(_ context.Context, id cxtp.SessionID, static *ipsecctx.Session) error {
	s, err := newSession(g, id, static, time.Now())
	if err != nil {
		return err
	}
	if old := g.session(id); old != nil {
		err = g.restage(s, old)
	} else {
		err = g.admit(s, nil)
	}
	if err != nil {
		s.static.Wipe()
	}
	return err
}

// firstSPI is the first that RFC 4303 section 2.1 does not reserve.
const firstSPI = 256

// ReserveSPI implements [ipsecctx.Reserver] with a random one. Until it is staged
// nothing but its 32 bits keeps others from taking it.
func (g *Gateway) ReserveSPI(context.Context, netip.Addr, netip.Addr, ipsecctx.Protocol, ipsecctx.Mode) (uint32, error) {
	g.tables.RLock()
	defer g.tables.RUnlock()
	for {
		var octets [4]byte
		rand.Read(octets[:])
		if spi := binary.BigEndian.Uint32(octets[:]); spi >= firstSPI && g.sad[spi] == nil {
			return spi, nil
		}
	}
}

// restage puts s in the place of a staged session. It takes over queue and
// counters before any packet can find it.
func (g *Gateway) restage(s, old *session) error {
	old.lock()
	defer old.unlock()
	if old.phase != Staged {
		return refuseFor(cxtp.FPTIPsecSession, cxtp.StatusBusy, "session %v is %s here", s.id, old.phase)
	}
	s.queue, s.sent, s.received = old.queue, old.sent, old.received
	if err := g.admit(s, old); err != nil {
		return err
	}
	old.forget()
	return nil
}

// admit enters a session into SPD and SAD, in place of old where there is one,
// or says what it collides with; then nothing has changed.
func (g *Gateway) admit(s, old *session) error {
	g.tables.Lock()
	defer g.tables.Unlock()
	if g.spd.sessions[s.id] != old {
		return refuseFor(cxtp.FPTIPsecSession, cxtp.StatusBusy, "session %v is here already", s.id)
	}
	for _, r := range s.receivers {
		if other := g.sad[r.sa.SPI]; other != nil && other.session != old {
			return ipsecctx.RefuseSPI(r.sa.ID(), "inbound SPI %#x belongs to session %v", r.sa.SPI, other.session.id)
		}
	}
	if other := g.spd.conflict(s.static, old); other != nil {
		return refuseFor(cxtp.FPTIPsecSession, cxtp.StatusPolicyConflict, "inner addresses or selectors overlap those of session %v", other.id)
	}
	if old != nil {
		g.strike(old)
	}
	g.spd.add(s)
	for _, r := range s.receivers {
		g.sad[r.sa.SPI] = r
	}
	return nil
}

// strike takes a session out of SPD and SAD; the caller holds the tables.
func (g *Gateway) strike(s *session) {
	g.spd.remove(s)
	for _, r := range s.receivers {
		delete(g.sad, r.sa.SPI)
	}
}

// session returns the session of that id, or nil.
func (g *Gateway) session(id cxtp.SessionID) *session {
	g.tables.RLock()
	defer g.tables.RUnlock()
	return g.spd.sessions[id]
}

// with runs f on a session with both its directions locked.
func (g *Gateway) with(id cxtp.SessionID, operation string, f func(*session) error) error {
	s := g.session(id)
	if s == nil {
		return unknown(id, operation)
	}
	s.lock()
	defer s.unlock()
	if s.phase == gone {
		return unknown(id, operation)
	}
	return f(s)
}

func unknown(id cxtp.SessionID, operation string) error {
	return refuseFor(cxtp.FPTIPsecSession, cxtp.StatusUnknownSession, "session %v is not here: %s is not possible", id, operation)
}

// Export implements [ipsecctx.Backend]. The keys in the answer are the
// gateway's own.
func (g *Gateway) Export(_ context.Context, id cxtp.SessionID) (*ipsecctx.Session, []ipsecctx.Dynamic, error) {
	var (
		static  *ipsecctx.Session
		dynamic []ipsecctx.Dynamic
	)
	err := g.with(id, "Export", func(s *session) error {
		static = s.static.Clone()
		dynamic = s.save(time.Now())
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return static, dynamic, nil
}

// Freeze implements [ipsecctx.Backend]. When it returns, every packet up to the
// outbound sequence numbers in the answer has been handed to the outside wire,
// and none above them is before Thaw. Called again, it answers the same.
func (g *Gateway) Freeze(_ context.Context, id cxtp.SessionID) (dynamic []ipsecctx.Dynamic, err error) {
	err = g.with(id, "Freeze", func(s *session) error {
		switch s.phase {
		case Active:
			s.phase, s.frozen = Frozen, s.save(time.Now())
			s.live = !g.strict
		case Frozen, Redirected:
		default:
			return s.misplaced("Freeze")
		}
		dynamic = ipsecctx.CloneDynamic(s.frozen)
		return nil
	})
	return dynamic, err
}

// Activate implements [ipsecctx.Backend]. Called again for a session that is
// active, it changes nothing.
func (g *Gateway) Activate(_ context.Context, id cxtp.SessionID, dynamic []ipsecctx.Dynamic) error {
	return g.with(id, "Activate", func(s *session) error {
		if s.phase == Active {
			return nil
		}
		if s.phase != Staged {
			return s.misplaced("Activate")
		}
		if err := s.check(dynamic, true); err != nil {
			return err
		}
		now := time.Now()
		s.loadInbound(dynamic, now)
		s.live = true
		s.loadOutbound(dynamic, now)
		s.phase = Active
		s.drain(now)
		return nil
	})
}

// Limit implements [ipsecctx.Backend].
func (g *Gateway) Limit(_ context.Context, id cxtp.SessionID, ceilings ipsecctx.Ceilings) error {
	return g.with(id, "Limit", func(s *session) error {
		for _, o := range s.senders {
			o.limit(ceilings)
		}
		return nil
	})
}

// Thaw implements [ipsecctx.Backend]: the session sends again, first what
// waits, with the sequence numbers after those that Freeze gave, or after its
// floors.
func (g *Gateway) Thaw(_ context.Context, id cxtp.SessionID, floors ipsecctx.Ceilings) error {
	return g.with(id, "Thaw", func(s *session) error {
		if s.phase == Active {
			return nil
		}
		if s.phase != Frozen || s.closed {
			return s.misplaced("Thaw")
		}
		s.phase, s.frozen, s.live = Active, nil, true
		for _, o := range s.senders {
			o.last = max(o.last, floors[o.sa.ID()])
		}
		s.drain(time.Now())
		return nil
	})
}

// Redirect implements [ipsecctx.Backend]. The gateway has to be among
// [Config.Peers]. A redirected session can be redirected elsewhere.
func (g *Gateway) Redirect(_ context.Context, id cxtp.SessionID, to cxtp.RouterID) error {
	addr, ok := g.peers[to]
	if !ok {
		return fmt.Errorf("failed to redirect session %v: no inside endpoint of gateway %q, add it to the peers", id, to)
	}
	return g.with(id, "Redirect", func(s *session) error {
		if s.phase != Frozen && s.phase != Redirected {
			return s.misplaced("Redirect")
		}
		s.phase, s.redirect = Redirected, addr
		for _, buf := range s.queue {
			s.pass(buf[headroom : len(buf)-tailroom])
		}
		s.queue = nil
		return nil
	})
}

// Close implements [ipsecctx.Backend]. Called again, it answers the same.
func (g *Gateway) Close(_ context.Context, id cxtp.SessionID) (dynamic []ipsecctx.Dynamic, err error) {
	err = g.with(id, "Close", func(s *session) error {
		if s.phase != Frozen && s.phase != Redirected {
			return s.misplaced("Close")
		}
		s.live, s.closed = false, true
		dynamic = s.saveInbound(time.Now())
		return nil
	})
	return dynamic, err
}

// Merge implements [ipsecctx.Backend]: what the source accepted is seen here
// too, from now on.
func (g *Gateway) Merge(_ context.Context, id cxtp.SessionID, last []ipsecctx.Dynamic) error {
	return g.with(id, "Merge", func(s *session) error {
		if s.phase == Staged {
			return s.misplaced("Merge")
		}
		if err := s.check(last, false); err != nil {
			return err
		}
		now := time.Now()
		for _, r := range s.receivers {
			if d := find(last, r.sa); d != nil {
				r.merge(d, now)
			}
		}
		return nil
	})
}

// Release implements [ipsecctx.Backend]. It ends the session in any phase but
// staged.
func (g *Gateway) Release(_ context.Context, id cxtp.SessionID) error {
	return g.end(id, "Release", func(p Phase) bool { return p != Staged })
}

// Discard implements [ipsecctx.Backend]. It refuses to end a session that is
// more than staged.
func (g *Gateway) Discard(_ context.Context, id cxtp.SessionID) error {
	return g.end(id, "Discard", func(p Phase) bool { return p == Staged })
}

// Held implements [ipsecctx.Backend]: the SAs are in the daemon's memory, so
// there are none when it starts.
func (g *Gateway) Held(context.Context) ([]cxtp.Held, error) { return nil, nil }

func (g *Gateway) end(id cxtp.SessionID, operation string, allowed func(Phase) bool) error {
	s := g.session(id)
	if s == nil {
		return nil
	}
	s.lock()
	defer s.unlock()
	switch {
	case s.phase == gone:
		return nil
	case !allowed(s.phase):
		return s.misplaced(operation)
	}
	g.tables.Lock()
	g.strike(s)
	g.past.add(&Counters{Out: s.sent, In: s.received})
	g.tables.Unlock()
	s.forget()
	return nil
}

// SetRemote changes where a session's outbound packets go: the other end has
// moved. Nothing else changes and nothing is lost; inbound packets were
// accepted from any address before.
//
// The address family stays: a gateway has one outside wire.
func (g *Gateway) SetRemote(id cxtp.SessionID, remote netip.AddrPort) error {
	remote = netip.AddrPortFrom(remote.Addr().Unmap(), remote.Port())
	if !remote.IsValid() || remote.Addr().IsUnspecified() || remote.Port() == 0 {
		return fmt.Errorf("failed to set the remote endpoint of session %v: %v is no endpoint", id, remote)
	}
	return g.with(id, "SetRemote", func(s *session) error {
		if was := s.static.SAs[0].Remote; was.BitLen() != remote.Addr().BitLen() {
			return fmt.Errorf("failed to set the remote endpoint of session %v: %v is not of the family of %v", id, remote, was)
		}
		for i := range s.static.SAs {
			s.static.SAs[i].Remote = remote.Addr()
			s.static.SAs[i].Encap.RemotePort = remote.Port()
		}
		for _, o := range s.senders {
			o.remote = remote
		}
		return nil
	})
}

// SetOutboundSPIs changes the SPIs that a session sends on, as the other end has
// told: those among the old ones that it has. Nothing else changes.
func (g *Gateway) SetOutboundSPIs(id cxtp.SessionID, changes []cxtp.SPIChange) error {
	return g.with(id, "SetOutboundSPIs", func(s *session) error {
		for _, o := range s.senders {
			of := func(c cxtp.SPIChange) bool { return c.Old == o.sa.SPI && c.Protocol == uint8(o.sa.Protocol) }
			if i := slices.IndexFunc(changes, of); i >= 0 {
				o.sa.SPI = changes[i].New
			}
		}
		return nil
	})
}
