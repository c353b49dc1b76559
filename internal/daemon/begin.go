package daemon

import (
	"context"
	"errors"
	"fmt"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features/mld"
	"github.com/cxtp/cxtp/internal/control"
)

// badRequest is a mistake in what an operator asked for.
type badRequest struct{ error }

func (b badRequest) Unwrap() error { return b.error }

// begin installs what a session that begins here consists of: SAs, groups, or both.
// After an error nothing remains.
func (d *daemon) begin(ctx context.Context, n *control.NewSession) (cxtp.Claims, cxtp.NodeState, error) {
	fail := func(err error) (cxtp.Claims, cxtp.NodeState, error) {
		return cxtp.Claims{}, cxtp.NodeState{}, err
	}
	if n.Agent.IsValid() && n.Agent.Port() == 0 && !d.cfg.Node.ICMP {
		return fail(badRequest{errors.New("agent has port 0, which is ICMP: set node.icmp in this gateway's configuration, or give the agent's UDP port")})
	}
	static, dynamic, node, err := manualSession(n)
	if err != nil {
		return fail(badRequest{err})
	}
	groups, err := manualGroups(n.Groups)
	if err != nil {
		return fail(badRequest{err})
	}
	switch {
	case len(n.SAs) > 0:
		err = d.gateway.Install(ctx, n.Session, static, dynamic)
	case len(groups) > 0 || len(d.cfg.Multicast.Interfaces) > 0: // where they are read on the link
		err = d.ipsec.WithoutSAs(ctx, n.Session)
	default:
		err = badRequest{errors.New("a session needs sas, groups, or both")}
	}
	if err != nil {
		return fail(err)
	}
	if len(groups) > 0 {
		if err := d.multicast.Begin(ctx, mld.Node{Session: n.Session, Previous: n.Previous}, groups); err != nil {
			return fail(errors.Join(err, d.end(ctx, n.Session)))
		}
	}
	claims := cxtp.Claims{Inner: n.Inner}
	if n.Identity != "" {
		claims.Identity = "fqdn:" + n.Identity
	}
	return claims, node, nil
}

// end undoes begin.
func (d *daemon) end(ctx context.Context, id cxtp.SessionID) error {
	d.multicast.End(id)
	d.ipsec.Forget(id)
	return d.gateway.Release(ctx, id)
}

// manualGroups reads the groups of a request. A mistake is named by its place.
func manualGroups(groups []control.NewGroup) ([]mld.Context, error) {
	contexts := make([]mld.Context, len(groups))
	for i, g := range groups {
		contexts[i] = mld.Context{Prefix: g.Prefix, Group: g.Group}
		if err := contexts[i].Check(); err != nil {
			return nil, fmt.Errorf("groups[%d]: %w", i, err)
		}
	}
	return contexts, nil
}
