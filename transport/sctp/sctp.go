// Package sctp carries messages between routers over the kernel's SCTP, as RFC 4067
// section 3.1 has it, and finds out whether IPsec protects them.
//
//	message, 1 to 65,536 octets, unordered, with or without a lifetime
//	SCTP association (RFC 9260), stream 0, one address at each end
//	ESP, by the kernel's policies: a Guard sees whether they are there
//	IP
//
// A [Socket] both dials and accepts, from one address and port, which RFC 4065
// makes 5091. So two routers that dial each other at the same time have one
// association (RFC 9260 section 5.2.1), and one that was restarted takes its own
// again (section 5.2.2). Each association that comes about gets a socket of its own:
// what a slow reader leaves there is in nobody else's way.
//
// What section 3.1 asks for, and what is done for it:
//
//   - a single stream, unordered delivery, the U bit set: of every message.
//   - the payload protocol identifier 'CXTP': RFC 4065 registers no number for it, so
//     the name's four ASCII characters are taken, 0x43585450. Of what comes, any is
//     taken: the port says what it is, and others had no number to agree on either.
//   - the longest retransmission timeout is CT_MAX_TRANSFER_TIME: [Config.RTOMax].
//   - PR-SCTP, RFC 3758: a message with a lifetime is given up after it, if the peer
//     supports that. One without is never given up.
//   - no bundling that delays: a message never waits for others (SCTP_NODELAY). SCTP
//     puts those into one packet that wait for its congestion window already; Linux
//     has no switch for that.
//   - no multihoming: the socket has one address, and a peer that names several of its
//     own is refused. An IPsec policy for the one would not cover the others.
//
// Nothing here authenticates a peer. It is who its address says, as far as IPsec sees
// to that, and not at all without.
package sctp

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

const (
	// Port is the SCTP port of CXTP between routers (RFC 4065 section 2).
	Port = 5091
	// PayloadProtocol marks a CXTP message: the name in ASCII.
	PayloadProtocol = 0x43585450
	// MaxMessage is the largest message that is received, in octets.
	MaxMessage = 1 << 16
)

// Config says where a Socket listens and how patient its associations are. All of it
// is required.
type Config struct {
	// Addr is the address and port to listen on and to dial from. It is one address,
	// not a wildcard.
	Addr netip.AddrPort
	// RTOMax is the longest, and so the first, retransmission timeout.
	RTOMax time.Duration
	// Patience is for how long SCTP goes on with a peer that does not answer.
	Patience time.Duration
	// Setup is for how long it tries to reach one.
	Setup time.Duration
	// SendBuffer and ReceiveBuffer are asked of the kernel for each association, in
	// octets. It may give less.
	SendBuffer, ReceiveBuffer int
}

// Errors that a caller can tell apart.
var (
	// ErrRestarted: the peer lost its state and opened the association anew. What was
	// not delivered by then is lost; the association goes on.
	ErrRestarted = errors.New("peer restarted")
	// ErrLost: the association failed, or the peer aborted it.
	ErrLost = errors.New("association is lost")
	// ErrNoAnswer: nobody accepted an association at the address dialed.
	ErrNoAnswer = errors.New("no association could be set up")
	// ErrMultihomed: the peer named several addresses of its own.
	ErrMultihomed = errors.New("peer has several addresses in one association: configure it to use one")
	// ErrBusy: an association with the address is there already, or being set up.
	ErrBusy = errors.New("the peer's address has an association already")
	// ErrTooLong: a message is larger than MaxMessage.
	ErrTooLong = errors.New("message is too long")
	// ErrUnsupported: this system has no SCTP that can be used.
	ErrUnsupported = errors.New("no SCTP in this kernel")
)

// RefusedError says that an association which somebody opened was not taken. The next
// may be.
type RefusedError struct {
	Remote netip.AddrPort
	Reason error
}

// Error says who was refused and why.
func (e *RefusedError) Error() string {
	return fmt.Sprintf("failed to take an association with %s: %v", e.Remote, e.Reason)
}

// Unwrap gives the reason.
func (e *RefusedError) Unwrap() error { return e.Reason }
