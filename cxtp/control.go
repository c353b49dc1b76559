package cxtp

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"time"
)

// Phase is what a CTD with a control block is for.
type Phase uint8

const (
	PhaseStage    Phase = 1 // static contexts and ceilings: hold them ready
	PhaseFinal    Phase = 2 // exact dynamic state: activate
	PhaseClosed   Phase = 3 // the source can no longer thaw; last windows
	PhaseWithdraw Phase = 4 // the source gave this epoch up before granting it
	PhaseRenew    Phase = 5 // a later dynamic state and ceilings for what is staged: a standby's
)

var phaseNames = [...]string{"none", "stage", "final", "closed", "withdraw", "renew"}

func (p Phase) String() string {
	if int(p) < len(phaseNames) {
		return phaseNames[p]
	}
	return fmt.Sprintf("phase %d", uint8(p))
}

func (p Phase) check() error {
	if p == 0 || int(p) >= len(phaseNames) {
		return fmt.Errorf("%d, phases are 1 to %d", uint8(p), len(phaseNames)-1)
	}
	return nil
}

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

var modeNames = [...]string{"none", "lossless", "strict"}

func (m MoveMode) String() string {
	if int(m) < len(modeNames) {
		return modeNames[m]
	}
	return fmt.Sprintf("mode %d", uint8(m))
}

func (m MoveMode) check() error {
	if m == 0 || int(m) >= len(modeNames) {
		return fmt.Errorf("%d, modes are 1 and 2", uint8(m))
	}
	return nil
}

// Digest is SHA-256 over the staged context data blocks, encoded, in order,
// without the control block. A final names the base that it applies to by it.
type Digest [sha256.Size]byte

// zeros are a block's padding.
var zeros [7]byte

// DigestOf is the digest of these blocks, of which those of type [FPTControl]
// do not count. It fails when a block is too large to be encoded.
func DigestOf(blocks []CDB) (Digest, error) {
	h := sha256.New()
	var head []byte
	for _, b := range blocks {
		if b.FPT == FPTControl {
			continue
		}
		var err error
		if head, err = b.appendHead(head[:0]); err != nil {
			return Digest{}, err
		}
		h.Write(head)
		h.Write(b.Data)
		h.Write(zeros[:b.padding()])
	}
	var d Digest
	h.Sum(d[:0])
	return d, nil
}

// ManifestEntry names one SA of the session, and for an outbound one the
// ceiling: the sequence number that nobody passes before "closed".
type ManifestEntry struct {
	FPT       FPT    `json:"fpt"`
	Direction uint8  `json:"direction"` // 1 = inbound, 2 = outbound, seen from the gateway
	Protocol  uint8  `json:"protocol"`  // 50 = ESP, 51 = AH
	SPI       uint32 `json:"spi"`
	Ceiling   uint64 `json:"ceiling"`
}

// Control is the control block: what a CTD is about, beyond the node's address.
// FPTControl, no presence vector, always the first block of its message:
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+---------------+---------------+-+-------------+---------------+
//	|   Format = 1  |     Phase     |T|S| Reserved  |     Mode      |
//	+---------------+---------------+-+-------------+---------------+
//	~                    Session id (16 octets)                     ~
//	+---------------------------------------------------------------+
//	~                       Epoch (8 octets)                        ~
//	+---------------------------------------------------------------+
//	~       Incarnation of the target's journal (8 octets)          ~
//	+---------------------------------------------------------------+
//	~             Digest of the staged contexts (32 octets)         ~
//	+---------------------------------------------------------------+
//	|                            Serial                             |
//	+---------------------------------------------------------------+
//	|                     Lease, in milliseconds                    |
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
	Standby     bool // the S flag: the copy is kept fresh, and may take over
	Mode        MoveMode
	Session     SessionID
	Epoch       Epoch
	Incarnation Incarnation // 0 in a stage; then as the target's "staged" said
	Digest      Digest
	Serial      uint32        // of a renewal; in a final with T, of the token key; else 0
	Lease       time.Duration // the source sends for so long after a renewal; whole milliseconds, 0 = for ever
	Target      RouterID      // at most 255 octets
	Manifest    []ManifestEntry
}

const (
	controlFormat     = 1
	controlFixedSize  = 80 // from Format to the target's name
	manifestEntrySize = 16
)

