package cxtp

import (
	"fmt"
	"net/netip"
)

// RecordKind is what a journal record decides. The journal holds decisions and
// no keys: after a crash it says which epochs may still be answered for, and
// how.
type RecordKind uint8

const (
	// At the source.
	RecordOwned     RecordKind = 1 // first owner, or owner after a close: may send
	RecordAllocated RecordKind = 2 // this epoch is used up, whatever comes of it
	RecordGranted   RecordKind = 3 // the epoch belongs to Peer; the freeze follows
	RecordThawed    RecordKind = 4 // Peer refused the granted epoch; owner again
	RecordMoved     RecordKind = 5 // Peer is active and our part is closed
	RecordEnded     RecordKind = 6 // nobody owns the session any more; Why says why

	// At the target.
	RecordMayActivate RecordKind = 7  // staged for Peer: may become active at any time
	RecordRefused     RecordKind = 8  // will never be activated here
	RecordActive      RecordKind = 9  // activated
	RecordClosed      RecordKind = 10 // activated, and the source has closed
	RecordLost        RecordKind = 11 // may have been active; the data plane is gone
)

var recordNames = [...]string{"none", "owned", "allocated", "granted", "thawed", "moved", "ended",
	"may-activate", "refused", "active", "closed", "lost"}

// Known reports whether this version knows the kind.
func (k RecordKind) Known() bool { return k != 0 && int(k) < len(recordNames) }

func (k RecordKind) String() string {
	if int(k) < len(recordNames) {
		return recordNames[k]
	}
	return fmt.Sprintf("record %d", uint8(k))
}

// Record is one durable decision.
type Record struct {
	Kind     RecordKind      `json:"kind"`
	Session  SessionID       `json:"session"`
	Epoch    Epoch           `json:"epoch"`
	Previous netip.Addr      `json:"previous"`
	Agent    netip.AddrPort  `json:"agent,omitzero"` // of the node: its keys are not written down
	Peer     RouterID        `json:"peer,omitempty"`
	Ceilings []ManifestEntry `json:"ceilings,omitempty"`
	Why      string          `json:"why,omitempty"`

	Plain       bool        `json:"plain,omitempty"`      // it came here without a control block
	Standby     bool        `json:"standby,omitempty"`    // Allocated, Granted: for a copy that may take over
	Digest      Digest      `json:"digest,omitzero"`      // Granted: of what is staged
	Incarnation Incarnation `json:"incarnation,omitzero"` // Granted: of the target
}
