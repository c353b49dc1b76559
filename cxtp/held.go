package cxtp

import "fmt"

// HeldState is how far a session had got in the SAD when the daemon died. The
// order is that of a move.
type HeldState uint8

const (
	HeldNothing HeldState = iota
	HeldStaged            // the mark beside the staged SAs is there: nothing has been sent
	HeldActive
	HeldFrozen // outbound has stopped, and its counters are still known
)

var heldNames = [...]string{"nothing", "staged", "active", "frozen"}

func (h HeldState) String() string {
	if int(h) < len(heldNames) {
		return heldNames[h]
	}
	return fmt.Sprintf("held state %d", uint8(h))
}

// Held is a session whose SAs have outlived the daemon. What is not listed has
// no SAs any more, and that proves nothing about what they have done.
type Held struct {
	Session SessionID
	State   HeldState
	Claims  Claims
}
