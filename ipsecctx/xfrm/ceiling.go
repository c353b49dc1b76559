package xfrm

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

// Limit implements [ipsecctx.Backend] with the packet limits of the kernel. An SA
// that meets one is deleted, and with it its key: the session then cannot send
// before it has been negotiated anew, so a ceiling must be moved up before it is
// met. See [Config.NearCeiling].
func (g *Gateway) Limit(ctx context.Context, id cxtp.SessionID, ceilings ipsecctx.Ceilings) error {
	return g.with(id, "Limit", func(s *session) error {
		before := make([]*ceiling, len(s.sas))
		for _, i := range s.of(ipsecctx.Outbound) {
			before[i], s.sas[i].ceiling = s.sas[i].ceiling, nil
			if last, bound := ceilings[s.static.SAs[i].ID()]; bound && last < lastNumber(&s.static.SAs[i]) {
				s.sas[i].ceiling = &ceiling{last: last}
			}
		}
		if s.phase == Staged {
			return nil // start sets them
		}
		err := g.limit(ctx, s)
		if err != nil {
			for _, i := range s.of(ipsecctx.Outbound) {
				s.sas[i].ceiling = lower(before[i], s.sas[i].ceiling)
			}
		}
		return err
	})
}

// lower is the stricter of two ceilings: which of them the kernel has is not
// known after an error.
func lower(a, b *ceiling) *ceiling {
	if a == nil || b != nil && b.last < a.last {
		return b
	}
	return a
}

// limit writes the ceilings of a session that has started.
func (g *Gateway) limit(ctx context.Context, s *session) error {
	states, err := g.read(ctx, s)
	defer wipeStates(states)
	if err != nil {
		return err
	}
	var requests []uapi.Request
	for _, i := range s.of(ipsecctx.Outbound) {
		switch st := states[i]; {
		case st == nil: // it sends nothing any more
		case s.parked[i] != nil:
			s.limits(i, s.parked[i])
		default:
			requests = append(requests, s.limits(i, st))
		}
	}
	results, err := g.kernel.Batch(ctx, requests)
	errs := []error{err}
	for _, r := range results {
		if r.Err != nil && !isGone(r.Err) {
			errs = append(errs, r.Err)
		}
	}
	return explain("failed to limit the outbound SAs", errors.Join(errs...))
}

// isGone reports whether the kernel has no such SA. A request to change one that
// has just expired finds no such process.
func isGone(err error) bool { return errors.Is(err, uapi.ErrNotFound) }

// Run tells of ceilings that come near and of sessions whose SAs have vanished,
// follows nodes whose NAT gives them another port, and hears what an IKE daemon
// brings, until ctx ends, which is no error.
func (g *Gateway) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	var looking sync.WaitGroup
	defer looking.Wait()
	defer cancel()
	looking.Go(func() { g.lookForVanished(ctx) })
	groups := []uapi.Group{uapi.GroupExpire, uapi.GroupMapping}
	if g.cfg.Adopt {
		looking.Go(func() { g.patrol(ctx) })
		groups = append(groups, uapi.GroupStates, uapi.GroupPolicies)
	}
	events, err := g.kernel.Watch(ctx, groups...)
	if err != nil {
		return explain("failed to watch the kernel's SAs", err)
	}
	for event, err := range events {
		if ctx.Err() != nil {
			return nil
		}
		var malformed *uapi.FormatError
		switch {
		case errors.As(err, &malformed):
			g.log.Warn("the kernel told something that does not parse", "error", err)
			continue
		case err != nil:
			return fmt.Errorf("failed to watch the kernel's SAs: %w", err)
		}
		switch e := event.(type) {
		case *uapi.StateExpired:
			g.expired(e.State, e.Hard)
		case *uapi.MappingChanged:
			g.mapped(ctx, e)
		case *uapi.StateChanged:
			e.State.Wipe()
			g.stirState(e.State.ID())
		case *uapi.PolicyChanged:
			g.stirPolicy(e.Policy)
		case *uapi.EventsLost:
			g.stirAll()
			if err := g.lookForCeilings(ctx); err != nil {
				return err
			}
		}
	}
	if ctx.Err() != nil {
		return nil
	}
	return errors.New("the kernel's socket was closed")
}

