package cxtp

import (
	"fmt"
	"net/netip"
	"time"
)

// Action is something to carry out. The actions of one Step are begun in the
// order given. Do, Steer and Persist take time; their result comes back as
// [Done] with the same Op, and whatever depends on it is in that Step's
// actions, so nothing here has to wait for anything else here.
type Action interface{ action() }

// OpID names one Do, Steer or Persist of a session.
type OpID uint64

// Send sends a message to a router. A zero Expires means that it never goes
// stale; after Expires it is to be dropped unsent.
type Send struct {
	To      RouterID
	Message Message
	Expires time.Time
}

// SendNode sends a message to a mobile node.
type SendNode struct {
	To      netip.AddrPort // port 0: by ICMP
	From    netip.Addr     // the address of ours that the node asked at; zero = any
	Message Message
}

// Verb is what a feature is asked to do; package features says what each means.
type Verb uint8

const (
	VerbExport Verb = iota + 1
	VerbStage
	VerbFreeze
	VerbActivate
	VerbThaw
	VerbRedirect
	VerbClose
	VerbMerge
	VerbRelease
	VerbDiscard
	VerbLimit
	VerbSample
	VerbRenew
	VerbTakeOver
)

var verbNames = [...]string{"none", "export", "stage", "freeze", "activate", "thaw", "redirect", "close", "merge", "release", "discard",
	"limit", "sample", "renew", "take over"}

func (v Verb) String() string {
	if int(v) < len(verbNames) {
		return verbNames[v]
	}
	return fmt.Sprintf("verb %d", uint8(v))
}

// Do asks the features for an operation on a session.
type Do struct {
	Op       OpID
	Verb     Verb
	Session  SessionID
	Previous netip.Addr // what messages know the node by; not of Release, Redirect, Limit and Merge
	Epoch    Epoch
	Mode     MoveMode
	Blocks   []CDB           // Stage, Renew, Activate, Merge
	Manifest []ManifestEntry // Stage, Renew, Limit: the ceilings; Thaw: the floors
	Peer     RouterID        // Export, Freeze, Redirect: where to; TakeOver: where from
	Deadline time.Time       // Stage
	Reassign bool            // Stage: an inbound SA whose SPI is taken may get another one, of which its node can be told
	Types    []FPT           // Export: what was asked for; nil = everything
}

// Steer makes the network send the node's downlink traffic to this router.
type Steer struct {
	Op       OpID
	Session  SessionID
	Epoch    Epoch
	Previous netip.Addr
	Inner    []netip.Prefix
	From     RouterID // the gateway that had it until now
}

// Persist writes a record to the journal; Done says that it is durable.
type Persist struct {
	Op     OpID
	Record Record
}

// Event is what a Report tells.
type Event uint8

const (
	EventAdopted Event = iota + 1
	EventStaging
	EventStaged
	EventWaiting // staged, and the target waits for the node's token
	EventGranted
	EventFrozen
	EventActive   // the target is active
	EventSteered  // traffic reaches the target
	EventClosed   // the move is complete
	EventRefused  // the target refused; the session goes on at the source
	EventFailed   // given up before the grant; the session goes on at the source
	EventThawed   // refused after the grant; the session goes on at the source
	EventEnded    // the session is over, and Detail says why
	EventSteering // steering failed or is late; Detail says what
	EventStandby  // what became of a standby's copy
)

var eventNames = [...]string{"none", "adopted", "staging", "staged", "waiting", "granted", "frozen", "active", "steered", "closed", "refused", "failed", "thawed", "ended", "steering", "standby"}

func (e Event) String() string {
	if int(e) < len(eventNames) {
		return eventNames[e]
	}
	return fmt.Sprintf("event %d", uint8(e))
}

// Report tells the operator. The last one of a request has Final set.
type Report struct {
	Session  SessionID
	Epoch    Epoch
	Ticket   Ticket
	Event    Event
	Peer     RouterID
	Statuses []ContextStatus
	Detail   string
	Final    bool
}

func (Send) action()     {}
func (SendNode) action() {}
func (Do) action()       {}
func (Steer) action()    {}
func (Persist) action()  {}
func (Report) action()   {}
