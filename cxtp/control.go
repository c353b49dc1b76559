package cxtp

import (
	"crypto/sha256"
)

// Phase is what a CTD with a control block is for.
type Phase uint8

const (
	PhaseStage    Phase = 1 // static contexts and ceilings: hold them ready
	PhaseFinal    Phase = 2 // exact dynamic state: activate
	PhaseClosed   Phase = 3 // the source can no longer thaw; last windows
	PhaseWithdraw Phase = 4 // the source gave this epoch up before granting it
	phaseLast           = PhaseWithdraw
)

// MoveMode is how inbound traffic is treated between the final and the close.
type MoveMode uint8

const (
	// ModeLossless leaves inbound SAs live at both gateways from the final to
	// the close, then merges the windows. A packet that the old gateway accepts
	// in between could be replayed at the new one until the merge.
	ModeLossless MoveMode = 1
	// ModeStrict ends inbound at the source in the step that takes the counters.
	ModeStrict MoveMode = 2
)

// Digest is SHA-256 over the staged context data blocks, encoded, in order,
// without the control block. A final names the base that it applies to by it.
type Digest [sha256.Size]byte

// ManifestEntry names one SA of the session, and for an outbound one the
// ceiling: the sequence number that nobody passes before "closed".
type ManifestEntry struct {
	FPT       FPT
	Direction uint8 // 1 = inbound, 2 = outbound, seen from the gateway
	Protocol  uint8 // 50 = ESP, 51 = AH
	SPI       uint32
	Ceiling   uint64
}

// Control is the control block: what a CTD is about, beyond the node's address.
// FPTControl, no presence vector, always the first block of its message:
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+---------------+---------------+-+-------------+---------------+
//	|   Format = 1  |     Phase     |T|  Reserved   |     Mode      |
//	+---------------+---------------+-+-------------+---------------+
//	~                    Session id (16 octets)                     ~
//	+---------------------------------------------------------------+
//	~                       Epoch (8 octets)                        ~
//	+---------------------------------------------------------------+
//	~       Incarnation of the target's journal (8 octets)          ~
//	+---------------------------------------------------------------+
//	~             Digest of the staged contexts (32 octets)         ~
//	+---------------+---------------+-------------------------------+
//	| Target length |   Reserved    |        Manifest entries       |
//	+---------------+---------------+-------------------------------+
//	~       Target's name, zero-padded to a multiple of 4           ~
//	+-------------------------------+---------------+---------------+
//	|              FPT              |   Direction   |   Protocol    |
//	+-------------------------------+---------------+---------------+
//	|                              SPI                              |
//	+---------------------------------------------------------------+
//	~                      Ceiling (8 octets)                       ~
//	+---------------------------------------------------------------+
//	~                            ........                           ~
type Control struct {
	Phase       Phase
	TokenProved bool // the T flag: the source has verified the node's token
	Mode        MoveMode
	Session     SessionID
	Epoch       Epoch
	Incarnation Incarnation // 0 in a stage; then as the target's "staged" said
	Digest      Digest
	Target      RouterID // at most 255 octets
	Manifest    []ManifestEntry
}
