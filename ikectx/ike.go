package ikectx

import (
	"net/netip"
	"time"

	"github.com/cxtp/cxtp/cxtp/secret"
	"github.com/cxtp/cxtp/features/profile"
	"github.com/cxtp/cxtp/ipsecctx"
)

// Session is the static IKE state of one node. Local is the gateway's side and
// remote the node's.
type Session struct {
	LocalID     profile.Identity // the gateway's
	RemoteID    profile.Identity // the node's
	EAPIdentity []byte           // the one that EAP authenticated; empty = none

	Local, Remote netip.AddrPort // the outer addresses and ports of IKE messages
	// Before is the gateway's side as the node knows it, where a target has put its
	// own address into Local; zero = the node knows Local. It does not travel.
	Before     netip.AddrPort
	NAT        NAT
	Extensions Extensions
	// OriginalInitiator says that the gateway initiated the first IKE SA of the
	// lineage: with MOBIKE it decides about addresses then (RFC 4555 section 3.5).
	OriginalInitiator bool
	Hashes            []uint16     // IANA hash algorithms that the node verifies, RFC 7427 section 4
	Additional        []netip.Addr // the node's other addresses, RFC 4555 section 3.4

	LocalVirtual, RemoteVirtual []netip.Prefix // inner addresses that IKE assigned to either side

	LocalAuth      Auth          // how the gateway authenticated
	RemoteAuth     []Auth        // how the node did, in every round (RFC 4739)
	Age            time.Duration // since the node authenticated
	Reauthenticate time.Duration // the age at which it has to again; 0 = never

	Connection     string // name of the configuration, the same on all gateways
	Implementation string // whose State it is, "strongswan" for example
	State          []byte // what only that implementation knows

	SAs      []SA // by Generation; the highest is the one in use
	Children []Child
}

// Auth is one authentication: an IANA "IKEv2 Authentication Method", and with EAP
// the EAP type in front of it. The zero value is not known.
type Auth struct {
	Method uint8
	EAP    uint8 // 0 = none
}

// Cipher is an encryption transform without key material.
type Cipher struct {
	ID   uint16 // IANA "Transform Type 1"
	Bits uint16 // the Key Length attribute; 0 where the transform has none
}

// Exchange is what two ends agreed keys with: the derivation inputs of one
// IKE_SA_INIT or CREATE_CHILD_SA.
type Exchange struct {
	Method     uint16       // IANA "Transform Type 4"; 0 = no key exchange
	Additional []Additional // RFC 9370, in the order of their types
	Ni, Nr     []byte       // nonces
	Secrets    []secret.Key // one for Method, then one for each of Additional
}

// Additional is an additional key exchange: a transform type, 6 to 12, and the
// method negotiated for it.
type Additional struct {
	Type   uint8
	Method uint16
}

// SA is one generation of the IKE SA. Its key material is in Exchange (with the
// SK_d that it was made from), or in Keys, or in both.
type SA struct {
	Generation uint32 // from 1, in the order of making
	Replaces   uint32 // the one whose rekey made it; 0 = IKE_SA_INIT made it

	InitiatorSPI, ResponderSPI uint64
	Initiator                  bool  // the gateway is this SA's initiator
	Version                    uint8 // as in the IKE header: 0x20

	Encryption Cipher
	Integrity  uint16 // IANA "Transform Type 3"; 0 with an AEAD cipher
	PRF        uint16 // IANA "Transform Type 2"
	IV         ipsecctx.IVMode
	Exchange   Exchange
	OldD       secret.Key // SK_d of the SA that it replaces
	OldPRF     uint16     // that SA's PRF
	PPKID      []byte     // PPK_ID payload's data, RFC 8784 section 5.1; empty = no PPK
	PPK        secret.Key
	Keys       Keys

	LocalWindow, RemoteWindow uint32        // requests that each side takes at once, RFC 7296 section 2.3
	Age                       time.Duration // since it was made
	Rekey                     time.Duration // the age at which it is rekeyed; 0 = never
}

// Keys are the keys of RFC 7296 section 2.14. Those for an AEAD cipher have the
// salt at their end (RFC 5282 section 7.1).
type Keys struct{ D, Ai, Ar, Ei, Er, Pi, Pr secret.Key }

// Child is a CHILD SA as IKE knows it. Its keys are in the IPsec context.
type Child struct {
	Generation uint32 // of the IKE SA whose SK_d made its keys
	Protocol   ipsecctx.Protocol
	Inbound    uint32 // SPI of the SA from the node
	Outbound   uint32 // SPI of the SA to the node
	Replaces   uint32 // inbound SPI of the CHILD SA that it replaces; 0 = none
	Mode       ipsecctx.Mode
	Initiator  bool // the gateway initiated the exchange that made it

	ESN       bool
	NoTFC     bool // the node takes no TFC padding, RFC 7296 section 1.3.1
	Fragments bool // non-first fragments may be sent over it, RFC 7296 section 1.3.1
	IPComp    IPComp

	Encryption Cipher
	Integrity  uint16
	// Exchange is that of CREATE_CHILD_SA. Without nonces the CHILD SA was made in
	// IKE_AUTH, from those of the IKE SA.
	Exchange Exchange

	Local, Remote []TrafficSelector // as negotiated
	Name          string            // of the configuration, the same on all gateways

	Age   time.Duration // since it was made
	Rekey time.Duration // the age at which it is rekeyed; 0 = never
}

// IPComp is a pair of IPComp associations, RFC 7296 section 2.22. The zero value
// means none.
type IPComp struct {
	Transform         uint8 // IANA "IPCOMP Transform IDs"
	Inbound, Outbound uint16
}

// TrafficSelector is one of RFC 7296 section 3.13.1. Of ICMP and Mobility Header
// the ports are types and codes, as there.
type TrafficSelector struct {
	Protocol uint8 // 0 = any
	Ports    ipsecctx.Ports
	Range    ipsecctx.Range
}

// Dynamic is the part that every IKE message changes.
type Dynamic struct {
	Generation uint32 // of the IKE SA in use
	// Unsettled says that the SAs are no longer those that were staged, or that
	// an exchange which changes them has begun: no target can go on from here.
	Unsettled bool

	NextRequest  uint32    // message ID of the next request that the gateway sends
	NextExpected uint32    // message ID of the next request that the node sends
	Requests     []Message // sent and not answered, oldest first
	Responses    []Message // the last ones, which the node may ask for again, oldest first

	IV   uint64        // of the next message, in mode [ipsecctx.IVCounter]
	Idle time.Duration // since the last message from the node
}

// Message is an IKE message that may have to be sent again, octet for octet.
type Message struct {
	ID       uint32
	Exchange uint8         // IANA "IKEv2 Exchange Types"; 0 = not known
	Age      time.Duration // since it was sent first
	// Datagrams are the message, or its fragments (RFC 7383), without the
	// non-ESP marker. None = it is too large to travel, or not known.
	Datagrams [][]byte
}

// Current is the generation in use, nil of a session without any.
func (s *Session) Current() *SA {
	var current *SA
	for i := range s.SAs {
		if current == nil || s.SAs[i].Generation > current.Generation {
			current = &s.SAs[i]
		}
	}
	return current
}
