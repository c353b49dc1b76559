package xfrm

import (
	"context"
	"errors"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
)

// Disown says that the IKE daemon is gone that has installed a session's SAs. They
// work as before, but what it has put into the kernel for the session goes with it, at
// its end, since nobody else takes it out.
func (g *Gateway) Disown(id cxtp.SessionID) {
	_ = g.with(id, "Disown", func(s *session) error { // its error says that the session is not here
		s.disowned = true
		return nil
	})
}

// Reinstall has another IKE daemon bring the SAs of a session that is disowned, and
// goes on where they stood: what the one before has left is taken out, and bring tells
// the other what it has to install. Packets to the node wait as in a move, those from
// it are lost while there is no SA. After an error the session is not here any more.
func (g *Gateway) Reinstall(ctx context.Context, id cxtp.SessionID, bring func(context.Context) error) error {
	static, _, err := g.Export(ctx, id)
	if err != nil {
		return err
	}
	defer static.Wipe()
	ceilings := g.ceilings(id)
	dynamic, err := g.takeDown(ctx, id)
	if err == nil {
		err = g.Stage(ctx, id, static)
	}
	if err != nil {
		return err
	}
	for _, step := range []func() error{
		func() error { return bring(ctx) },
		func() error { return g.Adopted(ctx, id) },
		func() error { return g.Limit(ctx, id, ceilings) },
		func() error { return g.Activate(ctx, id, dynamic) },
	} {
		if err := step(); err != nil {
			g.Disown(id)
			return errors.Join(err, g.Discard(context.WithoutCancel(ctx), id))
		}
	}
	return nil
}

// takeDown takes a session out of the kernel, and returns how its SAs stood last.
func (g *Gateway) takeDown(ctx context.Context, id cxtp.SessionID) ([]ipsecctx.Dynamic, error) {
	dynamic, err := g.Freeze(ctx, id)
	if err != nil {
		return nil, err
	}
	ctx = context.WithoutCancel(ctx) // half of it would be worse than none
	inbound, err := g.Close(ctx, id)
	if err != nil {
		return nil, errors.Join(err, g.Release(ctx, id))
	}
	for _, last := range inbound {
		for i := range dynamic {
			if dynamic[i].ID() == last.ID() {
				dynamic[i] = last
			}
		}
	}
	return dynamic, g.Release(ctx, id)
}

// ceilings are those that bind a session's outbound SAs.
func (g *Gateway) ceilings(id cxtp.SessionID) ipsecctx.Ceilings {
	all := ipsecctx.Ceilings{}
	_ = g.with(id, "ceilings", func(s *session) error { // its error says that the session is not here
		for i := range s.sas {
			if c := s.sas[i].ceiling; c != nil {
				all[s.static.SAs[i].ID()] = c.last
			}
		}
		return nil
	})
	return all
}
