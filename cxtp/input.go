package cxtp

import "net/netip"

// Input is something that happened: a message came, an operator asked, an
// action of ours finished. Step takes one at a time.
type Input interface{ input() }

// Ticket correlates an operator's request with the [Report]s that answer it.
// 0 is nobody's.
type Ticket uint64

// Adopt makes this router the first owner of a session.
type Adopt struct {
	Session  SessionID
	Previous netip.Addr // the address that CXTP messages know the node by
	Node     NodeState
	Claims   Claims
	Ticket   Ticket
}

// Handover is the operator's trigger at the owner (RFC 4067 section 5.1).
type Handover struct {
	Session   SessionID
	To        RouterID
	StageOnly bool // predictive: stage now, and wait for a second trigger or the node
	Force     bool // also where the node would be left behind: see StatusUntold
	Ticket    Ticket
}

// Pull is the operator's trigger at the target (RFC 4067 section 5.2): fetch a
// session with a null token. For a session that is staged here already it asks
// the source to go on.
type Pull struct {
	Previous  netip.Addr
	Session   SessionID // zero, or which of several at that address
	From      RouterID
	StageOnly bool
	Force     bool   // as in Handover
	Sequence  uint32 // random, not used in the last 7 s (section 3.2)
	Ticket    Ticket
}

// Cancel is the operator giving up a move that has not been granted yet.
type Cancel struct {
	Session SessionID
	Ticket  Ticket
}

// Resolve is the operator's word that another router will never act for the
// session again: it is powered off, and what it held is gone. Not that it does
// not answer: a router that is only cut off may still send, and then both do.
// What follows is decided by what this router waits for from it.
type Resolve struct {
	Session SessionID
	Fenced  RouterID
	Ticket  Ticket
}

// Near says that an outbound SA of the session has used half of what its ceiling
// allowed.
type Near struct{ Session SessionID }

// Vanished says that the SAs of a session that is active here are gone, and not by
// our doing. It comes again for as long as that is so.
type Vanished struct {
	Session SessionID
	Why     string
}

// Standby is the operator's order to keep a staged copy of a session fresh at a
// peer, or, To being "", to keep none.
type Standby struct {
	Session SessionID
	To      RouterID
	Ticket  Ticket
}

// Drain closes this router to sessions from others, because it is to be emptied, or
// opens it again. What is staged here or on its way may still become active.
type Drain struct{ Closed bool }

// FromRouter is a message from another router, whose name the transport proved.
// The machine keeps what it needs of it by copying.
type FromRouter struct {
	From    RouterID
	Message Message
}

// FromNode is a message on the MN's side, from an address that proves nothing.
type FromNode struct {
	From    netip.AddrPort // port 0: by ICMP
	At      netip.Addr     // the address of ours that it was sent to; zero = unknown
	Message Message
}

// Done is the result of a [Do], [Steer] or [Persist] action.
type Done struct {
	Session  SessionID
	Op       OpID
	Blocks   []CDB           // Export, Sample, Freeze, Close: what was read; the machine's to keep and wipe
	Manifest []ManifestEntry // Export, Sample: the SAs, with their present sequence numbers
	SPIs     []SPIChange     // Stage, of a Do with Reassign: other SPIs that were given
	Failed   []ContextStatus // empty = it succeeded
	Partial  []ContextStatus // it succeeded, but for these, which may be missing
	Detail   string          // a sentence for the operator, when it failed or something is missing
}

func (Adopt) input()      {}
func (Handover) input()   {}
func (Pull) input()       {}
func (Cancel) input()     {}
func (Resolve) input()    {}
func (Near) input()       {}
func (Vanished) input()   {}
func (Standby) input()    {}
func (Drain) input()      {}
func (FromRouter) input() {}
func (FromNode) input()   {}
func (Done) input()       {}
