package ha

import "fmt"

// Version is that of the protocol. A gateway drops messages of any but its own.
type Version uint8

// The versions that this package reads and writes; the package comment says
// which releases speak them.
const (
	Version3 Version = 3
	Version4 Version = 4
	Version5 Version = 5
)

// Known reports whether this package can read and write the version.
func (v Version) Known() bool { return Version3 <= v && v <= Version5 }

func (v Version) String() string { return fmt.Sprintf("ha version %d", uint8(v)) }

const (
	// Port is the UDP port of both ends.
	Port = 4510
	// DefaultBuffer is how many octets a gateway receives in one message, unless
	// charon.plugins.ha.buflen says otherwise. It drops longer ones.
	DefaultBuffer = 2048
)

// Type is what a message is for.
type Type uint8

// All types of message. The comment says which [Body] it is read into.
const (
	TypeIKEAdd       Type = 1  // [IKEAdd]
	TypeIKEUpdate    Type = 2  // [IKEUpdate]
	TypeMIDInitiator Type = 3  // [MessageID]
	TypeMIDResponder Type = 4  // [MessageID]
	TypeIKEDelete    Type = 5  // [IKEDelete]
	TypeChildAdd     Type = 6  // [ChildAdd]
	TypeChildDelete  Type = 7  // [ChildDelete]
	TypeSegmentDrop  Type = 8  // [Segments]
	TypeSegmentTake  Type = 9  // [Segments]
	TypeStatus       Type = 10 // [Segments]
	TypeResync       Type = 11 // [Segments]
	TypeIKEIV        Type = 12 // [IKEIV]
)

var typeNames = [...]string{
	TypeIKEAdd:       "IKE_ADD",
	TypeIKEUpdate:    "IKE_UPDATE",
	TypeMIDInitiator: "IKE_MID_INITIATOR",
	TypeMIDResponder: "IKE_MID_RESPONDER",
	TypeIKEDelete:    "IKE_DELETE",
	TypeChildAdd:     "CHILD_ADD",
	TypeChildDelete:  "CHILD_DELETE",
	TypeSegmentDrop:  "SEGMENT_DROP",
	TypeSegmentTake:  "SEGMENT_TAKE",
	TypeStatus:       "STATUS",
	TypeResync:       "RESYNC",
	TypeIKEIV:        "IKE_IV",
}

// String is the type's name in charon's log.
func (t Type) String() string {
	if t > 0 && int(t) < len(typeNames) {
		return typeNames[t]
	}
	return fmt.Sprintf("message type %d", uint8(t))
}

// newBody gives an empty body for the type, nil for a type that is not known.
func (t Type) newBody() Body {
	switch t {
	case TypeIKEAdd:
		return &IKEAdd{}
	case TypeIKEUpdate:
		return &IKEUpdate{}
	case TypeMIDInitiator, TypeMIDResponder:
		return &MessageID{Initiator: t == TypeMIDInitiator}
	case TypeIKEDelete:
		return &IKEDelete{}
	case TypeChildAdd:
		return &ChildAdd{}
	case TypeChildDelete:
		return &ChildDelete{}
	case TypeSegmentDrop, TypeSegmentTake, TypeStatus, TypeResync:
		return &Segments{Action: t}
	case TypeIKEIV:
		return &IKEIV{}
	}
	return nil
}