// expired takes word of an SA that met a limit. The callback runs by itself: it
// may want the session that is being worked on.
func (g *Gateway) expired(st *uapi.State, hard bool) {
	g.mu.Lock()
	s := g.byState[st.ID()]
	g.mu.Unlock()
	if s == nil {
		return
	}
	if hard {
		g.log.Warn("an SA has met a hard limit and is gone", "session", s.id, "sa", st.ID(), "packets", st.Used.Packets)
	}
	go g.near(s, st)
}

// near calls back when it is the ceiling that has come near, and not one of the
// SA's own limits.
func (g *Gateway) near(s *session, st *uapi.State) {
	s.mu.Lock()
	at := s.place(st.ID())
	near := at >= 0 && s.sas[at].ceiling != nil && s.phase != gone && !s.adopted && st.Used.Packets >= st.Limits.SoftPackets
	s.mu.Unlock()
	if near {
		g.cfg.NearCeiling(s.id)
	}
}

// place finds an SA by its kernel's name; -1 = it is not the session's.
func (s *session) place(id uapi.StateID) int {
	for i := range s.sas {
		if s.sas[i].id == id {
			return i
		}
	}
	return -1
}

// lookForCeilings looks at all SAs, because the kernel lost word of some.
func (g *Gateway) lookForCeilings(ctx context.Context) error {
	for st, err := range g.kernel.States(ctx, uapi.Filter{}) {
		if err != nil {
			return fmt.Errorf("failed to look for SAs near their ceilings: %w", err)
		}
		if st.Used.Packets >= st.Limits.SoftPackets {
			g.expired(st, false)
		}
		st.Wipe()
	}
	return nil
}

// SAStats is the state of one SA.
type SAStats struct {
	Direction ipsecctx.Direction
	Protocol  ipsecctx.Protocol
	SPI       uint32
	Gone      bool   // expired, or deleted by somebody else
	Sequence  uint64 // last sent, or the window's right edge
	Used      ipsecctx.Lifetime

	// Of packets that an inbound SA refused.
	Replayed, Late, AuthFailed uint64
}

// SessionStats is the state of one session.
type SessionStats struct {
	Phase  Phase
	Closed bool // inbound has ended
	SAs    []SAStats
}

// Stats reads the state of all sessions in one dump.
func (g *Gateway) Stats(ctx context.Context) (map[cxtp.SessionID]SessionStats, error) {
	found := map[uapi.StateID]*uapi.State{}
	for st, err := range g.kernel.States(ctx, uapi.Filter{}) {
		if err != nil {
			return nil, fmt.Errorf("failed to read the SAs: %w", err)
		}
		st.Wipe()
		found[st.ID()] = st
	}
	sessions := g.all()
	all, now := make(map[cxtp.SessionID]SessionStats, len(sessions)), g.now()
	for _, s := range sessions {
		if st, there := s.stats(found, now); there {
			all[s.id] = st
		}
	}
	return all, nil
}

func (s *session) stats(found map[uapi.StateID]*uapi.State, now time.Time) (SessionStats, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := SessionStats{Phase: s.phase, Closed: s.closed}
	for i := range s.sas {
		sa, k := &s.static.SAs[i], found[s.sas[i].id]
		one := SAStats{Direction: sa.Direction, Protocol: sa.Protocol, SPI: sa.SPI, Gone: k == nil}
		if k != nil {
			d := dynamicOf(sa, k, s.sas[i].heard, now)
			one.Sequence, one.Used = d.Sequence, d.Used
			one.Replayed, one.Late, one.AuthFailed = uint64(k.Stats.Replay), uint64(k.Stats.ReplayWindow), uint64(k.Stats.IntegrityFailed)
		}
		st.SAs = append(st.SAs, one)
	}
	return st, s.phase != gone
}
