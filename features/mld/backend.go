package mld

import (
	"context"
	"net/netip"
	"time"

	"github.com/cxtp/cxtp/cxtp"
)

// Node is whose groups are meant.
type Node struct {
	Session  cxtp.SessionID
	Previous netip.Addr // the address that CXTP messages know it by
}

// Backend is a router's multicast in Go values. [Feature] calls it for one session
// one call at a time, and for different sessions concurrently.
//
// A refusal that the other router can act on is a [features.Error]; any other error
// is reported as [cxtp.StatusInternal].
type Backend interface {
	// Listening lists the groups that a node listens to here, as far as this router
	// can know, on prefixes of its own links. None is no error.
	Listening(ctx context.Context, n Node) ([]Context, error)

	// Supports reports whether there is a link here for each prefix: nil, or a
	// [features.Error] with [StatusNoLink]. It changes nothing.
	Supports(ctx context.Context, contexts []Context) error

	// Join has the router forward the groups, as if the node had reported them: the
	// timer of a group that has a listener already starts again (RFC 4067 appendix
	// B). It may come again.
	Join(ctx context.Context, n Node, contexts []Context) error

	// Forget is told that a session has left, or is not coming. What was joined ends
	// by its timers.
	Forget(id cxtp.SessionID)

	// Views are for the operator: what each of these nodes listens to. Nodes
	// without groups are left out.
	Views(ctx context.Context, nodes []Node) map[cxtp.SessionID][]View
}

// View is one group that a node listens to, for people.
type View struct {
	Group     netip.Addr   `json:"group"`
	Prefix    netip.Prefix `json:"prefix"`
	Interface string       `json:"interface,omitempty"`
	// Left is what is left of the listener's timer; 0 = it has none, or nobody here
	// can tell.
	Left time.Duration `json:"left,omitempty"`
}