// Block encodes the control block. It fails when the phase, the mode or the
// target's name cannot be expressed, and when the whole does not fit into one
// block: that holds at most 122 manifest entries, and fewer beside a long name.
func (c Control) Block() (CDB, error) {
	fail := func(err error) (CDB, error) { return CDB{}, fmt.Errorf("failed to encode control block: %w", err) }
	if err := c.Phase.check(); err != nil {
		return fail(fmt.Errorf("phase %w", err))
	}
	if err := c.Mode.check(); err != nil {
		return fail(fmt.Errorf("mode %w", err))
	}
	if ms := c.Lease.Milliseconds(); ms < 0 || ms > math.MaxUint32 {
		return fail(fmt.Errorf("lease of %s: at most 32 bits of milliseconds fit", c.Lease))
	}
	if len(c.Target) > 255 {
		return fail(fmt.Errorf("target's name has %d octets: at most 255 fit", len(c.Target)))
	}
	b := CDB{FPT: FPTControl, Data: c.appendData(make([]byte, 0, 96+len(c.Target)+16*len(c.Manifest)))}
	if b.Size() > MaxBlock {
		return fail(fmt.Errorf("%d manifest entries and a name of %d octets make a block of %d: at most %d fit",
			len(c.Manifest), len(c.Target), b.Size(), MaxBlock))
	}
	return b, nil
}

func (c Control) appendData(d []byte) []byte {
	var flags byte
	if c.TokenProved {
		flags |= flagFirst
	}
	if c.Standby {
		flags |= flagSecond
	}
	d = append(d, controlFormat, byte(c.Phase), flags, byte(c.Mode))
	d = append(d, c.Session[:]...)
	d = binary.BigEndian.AppendUint64(d, uint64(c.Epoch))
	d = binary.BigEndian.AppendUint64(d, uint64(c.Incarnation))
	d = append(d, c.Digest[:]...)
	d = binary.BigEndian.AppendUint32(d, c.Serial)
	d = binary.BigEndian.AppendUint32(d, uint32(c.Lease.Milliseconds()))
	d = append(d, byte(len(c.Target)), 0)
	d = binary.BigEndian.AppendUint16(d, uint16(len(c.Manifest)))
	d = append(d, c.Target...)
	d = append(d, make([]byte, padTo4(len(c.Target)))...)
	for _, e := range c.Manifest {
		d = binary.BigEndian.AppendUint16(d, uint16(e.FPT))
		d = append(d, e.Direction, e.Protocol)
		d = binary.BigEndian.AppendUint32(d, e.SPI)
		d = binary.BigEndian.AppendUint64(d, e.Ceiling)
	}
	return d
}

// ParseControl reads a control block. Any error is a [*ParseError], whose
// offset counts from the start of the block, its header included.
func ParseControl(b CDB) (Control, error) {
	var r wireReader
	var c Control
	c.read(&r, b)
	if err := r.result(); err != nil {
		return Control{}, err
	}
	return c, nil
}

var controlProfile = blockProfile{"control block", "control profile section 2", FPTControl, false}

func (c *Control) read(r *wireReader, b CDB) {
	r.enter(controlProfile, b)
	if format := r.u8("Format"); format != controlFormat {
		r.fail("Format", r.at-1, nil, "%d, this is format %d", format, controlFormat)
	}
	c.Phase = named(r, Phase(r.u8("Phase")))
	if err := c.Phase.check(); err != nil {
		r.fail("Phase", r.at-1, nil, "%v", err)
	}
	flags := r.octet("T")
	c.TokenProved = r.bits("T", flags, flagFirst) == 1
	c.Standby = r.bits("S", flags, flagSecond) == 1
	r.bits("Reserved", flags, 0x3f)
	c.Mode = named(r, MoveMode(r.u8("Mode")))
	if err := c.Mode.check(); err != nil {
		r.fail("Mode", r.at-1, nil, "%v", err)
	}
	copy(c.Session[:], r.octets("Session id", len(c.Session)))
	c.Epoch = Epoch(r.u64("Epoch"))
	c.Incarnation = inHex(r, Incarnation(r.u64("Incarnation")))
	copy(c.Digest[:], r.octets("Digest", len(c.Digest)))
	c.Serial = r.u32("Serial")
	c.Lease = time.Duration(r.u32("Lease")) * time.Millisecond
	name := int(r.u8("Target length"))
	r.u8("Reserved")
	entries := int(r.u16("Manifest entries"))
	c.Target = RouterID(r.text("Target", name))
	r.octets("Target padding", padTo4(name))
	c.readManifest(r, entries)
	r.padding()
}

func (c *Control) readManifest(r *wireReader, entries int) {
	if need, left := entries*manifestEntrySize, len(r.in)-r.at; need > left {
		r.fail("Manifest entries", controlFixedSize-2, nil, "%d entries have %d octets, %d are left", entries, need, left)
	}
	if r.err == nil {
		c.Manifest = slices.Grow(c.Manifest, entries)
	}
	for r.nextOf("SA", entries) {
		c.Manifest = append(c.Manifest, ManifestEntry{
			FPT:       named(r, FPT(r.u16("FPT"))),
			Direction: r.u8("Direction"),
			Protocol:  r.u8("Protocol"),
			SPI:       inHex(r, r.u32("SPI")),
			Ceiling:   r.u64("Ceiling"),
		})
	}
}
