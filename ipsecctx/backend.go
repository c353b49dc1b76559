package ipsecctx

import (
	"context"
	"net/netip"

	"github.com/cxtp/cxtp/cxtp"
)

// Backend is a gateway's SAD and SPD in Go values: what is left of a gateway
// once encoding, checking and idempotence are taken off it. [Feature] calls it
// for one session one call at a time, for different sessions concurrently, and
// never repeats a call that succeeded.
//
// A refusal that the other gateway can act on is a [features.Error]; any other
// error is reported as [cxtp.StatusInternal]. After an error nothing of the
// operation remains, except where the method says otherwise.
type Backend interface {
	// Supports reports whether this gateway could carry the SA: nil, or a
	// [features.Error] that names what is missing. It changes nothing.
	Supports(sa *SA) error

	// Export returns the static state of a session, and of its SAs the dynamic
	// state as of now, from which only the ceilings are taken. The values are the
	// caller's, who wipes the session: what else becomes of it here meanwhile does
	// not change them.
	Export(ctx context.Context, id cxtp.SessionID) (*Session, []Dynamic, error)

	// Limit makes the outbound SAs stop at the ceilings given, in place of those
	// that were: an SA without one has none but its own. A session in any phase
	// takes them.
	Limit(ctx context.Context, id cxtp.SessionID, ceilings Ceilings) error

	// Stage reserves the SPIs and puts a policy that blocks in place; nothing is
	// sent and nothing accepted until Activate. A session that is staged already
	// is replaced, with no moment in which its traffic would pass unprotected;
	// one that is active is refused. An SPI that is taken is refused with
	// [RefuseSPI]. The session is lent until the call returns: the backend clones
	// what it keeps.
	Stage(ctx context.Context, id cxtp.SessionID, s *Session) error

	// Freeze stops the outbound SAs, queues what arrives for them, and returns
	// the exact dynamic state of every SA, read in the same step.
	Freeze(ctx context.Context, id cxtp.SessionID) ([]Dynamic, error)

	// Activate starts the staged SAs at the dynamic state given, inbound first,
	// outbound last. There is one entry for each staged SA.
	Activate(ctx context.Context, id cxtp.SessionID, dynamic []Dynamic) error

	// Thaw undoes Freeze with the counters as they were, or above the floor of
	// an SA that has one. The ceilings stay.
	Thaw(ctx context.Context, id cxtp.SessionID, floors Ceilings) error

	// Redirect passes the queue of a frozen session, and what still arrives for
	// the node, on to the gateway named.
	Redirect(ctx context.Context, id cxtp.SessionID, to cxtp.RouterID) error

	// Close ends the inbound SAs and returns their last dynamic state.
	Close(ctx context.Context, id cxtp.SessionID) ([]Dynamic, error)

	// Merge unites the windows given with those of the session's inbound SAs.
	Merge(ctx context.Context, id cxtp.SessionID, last []Dynamic) error

	// Release forgets a session that was moved away and wipes its keys. An
	// unknown session is no error: there is nothing left to do.
	Release(ctx context.Context, id cxtp.SessionID) error

	// Discard forgets a session that was only staged and wipes its keys. An
	// unknown session is no error: there is nothing left to do.
	Discard(ctx context.Context, id cxtp.SessionID) error

	// Held lists what the gateway holds when the daemon starts.
	Held(ctx context.Context) ([]cxtp.Held, error)
}

// Reserver is a Backend that can give an inbound SA another SPI than it had.
// ReserveSPI takes one that nobody has here, for an SA between two addresses; a
// session that is staged with it soon gets it.
type Reserver interface {
	ReserveSPI(ctx context.Context, local, remote netip.Addr, protocol Protocol, mode Mode) (uint32, error)
}

// Sharer is a Backend whose gateway shares outer addresses with others. Of each one
// of the gateways is the holder, to which nodes' packets come; it forwards those of
// sessions that are elsewhere. What fails here is for the operator to know and not
// for a move to fail on: the session works, its packets go a longer way.
type Sharer interface {
	// Shared reports whether an address is one of them. A session that comes here
	// with it keeps it.
	Shared(a netip.Addr) bool

	// Yield, after Close, gives up those of the session's shared addresses that no
	// session here uses any more, to the gateway that the session was redirected
	// to, and returns them. It returns the same when it is asked again.
	Yield(ctx context.Context, id cxtp.SessionID) []netip.Addr

	// Take makes this gateway the holder of addresses that the session's source has
	// given up. Others than the session's own shared ones are not taken.
	Take(ctx context.Context, id cxtp.SessionID, addrs []netip.Addr)

	// Inherit makes this gateway the holder of the session's shared addresses,
	// because the gateway that had the session is gone: of those that nobody
	// else holds.
	Inherit(ctx context.Context, id cxtp.SessionID, from cxtp.RouterID)
}

// Diverter is a Backend that cannot pass on what waits while a session is frozen:
// Divert, before Freeze, has what arrives for the node go to the gateway that
// the session is moved to, where it waits. What cannot be diverted waits here and
// is lost if the session moves. Thaw takes it back.
type Diverter interface {
	Divert(ctx context.Context, id cxtp.SessionID, to cxtp.RouterID)
}
