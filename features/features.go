package features

import (
	"context"
	"fmt"
	"net/netip"
	"time"

	"github.com/cxtp/cxtp/cxtp"
)

// Ref names one attempt to move one session. A feature answers an operation
// that it has already carried out for the same Ref with the same result
// (idempotence), and refuses an older epoch than it has seen.
type Ref struct {
	Session  cxtp.SessionID
	Epoch    cxtp.Epoch
	Peer     cxtp.RouterID // of an Export or a Freeze: where the session is to go, "" = nowhere yet; of a TakeOver: whose it was
	Previous netip.Addr    // what CXTP messages know the node by; not of a Release, Redirect, Limit or Merge
}

// Snapshot is what a feature holds of a session, encoded.
type Snapshot struct {
	// Blocks are the static contexts at Export, the dynamic ones at Freeze and
	// at Close.
	Blocks []cxtp.CDB
	// Manifest lists the SAs among them, with the last sequence number of each
	// outbound one in Ceiling: the machine adds the headroom.
	Manifest []cxtp.ManifestEntry
}

// Staging is what a target is asked to hold ready.
type Staging struct {
	Blocks   []cxtp.CDB
	Manifest []cxtp.ManifestEntry
	Deadline time.Time // the feature need not watch it: the machine discards
	// Reassign lets an inbound SA whose SPI is taken here have another one: the
	// node will be told. See [Reassigner].
	Reassign bool
}

// Feature is a participant in a move. Every operation is idempotent for its
// Ref. An error that should reach the other gateway is an [*Error]; any other
// error is reported as [cxtp.StatusInternal].
//
// At the source: Export, Limit, Freeze, then Thaw or Close, then Release; for a
// standby, Sample and Limit again and again.
// At the target: Stage, then Activate or Discard, then Merge and Limit; at a
// standby, Renew again and again, then perhaps TakeOver.
type Feature interface {
	// FPTs lists the context types that the feature reads and writes.
	FPTs() []cxtp.FPT

	// Export reads the static contexts of a session; nothing changes. types is
	// what was asked for, nil everything: a feature is only asked when one of its
	// types is among them, and need not take itself to pieces.
	Export(ctx context.Context, ref Ref, types []cxtp.FPT) (Snapshot, error)

	// Limit makes the outbound SAs that the manifest names stop at its ceilings:
	// the last sequence number that they may use. It replaces the ceilings that
	// were; an empty manifest lifts them.
	Limit(ctx context.Context, ref Ref, ceilings []cxtp.ManifestEntry) error

	// Sample reads the dynamic state without stopping anything: for a standby,
	// whose copy it brings up to date.
	Sample(ctx context.Context, ref Ref) (Snapshot, error)

	// Stage checks everything, reserves SPIs, puts policies in place and keeps
	// the rest ready. After it, Activate may not fail for a lack of anything.
	// It sends nothing and accepts nothing. On error nothing remains.
	Stage(ctx context.Context, ref Ref, s Staging) error

	// Renew gives what is staged the dynamic state and the ceilings of a later
	// Sample. Nothing else changes.
	Renew(ctx context.Context, ref Ref, s Staging) error

	// TakeOver starts what is staged without a final: inbound from the windows
	// of the last Renew, outbound above the ceilings. Only for a target that
	// knows that the source will not send any more.
	TakeOver(ctx context.Context, ref Ref) error

	// Freeze stops the outbound SAs, keeps what arrives for them in a bounded
	// queue, and reads the exact dynamic state in the same step. A gateway that
	// cannot pass its queue on sends what arrives to the peer from before that on:
	// there the session is staged, and has a queue too.
	// A feature that is in the middle of something, a rekey for instance, waits for
	// its end; if that takes too long it refuses with [cxtp.StatusBusy], and nothing
	// was stopped.
	Freeze(ctx context.Context, ref Ref) (Snapshot, error)

	// Activate gives the staged SAs their dynamic state and starts them,
	// inbound first, outbound last and not beyond the ceilings. An error means
	// that nothing was sent and that nothing will be.
	Activate(ctx context.Context, ref Ref, dynamic []cxtp.CDB) error

	// Thaw undoes Freeze with the counters as they were: only for a source that
	// knows that the target did not activate. With floors (which are then not nil,
	// even if they name no SA of this feature) it goes on above them: for a source
	// whose target may have activated and is gone for good. The ceilings stay.
	Thaw(ctx context.Context, ref Ref, floors []cxtp.ManifestEntry) error

	// Redirect makes a frozen source pass what its queue holds, and all that
	// still arrives from behind it for the node, on to the gateway named, on
	// the protected side. Only after the target said that it is active.
	Redirect(ctx context.Context, ref Ref, to cxtp.RouterID) error

	// Close ends the source's inbound SAs and returns their last windows.
	Close(ctx context.Context, ref Ref) (Snapshot, error)

	// Merge unites the windows that the source last had with the target's own.
	// Without any it does without them: everything up to the highest number
	// received counts as seen.
	Merge(ctx context.Context, ref Ref, last []cxtp.CDB) error

	// Release forgets the session at the source and wipes its keys.
	Release(ctx context.Context, ref Ref) error

	// Discard forgets what was only staged and wipes its keys.
	Discard(ctx context.Context, ref Ref) error

	// Held lists what the feature holds when the daemon starts: nothing, where
	// its SAs were in the daemon's memory.
	Held(ctx context.Context) ([]cxtp.Held, error)

	// Claims reads what the contexts would make this gateway responsible for.
	// It is a pure function of the blocks.
	Claims(blocks []cxtp.CDB) (cxtp.Claims, error)
}

// Optional is a feature whose contexts may be missing at the target without
// harm, as multicast groups may (RFC 4067 appendix B): a move goes on without
// them, with a status for each.
type Optional interface{ Optional() bool }

// Copyable is a feature whose contexts two routers may hold at once without harm. They
// may go to and come from routers that have no control block.
type Copyable interface{ Copyable() bool }

// Verifier is a feature that can say beforehand whether Activate would refuse
// dynamic state. It changes nothing. A feature that starts after another one needs
// it: when it is asked to start, the other has.
type Verifier interface {
	Verify(ctx context.Context, ref Ref, dynamic []cxtp.CDB) error
}

// Reassigner is a feature that can give SAs other SPIs than they had at the
// source. Everything that the source says of such an SA goes on naming it by its
// old SPI.
type Reassigner interface {
	// Reassigned lists the SPIs that the Stage of this Ref has changed.
	Reassigned(ref Ref) []cxtp.SPIChange
}

// Error is a refusal with a status code that the other gateway and its
// operator can act on.
type Error struct {
	FPT    cxtp.FPT
	Status cxtp.Status
	Err    error
}

// Refuse is an [Error] with a reason that is formatted as by [fmt.Errorf].
func Refuse(fpt cxtp.FPT, status cxtp.Status, format string, args ...any) error {
	return &Error{FPT: fpt, Status: status, Err: fmt.Errorf(format, args...)}
}

func (e *Error) Error() string {
	return fmt.Sprintf("context type %#04x: %s: %v", uint16(e.FPT), e.Status, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Partial says that an operation succeeded, except for contexts that may be
// missing.
type Partial struct {
	Statuses []cxtp.ContextStatus
	Err      error // why, for the operator
}

func (p *Partial) Error() string { return fmt.Sprintf("some contexts are left behind: %v", p.Err) }

func (p *Partial) Unwrap() error { return p.Err }

// Refusal is the status that a machine gives for this error.
func (e *Error) Refusal() cxtp.Status { return e.Status }
