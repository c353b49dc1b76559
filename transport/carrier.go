package transport

import (
	"context"
	"net/netip"
	"time"
)

// carrier is what an Endpoint stands on: a socket, and how whoever is at the other
// end is proven to be a configured peer.
type carrier interface {
	// run accepts associations, and gives them to Endpoint.adopt, until close.
	run()
	// dial tries once to set up an association with a peer, and gives it to
	// Endpoint.adopt.
	dial(ctx context.Context, p *peer) error
	localAddr() netip.AddrPort
	// count adds what the carrier knows to the counters.
	count(*Stats)
	close() error
}

// link is one association with an authenticated peer.
type link interface {
	remote() netip.AddrPort
	// read waits for the next message, which is the caller's to keep. An error
	// says why there will be no more.
	read() ([]byte, error)
	// write takes a copy of a message if there is room for it. One that is not
	// acknowledged when it expires may be given up; a zero time never is.
	write(msg []byte, expires time.Time) bool
	// room tells that write was refused and has room again.
	room() <-chan struct{}
	// heard grows whenever anything comes from the peer.
	heard() uint64
	// keepalive makes the peer say something.
	keepalive()
	// shutdown waits until what write took was delivered, or the context ends.
	shutdown(context.Context)
	// end ends the association and frees what it has. It is called once.
	end(reason error)
}
