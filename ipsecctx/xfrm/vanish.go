package xfrm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cxtp/cxtp/ipsecctx"
	"github.com/cxtp/cxtp/ipsecctx/xfrm/uapi"
)

// lookEvery is how often all sessions are compared with the kernel's SAs, or less
// often where that would take more than a fiftieth of the time. One dump costs less
// than word of every SA that comes and goes in a mass move.
const lookEvery = 5 * time.Second

// lookForVanished looks for sessions whose SAs are gone, until ctx ends.
func (g *Gateway) lookForVanished(ctx context.Context) {
	for wait := lookEvery; ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		began := time.Now()
		if err := g.look(ctx); err != nil && ctx.Err() == nil {
			g.log.Warn("failed to look for sessions whose SAs are gone", "error", err)
		}
		wait = max(lookEvery, 50*time.Since(began))
	}
}

// look tells of sessions that are active and have no SA of a direction any more.
// What is missing in the dump may only be between its deletion and its return: it
// is asked for again while nobody works on the session.
func (g *Gateway) look(ctx context.Context) error {
	there := map[uapi.StateID]bool{}
	var malformed *uapi.FormatError // of somebody else's SA
	for st, err := range g.kernel.States(ctx, uapi.Filter{}) {
		switch {
		case err == nil:
			st.Wipe()
			there[st.ID()] = true
		case !errors.As(err, &malformed):
			return fmt.Errorf("failed to read the SAs: %w", err)
		}
	}
	var suspects []*session
	g.mu.Lock()
	for _, s := range g.sessions {
		if s.lacks(func(i int) bool { return there[s.sas[i].id] }) != "" {
			suspects = append(suspects, s)
		}
	}
	g.mu.Unlock()
	for _, s := range suspects {
		if err := g.examine(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// examine asks for the SAs of one session, and tells what is wrong.
func (g *Gateway) examine(ctx context.Context, s *session) error {
	s.mu.Lock()
	if s.phase != Active {
		s.mu.Unlock()
		return nil
	}
	states, err := g.read(ctx, s)
	wipeStates(states)
	why := s.lacks(func(i int) bool { return states[i] != nil })
	if why != "" && err == nil && s.adopted && g.rekeyed(ctx, s) {
		why = "" // whoever speaks with the IKE daemon calls Adopt
	}
	s.mu.Unlock()
	if err == nil && why != "" {
		g.cfg.Vanished(s.id, why)
	}
	return err
}

// lacks says which of its directions have no SA left, in a sentence; "" = none.
func (s *session) lacks(there func(place int) bool) string {
	for _, d := range []ipsecctx.Direction{ipsecctx.Outbound, ipsecctx.Inbound} {
		left, places := 0, s.of(d)
		for _, i := range places {
			if there(i) {
				left++
			}
		}
		if len(places) > 0 && left == 0 {
			return fmt.Sprintf("none of its %s SAs is left in the kernel: they have expired, or somebody deleted them", d)
		}
	}
	return ""
}
