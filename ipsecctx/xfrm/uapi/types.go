package uapi

import (
	"fmt"
	"net/netip"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// Proto is an IP protocol number that can name an SA.
type Proto uint8

const (
	ESP    Proto = 50
	AH     Proto = 51
	IPComp Proto = 108
)

// String names the protocol.
func (p Proto) String() string {
	switch p {
	case ESP:
		return "ESP"
	case AH:
		return "AH"
	case IPComp:
		return "IPComp"
	}
	return fmt.Sprintf("protocol %d", uint8(p))
}

// Mode is what an SA does to a packet.
type Mode uint8

const (
	Transport Mode = 0
	Tunnel    Mode = 1
	BEET      Mode = 4
)

// Dir is the direction of a policy. An SA has a direction only on kernels that
// know XFRMA_SA_DIR; see [StateDir].
type Dir uint8

const (
	DirIn  Dir = 0
	DirOut Dir = 1
	DirFwd Dir = 2
)

// String names the direction.
func (d Dir) String() string {
	switch d {
	case DirIn:
		return "in"
	case DirOut:
		return "out"
	case DirFwd:
		return "fwd"
	}
	return fmt.Sprintf("direction %d", uint8(d))
}

// StateDir is XFRMA_SA_DIR, an SA's direction. Its numbers are not those of
// [Dir].
type StateDir uint8

const (
	StateDirNone StateDir = 0 // not said
	StateDirIn   StateDir = 1
	StateDirOut  StateDir = 2
)

// StateFlags are the flags of an SA.
type StateFlags uint8

const (
	FlagNoECN      StateFlags = 1
	FlagDecapDSCP  StateFlags = 2
	FlagNoPMTUDisc StateFlags = 4
	FlagWildRecv   StateFlags = 8
	FlagICMP       StateFlags = 16
	FlagAFUnspec   StateFlags = 32 // the selector's family 0 is meant: inner and outer families may differ
	FlagAlign4     StateFlags = 64
	FlagESN        StateFlags = 128
)

// StateExtraFlags is XFRMA_SA_EXTRA_FLAGS.
type StateExtraFlags uint32

const (
	ExtraDontEncapDSCP StateExtraFlags = 1
	ExtraOSeqMayWrap   StateExtraFlags = 2
)

// Mark selects packets, or is put on them: (packet mark & Mask) == Value.
type Mark struct{ Value, Mask uint32 }

// Selector says which packets. Of family 0 the prefixes are the zero value, or,
// as in a reservation, IPv6 prefixes that mean nothing.
type Selector struct {
	Family           Family
	Src, Dst         netip.Prefix // host bits are kept; the zero Prefix stands for the family's 0/0
	SrcPort, DstPort uint16
	SrcMask, DstMask uint16 // 0xffff = that port, 0 = any
	Proto            uint8  // upper-layer protocol; 0 = any
	IfIndex          int32
	User             uint32
}

// Family is an address family with the kernel's numbers.
type Family uint16

const (
	FamilyAny Family = 0
	IPv4      Family = 2
	IPv6      Family = 10
)

// Unlimited is the value of a [Limits] field that does not limit octets or
// packets. Of times, 0 does not limit.
const Unlimited = ^uint64(0)

// Limits are the lifetimes configured for an SA or a policy. At a soft limit the
// kernel tells the groups that watch expiry; at a hard one it deletes the SA.
type Limits struct {
	SoftBytes, HardBytes     uint64
	SoftPackets, HardPackets uint64
	SoftAdd, HardAdd         uint64 // seconds since it was added
	SoftUse, HardUse         uint64 // seconds since it was first used
}

// NoLimits is what an SA without lifetimes has. The zero Limits is not that:
// its octets and packets end at none.
func NoLimits() Limits {
	return Limits{SoftBytes: Unlimited, HardBytes: Unlimited, SoftPackets: Unlimited, HardPackets: Unlimited}
}

// Usage is how much of the lifetimes is used.
type Usage struct {
	Bytes, Packets uint64
	// AddTime and UseTime are seconds since 1970 on the clock of the kernel that
	// said them; UseTime 0 = not used yet. Between machines they are to be
	// corrected by whoever carries them.
	AddTime, UseTime uint64
}

// Stats count what an inbound SA refused.
type Stats struct {
	ReplayWindow    uint32 // packets too old for the window
	Replay          uint32 // packets seen before
	IntegrityFailed uint32
}

// AEAD is a combined-mode cipher. Key holds the cipher's key followed by the
// implicit part of the nonce.
type AEAD struct {
	Name    string // the kernel crypto API's, "rfc4106(gcm(aes))"
	Key     secret.Key
	ICVBits uint32
}

// Cipher is an encryption algorithm that needs an [Auth] beside it.
type Cipher struct {
	Name string
	Key  secret.Key
}

// Auth is an integrity algorithm.
type Auth struct {
	Name      string
	Key       secret.Key
	TruncBits uint32 // ICV length in bits; 0 = the kernel's default for the name
}

// Encap is UDP or TCP encapsulation.
type Encap struct {
	Type             EncapType
	SrcPort, DstPort uint16
	Original         netip.Addr // the peer's address before NAT; the zero Addr = none
}

// EncapType is how ESP is encapsulated.
type EncapType uint16

const (
	ESPInUDPNonIKE EncapType = 1
	ESPInUDP       EncapType = 2 // RFC 3948
	ESPInTCP       EncapType = 7 // RFC 8229
)

// Replay is the sequence state of an SA: the last number sent, the last
// received, and the anti-replay window. See quirks.go for what the kernel
// demands of it.
type Replay struct {
	// Extended says that the state travels as XFRMA_REPLAY_ESN_VAL. An SA with
	// FlagESN must, one without may. The other form has no number above 2^32-1
	// and a window of at most 32.
	Extended bool
	OSeq     uint64   // the last sequence number sent; the next is one more
	Seq      uint64   // the highest received
	Window   uint32   // packets; 0 = no anti-replay
	Bitmap   []uint32 // see Seen; at most one word unless Extended
}

// Thresholds say when the kernel reports a change of the sequence state to
// [GroupAEvents]. nil = the kernel's default.
type Thresholds struct {
	Replay *uint32 // packets
	// ETimer is read in units of 100 ms and written in jiffies; a value that was
	// read must therefore not be written back as it is.
	ETimer *uint32
	MTimer uint32 // seconds between reports of a changed NAT mapping; 0 = none
}

// Offload says that a device does some of an SA's work.
type Offload struct {
	IfIndex int32
	Flags   uint8
}

// SecCtx is the label of a Linux security module.
type SecCtx struct {
	DOI, Alg uint8
	Label    []byte
}

// Attr is a netlink attribute as it is on the wire, for what this package has
// no field for.
type Attr struct {
	Type uint16
	Data []byte
}

// StateID names an SA. The mark is part of it: a lookup finds the SA whose mark
// matches.
type StateID struct {
	Dst   netip.Addr
	SPI   uint32
	Proto Proto
	Mark  Mark
}

// String gives the SPI in hexadecimal and the destination.
func (id StateID) String() string {
	return fmt.Sprintf("%v SA 0x%08x to %v", id.Proto, id.SPI, id.Dst)
}

// State is one SA of the kernel.
type State struct {
	Src, Dst netip.Addr // outer addresses, of one family
	Proto    Proto
	SPI      uint32
	Mode     Mode
	Selector Selector

	ReqID      uint32
	Flags      StateFlags
	ExtraFlags StateExtraFlags
	Dir        StateDir
	Mark       Mark // what a packet must carry to find this SA
	OutputMark Mark // what packets get; a Mask of 0 with a Value means all bits
	IfID       uint32

	AEAD  *AEAD
	Crypt *Cipher
	Auth  *Auth
	Comp  string // compression algorithm of IPComp; "" = none
	Encap *Encap

	Replay     Replay
	Limits     Limits
	Used       Usage // the zero Usage of a state to be added: it begins now
	Thresholds Thresholds

	TFCPad       uint32 // octets
	CoAddr       netip.Addr
	PCPU         *uint32
	NATKeepalive uint32 // seconds; 0 = none
	SecCtx       *SecCtx
	Offload      *Offload

	Seq      uint32 // of the ACQUIRE that this SA answers
	Stats    Stats  // read only
	LastUsed uint64 // seconds since 1970; read only

	Unknown []Attr
}

// ID names the state.
func (s *State) ID() StateID {
	return StateID{Dst: s.Dst, SPI: s.SPI, Proto: s.Proto, Mark: s.Mark}
}

// Wipe overwrites the keys.
func (s *State) Wipe() {
	if s.AEAD != nil {
		s.AEAD.Key.Wipe()
	}
	if s.Crypt != nil {
		s.Crypt.Key.Wipe()
	}
	if s.Auth != nil {
		s.Auth.Key.Wipe()
	}
}

// Action is what a policy does with a packet.
type Action uint8

const (
	Allow Action = 0 // through the templates; with none, as it is
	Block Action = 1
)

// PolicyType tells the two policy databases apart.
type PolicyType uint8

const (
	PolicyMain PolicyType = 0
	PolicySub  PolicyType = 1
)

// AllAlgorithms is the mask of a template that restricts no algorithm.
const AllAlgorithms = ^uint32(0)

// Template is one SA that a policy wants applied.
type Template struct {
	Family   Family
	Src, Dst netip.Addr // the zero Addr = unspecified, of Family
	SPI      uint32     // 0 = any
	Proto    Proto
	Mode     Mode
	ReqID    uint32
	Share    uint8
	Optional uint8
	// Masks of the algorithms allowed: integrity, encryption, compression.
	AuthAlgs, CryptAlgs, CompAlgs uint32
}

// PolicyID names a policy: by Index where it is not 0, else by the rest.
type PolicyID struct {
	Selector Selector
	Dir      Dir
	Index    uint32
	Type     PolicyType
	Mark     Mark
	IfID     uint32
	SecCtx   *SecCtx
}

// String gives direction and selector.
func (id PolicyID) String() string {
	if id.Index != 0 {
		return fmt.Sprintf("%v policy number %d", id.Dir, id.Index)
	}
	return fmt.Sprintf("%v policy %v to %v", id.Dir, id.Selector.Src, id.Selector.Dst)
}

// Policy is one entry of the kernel's SPD.
type Policy struct {
	Selector  Selector
	Dir       Dir
	Index     uint32 // the kernel's number; 0 = let it choose
	Priority  uint32 // lower is looked at first
	Action    Action
	Flags     uint8
	Share     uint8
	Type      PolicyType
	Templates []Template
	Mark      Mark
	IfID      uint32
	Limits    Limits
	Used      Usage // read only
	SecCtx    *SecCtx
	Offload   *Offload
	Unknown   []Attr
}

// ID names the policy by what it selects, not by its index, which is another on
// every kernel.
func (p *Policy) ID() PolicyID {
	return PolicyID{Selector: p.Selector, Dir: p.Dir, Type: p.Type, Mark: p.Mark, IfID: p.IfID, SecCtx: p.SecCtx}
}

// SPIRequest asks the kernel to reserve an SPI between Min and Max. Equal, they
// ask for that one.
//
// What is reserved is an SA without keys that drops what comes for it and lives
// for net.core.xfrm_acq_expires seconds (30). It is filled with UpdateState;
// AddState finds it in the way ([ErrExists]).
type SPIRequest struct {
	Src, Dst netip.Addr
	Proto    Proto
	Mode     Mode
	ReqID    uint32
	Min, Max uint32
	Seq      uint32 // of the ACQUIRE that is answered; 0 = none
	Mark     Mark
	IfID     uint32
	Dir      StateDir
}

// AEvent is the part of an SA that changes with traffic, read or written alone.
type AEvent struct {
	ID    StateID
	Src   netip.Addr
	ReqID uint32
	Flags AEventFlags // of an event: its cause
	// Replay is nil in a request that leaves it as it is. Of the legacy form the
	// window is not told.
	Replay     *Replay
	Used       *Usage // to be written: nil = as it is
	Thresholds Thresholds
	IfID       uint32
	Dir        StateDir // read only
	Unknown    []Attr
}

// AEventFlags are what is asked for, and the cause of an event.
type AEventFlags uint32

const (
	AEReplayThreshold AEventFlags = 1
	AEReplay          AEventFlags = 2
	AELifetime        AEventFlags = 4
	AETimerThreshold  AEventFlags = 8
	AECauseReplay     AEventFlags = 16
	AECauseTimer      AEventFlags = 32
	AECauseUpdate     AEventFlags = 64
)

// PolicyHash is the least length of prefixes, in bits, with which policies of an
// address family are hashed. Local is the source of an outbound policy.
type PolicyHash struct{ Local, Remote uint8 }

// SADInfo is the size of the kernel's SAD.
type SADInfo struct {
	States     uint32
	Buckets    uint32 // of the hash table
	MaxBuckets uint32
}

// Filter restricts a dump of states; the zero value restricts nothing.
type Filter struct {
	Proto    Proto        // 0 = any
	Src, Dst netip.Prefix // outer addresses; both of one family, the zero Prefix = any
}

// Op is a kind of request, and of change that an event tells of.
type Op uint16

const (
	OpAddState     Op = 0x10 // XFRM_MSG_NEWSA
	OpDeleteState  Op = 0x11 // XFRM_MSG_DELSA
	OpGetState     Op = 0x12 // XFRM_MSG_GETSA
	OpAddPolicy    Op = 0x13 // XFRM_MSG_NEWPOLICY
	OpDeletePolicy Op = 0x14 // XFRM_MSG_DELPOLICY
	OpGetPolicy    Op = 0x15 // XFRM_MSG_GETPOLICY
	OpAllocSPI     Op = 0x16 // XFRM_MSG_ALLOCSPI
	OpUpdatePolicy Op = 0x19 // XFRM_MSG_UPDPOLICY
	OpUpdateState  Op = 0x1a // XFRM_MSG_UPDSA
	OpSetReplay    Op = 0x1e // XFRM_MSG_NEWAE
	OpGetReplay    Op = 0x1f // XFRM_MSG_GETAE
)

const (
	opDial    Op = 0
	opSADInfo Op = 0x23 // XFRM_MSG_GETSADINFO

	opHashPolicies Op = 0x24 // XFRM_MSG_NEWSPDINFO
)

// Request is one request of a batch. Which field counts depends on Op.
type Request struct {
	Op       Op
	State    *State      // OpAddState, OpUpdateState
	ID       StateID     // OpDeleteState, OpGetState, OpGetReplay
	SPI      *SPIRequest // OpAllocSPI
	Replay   *AEvent     // OpSetReplay
	Policy   *Policy     // OpAddPolicy, OpUpdatePolicy
	PolicyID PolicyID    // OpDeletePolicy, OpGetPolicy
	dir      StateDir    // OpGetState, to see what the kernel thinks of it

	hashes [2]PolicyHash // opHashPolicies: of IPv4 and IPv6
}

// Result is what became of one request of a batch.
type Result struct {
	Err    error
	State  *State   // OpDeleteState (the final one), OpGetState, OpAllocSPI (the reservation)
	Replay *AEvent  // OpGetReplay
	Policy *Policy  // OpGetPolicy
	info   *SADInfo // opSADInfo
}
