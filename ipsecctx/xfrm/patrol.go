package xfrm

import (
	"context"
	"errors"
	"time"

	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

// patrolTime is how often the ceilings of adopted SAs are looked at. Their soft
// limits cannot tell of those: an IKE daemon hears them too, and rekeys.
const patrolTime = time.Second

// patrol looks at the ceilings of adopted SAs until ctx ends.
func (g *Gateway) patrol(ctx context.Context) {
	ticker := time.NewTicker(patrolTime)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if err := g.lookAround(ctx); err != nil && ctx.Err() == nil {
			g.log.Warn("failed to look at the ceilings of sessions", "error", err)
		}
	}
}

// lookAround looks at all adopted SAs, if one of them has a ceiling.
func (g *Gateway) lookAround(ctx context.Context) error {
	bound := map[uapi.StateID]*session{}
	for _, s := range g.all() {
		s.mu.Lock()
		for i := range s.sas {
			if s.adopted && s.sas[i].ceiling != nil {
				bound[s.sas[i].id] = s
			}
		}
		s.mu.Unlock()
	}
	if len(bound) == 0 {
		return nil
	}
	var malformed *uapi.FormatError
	for st, err := range g.kernel.States(ctx, uapi.Filter{}) {
		switch {
		case errors.As(err, &malformed):
			continue
		case err != nil:
			return err
		}
		st.Wipe()
		if s := bound[st.ID()]; s != nil {
			if err := g.heed(ctx, s, st); err != nil {
				return err
			}
		}
	}
	return nil
}

// heed tells of a ceiling that is half used up, once, and limits an SA again that
// the IKE daemon has written anew: that counts its packets from zero.
func (g *Gateway) heed(ctx context.Context, s *session, st *uapi.State) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	at := s.place(st.ID())
	if at < 0 || s.phase == gone || s.sas[at].ceiling == nil {
		return nil
	}
	c := s.sas[at].ceiling
	if s.phase != Staged && !c.told && st.Replay.OSeq >= c.half {
		c.told = true
		go g.cfg.NearCeiling(s.id) // it may want the session
	}
	packets := st.Limits.HardPackets - min(st.Limits.HardPackets, st.Used.Packets)
	if s.phase == Active && packets > c.last-min(c.last, st.Replay.OSeq) {
		return g.limit(ctx, s)
	}
	return nil
}

// stir tells a session that waits for its SAs to look for them.
func (s *session) stir() {
	select {
	case s.stirred <- struct{}{}:
	default: // it has been told
	}
}

// stirState takes word of an SA.
func (g *Gateway) stirState(id uapi.StateID) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s := g.byState[id]; s != nil {
		s.stir()
	}
}

// stirPolicy takes word of a policy.
func (g *Gateway) stirPolicy(p *uapi.Policy) {
	node := p.Selector.Src
	if p.Dir == uapi.DirOut {
		node = p.Selector.Dst
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if s, found := g.claimed.Lookup(node.Addr()); found {
		s.stir()
	}
}

// stirAll is for when word was lost.
func (g *Gateway) stirAll() {
	for _, s := range g.all() {
		s.stir()
	}
}

// all lists the sessions.
func (g *Gateway) all() []*session {
	g.mu.Lock()
	defer g.mu.Unlock()
	all := make([]*session, 0, len(g.sessions))
	for _, s := range g.sessions {
		all = append(all, s)
	}
	return all
}
