package strongswan

import (
	"context"
	"slices"
	"time"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ipsecctx"
)

// rekeyTime is how long a rekey may take. A client that is at something else has charon
// try again, up to a quarter of a minute later.
const rekeyTime = 30 * time.Second

// Rekey has charon rekey a client's CHILD SAs, and returns when the new ones are at
// work and the old ones gone, which takes it five seconds.
func (a *Agent) Rekey(ctx context.Context, id cxtp.SessionID) error {
	s, err := a.with(ctx, id, "Rekey", ipsecctx.Active)
	if s == nil {
		if err == nil {
			err = refuse(cxtp.StatusUnknownSession, "charon has no client of session %v", id)
		}
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	before, err := a.quiet(ctx, s)
	if err != nil {
		return s.busy(err)
	}
	for _, child := range before.Children {
		if err := a.charon.RekeyChild(ctx, child.Unique); err != nil {
			return s.problem("failed to rekey the CHILD SAs", err)
		}
	}
	ctx, cancel = context.WithTimeout(context.WithoutCancel(ctx), rekeyTime)
	defer cancel()
	_, err = a.charon.awaitAs(ctx, a.name(s), func(sa IKESA) bool {
		return sa.settled() && a.agrees(s, sa) && !slices.ContainsFunc(sa.Children, func(c ChildSA) bool { return slices.Contains(before.Children, c) })
	})
	if err != nil {
		return s.busy(err)
	}
	return nil
}
