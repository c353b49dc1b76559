package uapi

import "net/netip"

// Group is a multicast group of the XFRM netlink interface.
type Group uint32

const (
	GroupAcquire  Group = 1
	GroupExpire   Group = 2
	GroupStates   Group = 3
	GroupPolicies Group = 4
	GroupAEvents  Group = 5
	GroupReport   Group = 6
	GroupMigrate  Group = 7
	GroupMapping  Group = 8
)

// Event is something that the kernel told of by itself: one of the types below
// that say so, as a pointer.
type Event interface{ isEvent() }

// StateChanged tells that an SA was added, updated or deleted (Op is
// OpAddState, OpUpdateState or OpDeleteState). The State is complete, keys
// included, and of a deleted one it is the last.
type StateChanged struct {
	Op    Op
	State *State
}

// StateExpired tells that an SA met a limit. At the hard one it is gone
// already. The State has neither keys nor sequence numbers, only what the
// kernel's header has.
type StateExpired struct {
	State *State
	Hard  bool
}

// StatesFlushed tells that all SAs of a protocol were deleted; 0 or 255 = of
// every protocol.
type StatesFlushed struct{ Proto Proto }

// Acquire asks for an SA: a packet met a policy whose template no SA fulfils.
type Acquire struct {
	Src, Dst                      netip.Addr // outer
	Proto                         Proto
	SPI                           uint32
	Selector                      Selector // of the packet
	Policy                        *Policy
	AuthAlgs, CryptAlgs, CompAlgs uint32
	Seq                           uint32
	Mark                          Mark
	IfID                          uint32
	Unknown                       []Attr
}

// PolicyChanged tells that a policy was added, updated or deleted (Op is
// OpAddPolicy, OpUpdatePolicy or OpDeletePolicy).
type PolicyChanged struct {
	Op     Op
	Policy *Policy
}

// PolicyExpired tells that a policy met a limit. At the hard one it is gone
// already.
type PolicyExpired struct {
	Policy *Policy
	Hard   bool
}

// PoliciesFlushed tells that all policies of a type were deleted.
type PoliciesFlushed struct{ Type PolicyType }

// ReplayChanged tells the sequence state of an SA, as its thresholds ask.
type ReplayChanged struct{ AEvent *AEvent }

// MappingChanged tells that packets of an SA in UDP come from another address or
// port than before: a NAT on the way changed its mapping.
type MappingChanged struct {
	ID       StateID
	ReqID    uint32
	Old, New netip.AddrPort
}

// EventsLost tells that events were lost because they were not read in time:
// what is known by events is to be read anew.
type EventsLost struct{}

// OtherEvent is a message that has no type here.
type OtherEvent struct {
	Type    uint16
	Payload []byte
}

func (*StateChanged) isEvent()    {}
func (*StateExpired) isEvent()    {}
func (*StatesFlushed) isEvent()   {}
func (*Acquire) isEvent()         {}
func (*PolicyChanged) isEvent()   {}
func (*PolicyExpired) isEvent()   {}
func (*PoliciesFlushed) isEvent() {}
func (*ReplayChanged) isEvent()   {}
func (*MappingChanged) isEvent()  {}
func (*EventsLost) isEvent()      {}
func (*OtherEvent) isEvent()      {}
