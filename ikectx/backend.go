package ikectx

import (
	"context"

	"github.com/cxtp/cxtp/cxtp"
)

// Backend is an IKE daemon in Go values: what is left of it once encoding,
// checking and idempotence are taken off. [Feature] calls it for one session one
// call at a time, for different sessions concurrently, and never repeats a call
// that succeeded, except Sample.
//
// A session that the daemon does not know has no IKE SA, and that is no error:
// Export returns nil of it, Sample and Freeze the zero state, and the others do
// nothing. A backend that knows of one and cannot say all that belongs to it
// returns an error.
//
// A refusal that the other gateway can act on is a [features.Error]; any other
// error is reported as [cxtp.StatusInternal]. After an error nothing of the
// operation remains, except where the method says otherwise.
type Backend interface {
	// Supports reports whether this gateway could carry the session on: nil, or a
	// [features.Error] that names what is missing (a transform, a connection of
	// that name, room in a pool). It changes nothing.
	Supports(s *Session) error

	// Export returns the static state. Nothing changes. While an exchange is under
	// way that changes the SAs it waits; in the end it refuses with StatusBusy.
	// The value is the caller's, who wipes it.
	Export(ctx context.Context, id cxtp.SessionID) (*Session, error)

	// Sample returns the dynamic state as of now, and stops nothing. While an
	// exchange is under way that changes the SAs it waits.
	Sample(ctx context.Context, id cxtp.SessionID) (Dynamic, error)

	// Stage makes everything ready that can be made without acting: nothing is
	// sent, answered or timed until Activate. A session that is staged already is
	// replaced; one that is active is refused. A node that has another gateway
	// address here ([Session.Before]), and could not be told of it or could not be
	// reached, is refused too. The session is lent until the call returns: the
	// backend clones what it keeps.
	Stage(ctx context.Context, id cxtp.SessionID, s *Session) error

	// Freeze stops the processing of IKE messages, all of it and without a word to
	// the node, and returns the exact state, read in the same step. While an
	// exchange is under way that changes the SAs it waits. In the end, and where
	// the SAs are no longer those of the last Export, it refuses with StatusBusy
	// and has stopped nothing; if it cannot go on any more, the state is
	// [Dynamic.Unsettled] instead. What is frozen may be frozen again.
	Freeze(ctx context.Context, id cxtp.SessionID) (Dynamic, error)

	// Activate starts the staged session at the exact state given, which is lent
	// like a staged session. It does not wait for the node, which may have to be
	// told where its gateway is.
	Activate(ctx context.Context, id cxtp.SessionID, d Dynamic) error

	// TakeOver starts the staged session at a state that may be behind: message
	// IDs are to be synchronised where the node can (RFC 6311), and IVs are not
	// to be continued (IKE profile section 8.4).
	TakeOver(ctx context.Context, id cxtp.SessionID, d Dynamic) error

	// Thaw undoes Freeze. With behind set another gateway may have been active
	// since, and is gone for good: the state is to be treated as TakeOver does.
	Thaw(ctx context.Context, id cxtp.SessionID, behind bool) error

	// Redirect passes what the node still sends for a frozen session on to the
	// gateway named, where it is active.
	Redirect(ctx context.Context, id cxtp.SessionID, to cxtp.RouterID) error

	// Closed says at the target that the source has ended: from here on a rekey
	// may be begun.
	Closed(ctx context.Context, id cxtp.SessionID) error

	// Release forgets a session that was moved away and wipes its keys, without a
	// word to the node.
	Release(ctx context.Context, id cxtp.SessionID) error

	// Discard is Release for a session that was only staged.
	Discard(ctx context.Context, id cxtp.SessionID) error

	// Held lists what the daemon holds when ours starts.
	Held(ctx context.Context) ([]cxtp.Held, error)
}

// Starter is a Backend that can say whether what is staged could be activated. It is
// asked before the IPsec SAs are, which cannot be undone; it changes nothing and takes
// no time, for packets wait.
type Starter interface {
	Ready(ctx context.Context, id cxtp.SessionID) error
}
