package ipsecctx

import (
	"net/netip"
	"time"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// Direction says which way an SA's traffic goes, always as the gateway sees
// it: an outbound SA protects what the gateway sends to the node.
type Direction uint8

const (
	Inbound  Direction = 1
	Outbound Direction = 2
)

// Protocol is an IP protocol number of a security protocol.
type Protocol uint8

const (
	ESP Protocol = 50 // RFC 4303
	AH  Protocol = 51 // RFC 4302
)

// Mode is the protocol mode of RFC 4301 section 3.2.
type Mode uint8

const (
	Tunnel    Mode = 1
	Transport Mode = 2
)

// SA is the static part of one security association: everything in RFC 4301
// section 4.4.2.1 that does not change with traffic. One SA is one direction;
// the two of a pair share Pair.
type SA struct {
	Direction Direction
	Protocol  Protocol
	SPI       uint32 // chosen by the receiver of the traffic
	Mode      Mode
	Pair      uint32 // number of the SA pair within the session, from 1
	Replaces  uint32 // pair that a rekey is replacing; 0 = none

	Local, Remote netip.Addr // outer addresses: gateway, node
	Encap         Encap      // UDP encapsulation, RFC 3948

	Encryption Cipher
	Integrity  Authenticator

	ESN      bool // 64-bit sequence numbers, RFC 4303 section 2.2.1
	Overflow bool // sequence counter overflow permitted (anti-replay off)
	// Window is the anti-replay window in packets; 0 = no anti-replay; at most
	// MaxWindow. Of an outbound SA it is what is known of the node's.
	Window uint32

	Soft, Hard Lifetime
	NoRekey    bool // at the soft limit nothing replaces the SA: it ends at the hard one

	PathMTU           uint16 // octets; 0 = unknown
	DF                DFBit
	DSCP              []byte        // DSCP values this SA carries; empty = any
	CopyDSCP          bool          // inner DSCP is copied to the outer header (tunnel mode)
	MapDSCP           []DSCPMapping // instead of CopyDSCP: inner to outer; what is not listed becomes 0
	StatefulFragments bool          // RFC 4301 section 7.3

	Selectors []Selector // what the SA may carry; several are alternatives
}

// MaxWindow is the largest anti-replay window that a context can carry, in
// packets.
const MaxWindow = 4096

// Encap is RFC 3948 UDP encapsulation. The zero value means none.
type Encap struct {
	LocalPort, RemotePort uint16
}

// Enabled reports whether the SA is encapsulated in UDP.
func (e Encap) Enabled() bool { return e.LocalPort != 0 || e.RemotePort != 0 }

// Cipher is an encryption transform: IANA "Transform Type 1" number, and its
// key material.
type Cipher struct {
	ID   uint16     // ENCR_*; 0 = none (AH)
	Bits uint16     // key length attribute in bits; 0 where the transform has one length only
	Key  secret.Key // without the salt
	Salt secret.Key // the implicit part of the nonce: 4 octets for GCM and ChaCha20-Poly1305, 3 for CCM
	IV   IVMode
	// ChainIV must be empty: the next IV of a cipher that chains them changes
	// with every packet, so it travels as Dynamic.ChainIV. A copy in the static
	// part would be stale, and sending with it would use an IV twice.
	ChainIV secret.Key
}

// Authenticator is an integrity transform: IANA "Transform Type 3" number and
// key. ID 0 means none, as with an AEAD cipher.
type Authenticator struct {
	ID  uint16 // AUTH_*
	Key secret.Key
	// Truncate is the ICV length in bits where it differs from the transform's
	// own; 0 = as the transform says.
	Truncate uint16
}

// IVMode says how an SA makes its IVs, which decides whether two gateways could
// ever repeat one.
type IVMode uint8

const (
	IVDefault  IVMode = 0 // as the transform's document says
	IVRandom   IVMode = 1 // unpredictable, RFC 3602
	IVCounter  IVMode = 2 // the 64-bit sequence number
	IVSalted   IVMode = 3 // sequence number XOR a salt of the instance (Linux)
	IVImplicit IVMode = 4 // not on the wire, RFC 8750
	IVChained  IVMode = 5 // last block of the packet before (old stacks)
)

// Lifetime is one limit set of RFC 4301 section 4.4.2.1; 0 in a field means no
// limit.
type Lifetime struct {
	Time    time.Duration // whole seconds on the wire
	Octets  uint64
	Packets uint64
}

// DFBit is the treatment of the DF bit in tunnel mode, RFC 4301 section 8.1.
type DFBit uint8

const (
	DFCopy  DFBit = 0
	DFSet   DFBit = 1
	DFClear DFBit = 2
)

// DSCPMapping gives packets with one inner DSCP value an outer one, RFC 4301
// section 4.4.2.1.
type DSCPMapping struct{ Inner, Outer uint8 }

// Dynamic is the part of an SA that changes with every packet. It is a context
// type of its own: the whole of it travels at the final, and again at the
// close. It names the SA that it belongs to.
type Dynamic struct {
	Direction Direction
	Protocol  Protocol
	SPI       uint32

	// Sequence is the last sequence number used: sent, for an outbound SA;
	// the right edge of the window, for an inbound one. 64 bits with ESN.
	Sequence uint64
	// Window is the anti-replay bitmap of an inbound SA: bit i (least
	// significant bit of Window[0] is bit 0) stands for Sequence-i, 1 = seen.
	// Its length in bits is SA.Window rounded up to a multiple of 64.
	Window []uint64

	Used Lifetime      // what of the lifetimes is used
	Idle time.Duration // since the last packet

	// ChainIV is the IV of the next packet of an outbound SA whose cipher chains
	// its IVs (IVChained), else empty.
	ChainIV secret.Key
}

// Range is an inclusive range of addresses of one family. The zero Range is ANY.
type Range struct{ From, To netip.Addr }

// Ports is an inclusive range of ports. {0, 65535} is ANY; {65535, 0} is
// OPAQUE (RFC 4301 section 4.4.1.2, and RFC 7296 section 3.13.1).
type Ports struct{ From, To uint16 }

var (
	AnyPort    = Ports{0, 65535}
	OpaquePort = Ports{65535, 0}
)

// Selector is one traffic selector of RFC 4301 section 4.4.1.1: local is the
// side behind the gateway, remote the node's inner side.
type Selector struct {
	Local, Remote         []Range // alternatives; empty = ANY
	Protocol              NextProtocol
	LocalPort, RemotePort Ports // for protocols with ports
	ICMP                  ICMPRange
	MobilityHeader        Ports // MH type range in From and To; used when Protocol is 135
	Name                  Name
	Sensitivity           []byte // opaque sensitivity label; empty = none
}

// NextProtocol is a next-layer protocol selector.
type NextProtocol struct {
	Match  Match
	Number uint8 // where Match is MatchValue
}

// Match tells ANY, OPAQUE and a value apart.
type Match uint8

const (
	MatchAny    Match = 0
	MatchValue  Match = 1
	MatchOpaque Match = 2
)

// ICMPRange is a range of ICMP types with a range of codes. Used when Protocol
// is 1 or 58.
type ICMPRange struct {
	Match            Match
	TypeFrom, TypeTo uint8
	CodeFrom, CodeTo uint8
}

// Session is what the SAs of one node share, and the SAs: the whole static
// IPsec state that moves together.
type Session struct {
	Inner       []netip.Prefix // virtual (inner) addresses of the node
	LocalID     Name           // the gateway's identity towards the node
	RemoteID    Name           // the node's identity
	EAPIdentity []byte
	Initiator   bool // the gateway initiated
	SAs         []SA
}
