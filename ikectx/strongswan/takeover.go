package strongswan

import (
	"context"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/ikectx"
)

// A client that is taken over may have exchanged messages with the gateway that is
// gone since its state was read. It takes only the request that comes next for it, and
// sends no other either; which that is nobody here knows, and stock clients cannot be
// asked (RFC 6311). So the agent sends several empty requests, from the one that was
// next when the state was read: the client ignores those that it has had, but for the
// last of them, which it answers again, and takes the others in turn. Once the last of
// all is answered, the next one is known. With that charon rekeys: the message IDs of
// the new IKE SA begin anew in both directions, and a CHILD SA that the client does not
// have any more, or never had, is made again.

// overtaken is how many exchanges a gateway can have begun since it was read without
// losing the client.
const overtaken = 8

// TakeOver implements [ikectx.Backend]. What the client has exchanged since is made up
// for by Follow, as far as that is possible.
func (a *Agent) TakeOver(ctx context.Context, id cxtp.SessionID, d ikectx.Dynamic) error {
	return a.activate(ctx, id, "TakeOver", d, (*session).inherit)
}

// takeBack is TakeOver of a client that was frozen here: another gateway may have been
// active for it since, and is gone for good.
func (a *Agent) takeBack(ctx context.Context, s *session) error {
	if err := a.proceed(s, a.dynamic(s), (*session).inherit); err != nil {
		return s.problem("failed to take the IKE SA back", err)
	}
	if err := a.thaw(ctx, s); err != nil {
		return err
	}
	go func() { // nothing is steered that was here before, so nobody else has it answer
		if err := a.Follow(context.WithoutCancel(ctx), s.id); err != nil {
			a.log.Warn("the IKE SA of a client cannot go on", "session", s.id, "error", err)
		}
	}()
	return nil
}

// inherit sets where the IKE SA may go on. One for which the agent cannot speak goes on
// where it stood.
func (s *session) inherit(d ikectx.Dynamic) error {
	n, err := s.l.notice(d.NextRequest, overtaken, s.moves)
	if err != nil {
		return s.resume(d)
	}
	g := s.l.current()
	g.request, g.expected = d.NextRequest+overtaken, d.NextExpected
	s.notice, s.inherited = n, true
	return nil
}

// unanswered is the problem of a client that has not answered a notice.
func (s *session) unanswered(n *notice, err error) error {
	if s.inherited {
		return s.problem("the client does not answer: it has rekeyed its IKE SA with the gateway that is gone, or cannot be reached. Its traffic goes on as long as it does not miss its gateway, then it connects again. Failed to take over the IKE SA", err)
	}
	return s.problem("failed to have the client follow to "+n.local.String(), err)
}

// renew has charon rekey all that was taken over.
func (a *Agent) renew(ctx context.Context, s *session) {
	sa, err := a.charon.find(ctx, a.idOf(s))
	for _, c := range sa.Children {
		if err == nil {
			err = a.charon.RekeyChild(ctx, c.Unique)
		}
	}
	if err == nil {
		err = a.charon.RekeyIKE(ctx, sa.Unique)
	}
	if err != nil {
		a.log.Warn("what was taken over is not rekeyed: what the gateway that is gone has accepted could be replayed", "session", s.id, "client", s.l.String(), "error", err)
	}
}
