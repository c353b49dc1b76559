package cxtp

// Drop is why a message was not acted on. What is dropped changes nothing here;
// at most it is answered from what is known already.
type Drop uint8

const (
	DropUnknownPeer    Drop = iota + 1 // from, or naming, a router that is not configured
	DropMisplaced                      // of a type that nobody sends this way
	DropMalformed                      // its control block, or error indication, does not follow its profile
	DropNoControl                      // contexts without a control block
	DropRateLimited                    // a CTAR above the rate
	DropNoResources                    // a limit of sessions or requests is reached
	DropUnknownSession                 // of a node or session that is not here
	DropAmbiguous                      // of an address that several sessions have
	DropNotAllowed                     // the policy for the peer does not allow it
	DropBadToken                       // a token that no key here makes
	DropBadMAC                         // an UpdateAck that the node did not make
	DropWrongPeer                      // the session is in other hands
	DropWrongEpoch                     // of another attempt
	DropBusy                           // something else is under way for this node
	DropOutOfTurn                      // the session's state has no use for it
	DropRepeated                       // taken before, and answered again
	drops                              // how many there are
)

var dropNames = [...]string{"none", "unknown_peer", "misplaced", "malformed", "no_control", "rate_limited", "no_resources",
	"unknown_session", "ambiguous", "not_allowed", "bad_token", "bad_mac", "wrong_peer", "wrong_epoch", "busy", "out_of_turn", "repeated"}

func (d Drop) String() string { return dropNames[d] }

// Dropped counts the messages that were not acted on, by reason, since the
// router was made.
func (r *Router) Dropped() map[Drop]uint64 {
	counts := map[Drop]uint64{}
	for d := Drop(1); d < drops; d++ {
		counts[d] = r.dropped[d]
	}
	return counts
}

// misses compares whom a message is from, and about what, with what it should.
func misses(from, wantFrom RouterID, e, wantEpoch Epoch) Drop {
	switch {
	case from != wantFrom:
		return DropWrongPeer
	case e != wantEpoch:
		return DropWrongEpoch
	}
	return 0
}

func (r *Router) drop(why Drop) { r.dropped[why]++ }

// drop says that the message of this step was not acted on.
func (s *Session) drop(why Drop) { s.dropped = why }
