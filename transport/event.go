package transport

import (
	"errors"
	"net/netip"

	"github.com/cxtp/cxtp/transport/sctp"
)

// Errors of Send and Listen.
var (
	// ErrUnknownPeer: the name is not among Config.Peers.
	ErrUnknownPeer = errors.New("unknown peer")
	// ErrQueueFull: the peer's queue has no room; the message was not taken.
	ErrQueueFull = errors.New("peer's queue is full")
	// ErrMessageSize: a message has 1 to MaxMessage octets.
	ErrMessageSize = errors.New("message is empty or too large")
	// ErrClosed: the endpoint was closed.
	ErrClosed = errors.New("transport is closed")
)

// Why a peer went down; in PeerDown.Reason, to be tested with errors.Is. Close
// gives ErrClosed.
var (
	// ErrPeerDead: nothing was heard for KeepaliveTimeout.
	ErrPeerDead = errors.New("peer is silent")
	// ErrPeerLeft: the peer ended the association, or it failed.
	ErrPeerLeft = errors.New("peer ended the association")
	// ErrPeerReplaced: the peer, authenticated, opened a new association; most
	// likely it restarted.
	ErrPeerReplaced = errors.New("peer opened a new association")
	// What such a peer says to the association that it has no more.
	errReplacedThere = errors.New("it has a newer one with a router of this name: if that comes again and again, another router has this one's certificate")
	// ErrUnprotected: no IPsec policy covers the peer any more. Why a peer was
	// refused, too.
	ErrUnprotected = sctp.ErrUnprotected
)

// Event is one of PeerUp, PeerDown and PeerRefused.
type Event interface{ isEvent() }

// PeerUp says that messages can flow to and from a peer.
type PeerUp struct {
	Peer   string
	Remote netip.AddrPort
}

// PeerDown says that the association is gone. What SCTP had taken and not
// delivered is lost; what was queued still waits. The peer is dialed again.
type PeerDown struct {
	Peer   string
	Remote netip.AddrPort
	Reason error
}

// PeerRefused says that a remote party did not pass authentication, whether it
// dialed us or we dialed it. It is reported once for each pair of IP address
// and identity; Stats counts every one.
type PeerRefused struct {
	Remote netip.AddrPort
	// Identity is the name in its certificate, for a certificate that a
	// configured root vouches for; empty otherwise.
	Identity string
	Reason   error
}

func (PeerUp) isEvent()      {}
func (PeerDown) isEvent()    {}
func (PeerRefused) isEvent() {}

// State is a peer's, as Stats sees it.
type State int

// The states of a peer.
const (
	// Down: no association, and none is being set up by us.
	Down State = iota
	// Dialing: an association is being set up by us.
	Dialing
	// Up: messages flow.
	Up
)

func (s State) String() string {
	return [...]string{"down", "dialing", "up"}[s]
}

// Stats is a snapshot of an endpoint's counters.
type Stats struct {
	// Refused counts the parties that did not pass authentication.
	Refused uint64
	// HalfOpen is the number of handshakes in progress, both ways; of KernelSCTP
	// those that we began.
	HalfOpen int
	// Discarded counts datagrams that no connection took: garbage, strays,
	// handshakes beyond the limit, full receive queues. Of KernelSCTP the kernel
	// counts them.
	Discarded uint64
	// Peers has one entry for each of Config.Peers, in that order.
	Peers []PeerStats
}

// PeerStats is a snapshot of one peer's counters. They outlive associations.
type PeerStats struct {
	Name  string
	State State
	// Remote is where the present association goes; the zero value if none.
	Remote netip.AddrPort

	// Messages and octets given to SCTP, and to the handler; keepalives are not
	// counted.
	MessagesSent, OctetsSent         uint64
	MessagesReceived, OctetsReceived uint64
	// Expired counts messages that went stale before SCTP took them.
	Expired uint64
	// QueueMessages and QueueOctets are what waits for SCTP now.
	QueueMessages, QueueOctets int
	// Handshakes counts associations set up; Refused counts dials to this peer
	// that reached somebody who is not.
	Handshakes, Refused uint64
	// LastError is why the last dial failed; empty after a success.
	LastError string
}
