package cxtp

import (
	"encoding/binary"
	"net/netip"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// Version is the protocol version of RFC 4067 section 2.2, in the three most
// significant bits of a message's first octet.
const Version = 1

// Type is a message type: the five bits beside the version.
type Type uint8

const (
	TypeCTAR  Type = 1
	TypeCTAA  Type = 2
	TypeCTD   Type = 3
	TypePCTD  Type = 4
	TypeCTDR  Type = 5
	TypeCTC   Type = 6
	TypeCTReq Type = 7

	// Private and experimental: they count down from the top of the five bits.
	TypeOutcome   Type = 31
	TypeUpdate    Type = 30 // gateway update
	TypeUpdateAck Type = 29
)

// MaxMessage is the length of the longest message in octets: the Length field
// has 16 bits.
const MaxMessage = 65535

// Message is a CXTP message. Decode returns one of the pointer types below;
// Append is the inverse.
//
// All addresses of a message must be of one family, except where a field has a
// family of its own: there is a single V flag.
type Message interface {
	Type() Type
	// Append adds the encoded message to dst. It fails when the message cannot
	// be expressed: addresses of two families, a block or the whole too long.
	Append(dst []byte) ([]byte, error)
}

// CTAR is the Context Transfer Activate Request of RFC 4067 section 2.5.1, from
// the mobile node to the pAR (naming the nAR) or to the nAR (naming the pAR).
type CTAR struct {
	Ack      bool       // the A flag: a CTAA is wanted
	Previous netip.Addr // MN's previous IP address
	Router   netip.Addr // the other access router
	Sequence uint32
	Token    Token
	Requests []CDB // which contexts; empty = all
}

// CTAA is the Context Transfer Activate Acknowledge of section 2.5.2.
type CTAA struct {
	Previous netip.Addr
	Failed   []ContextStatus // contexts that were not transferred
}

// CTD is the Context Transfer Data message of section 2.5.3, in both its forms.
type CTD struct {
	// Predictive makes it a PCTD: with the material to compute the MN's token.
	Predictive bool
	Ack        bool   // the A flag: a CTDR is wanted
	Elapsed    uint32 // milliseconds since the first CTD for this node
	Previous   netip.Addr
	Algorithm  uint16     // PCTD only: AlgorithmHMACSHA1
	Key        secret.Key // PCTD only: shared by MN and AR
	Blocks     []CDB
}

// CTDR is the Context Transfer Data Reply of section 2.5.4.
type CTDR struct {
	Success  bool // the S flag: all contexts were received
	Previous netip.Addr
	Statuses []ContextStatus
}

// CTC is the Context Transfer Cancel of section 2.5.5, from the nAR.
type CTC struct{ Previous netip.Addr }

// CTReq is the Context Transfer Request of section 2.5.6, from the nAR. What
// follows the address is copied from the CTAR; a zero Token asks for the key.
type CTReq struct {
	Previous netip.Addr
	Sequence uint32
	Token    Token
	Requests []CDB
}

// OutcomeState is what a router says of one epoch of a session.
type OutcomeState uint8

const (
	OutcomeUnseen    OutcomeState = 1 // never heard of it
	OutcomeStaged    OutcomeState = 2 // everything is ready, nothing acts
	OutcomeRefused   OutcomeState = 3 // will never be activated here
	OutcomeActive    OutcomeState = 4 // is, or was, activated here
	OutcomeLost      OutcomeState = 5 // may have been activated here; the state is gone
	OutcomeMovedOn   OutcomeState = 6 // was activated and closed here, and granted onward
	OutcomeClosed    OutcomeState = 7 // active, and the source's close has been merged
	OutcomePending   OutcomeState = 8 // still working on it
	outcomeStateLast                = OutcomePending
)

// Outcome asks a target what became of an epoch, and answers. It is private,
// and decides: a source thaws or closes on an Outcome and on nothing else, and
// only on one from the target that the grant names.
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+-----+---------+-+-+-----------+-------------------------------+
//	|Vers.|   31    |V|Q| Reserved  |            Length             |
//	+-----+---------+-+-+-----------+-------------------------------+
//	~               Mobile Node's Previous IP Address               ~
//	+---------------------------------------------------------------+
//	~                    Session id (16 octets)                     ~
//	+---------------------------------------------------------------+
//	~                       Epoch (8 octets)                        ~
//	+---------------------------------------------------------------+
//	~                    Incarnation (8 octets)                     ~
//	+---------------+-+-+-----------+-------------------------------+
//	|     State     |G|D| Reserved  |            Reserved           |
//	+---------------+-+-+-----------+-------------------------------+
//	|              FPT              |  Status code  |    Reserved   |
//	+-------------------------------+---------------+---------------+
//	~                            ........                           ~
type Outcome struct {
	Question    bool // the Q flag: State is absent (0), an answer is wanted
	Previous    netip.Addr
	Session     SessionID
	Epoch       Epoch
	Incarnation Incarnation // of the answering router's journal
	State       OutcomeState
	Go          bool // the G flag: with Staged, the target would activate now
	Steered     bool // the D flag: with Active, traffic reaches the target
	Statuses    []ContextStatus
}

// Update tells a mobile node the new address of its gateway. It is private,
// numbered by the epoch of the move, authenticated with the node's update key,
// and repeated until an UpdateAck with that number comes.
type Update struct {
	Previous netip.Addr
	Session  SessionID
	Number   uint64         // must be above every number that the node has accepted
	Gateway  netip.AddrPort // outer address and UDP encapsulation port; a family of its own
	MAC      [UpdateMACSize]byte
}

// UpdateAck is the node's answer to an Update, authenticated with the same key.
type UpdateAck struct {
	Previous netip.Addr
	Session  SessionID
	Number   uint64
	MAC      [UpdateMACSize]byte
}

// UpdateMACSize is the length of an Update's MAC: HMAC-SHA-256 cut to 128 bits,
// as RFC 4868 does.
const UpdateMACSize = 16

func (*CTAR) Type() Type { return TypeCTAR }
func (*CTAA) Type() Type { return TypeCTAA }
func (m *CTD) Type() Type {
	if m.Predictive {
		return TypePCTD
	}
	return TypeCTD
}
func (*CTDR) Type() Type      { return TypeCTDR }
func (*CTC) Type() Type       { return TypeCTC }
func (*CTReq) Type() Type     { return TypeCTReq }
func (*Outcome) Type() Type   { return TypeOutcome }
func (*Update) Type() Type    { return TypeUpdate }
func (*UpdateAck) Type() Type { return TypeUpdateAck }

// Append implements [Message].
func (m *CTAR) Append(dst []byte) ([]byte, error) {
	w := newWriter(dst, TypeCTAR, m.Ack, m.Previous)
	w.address("router", m.Router)
	w.u32(m.Sequence)
	w.octets(m.Token[:])
	w.requests(m.Requests)
	return w.finish()
}

// Append implements [Message].
func (m *CTAA) Append(dst []byte) ([]byte, error) {
	w := newWriter(dst, TypeCTAA, false, m.Previous)
	w.statuses(m.Failed)
	return w.finish()
}

// Append implements [Message].
func (m *CTD) Append(dst []byte) ([]byte, error) {
	var elapsed [4]byte
	binary.BigEndian.PutUint32(elapsed[:], m.Elapsed)
	w := newWriter(dst, m.Type(), m.Ack, m.Previous, elapsed[:]...)
	if m.Predictive {
		w.u16(m.Algorithm)
		w.u16(uint16(m.Key.Len()))
		w.octets(m.Key.Bytes())
		for n := m.Key.Len(); n%4 != 0; n++ {
			w.dst = append(w.dst, 0)
		}
	}
	w.requests(m.Blocks)
	return w.finish()
}

// Append implements [Message].
func (m *CTDR) Append(dst []byte) ([]byte, error) {
	w := newWriter(dst, TypeCTDR, m.Success, m.Previous)
	w.statuses(m.Statuses)
	return w.finish()
}

// Append implements [Message].
func (m *CTC) Append(dst []byte) ([]byte, error) {
	return newWriter(dst, TypeCTC, false, m.Previous).finish()
}

// Append implements [Message].
func (m *CTReq) Append(dst []byte) ([]byte, error) {
	w := newWriter(dst, TypeCTReq, false, m.Previous)
	w.u32(m.Sequence)
	w.octets(m.Token[:])
	w.requests(m.Requests)
	return w.finish()
}

// Append implements [Message].
func (m *Outcome) Append(dst []byte) ([]byte, error) {
	w := newWriter(dst, TypeOutcome, m.Question, m.Previous)
	w.octets(m.Session[:])
	w.u64(uint64(m.Epoch))
	w.u64(uint64(m.Incarnation))
	w.dst = append(w.dst, byte(m.State))
	w.flags(m.Go, m.Steered)
	w.u16(0)
	w.statuses(m.Statuses)
	return w.finish()
}

// Append implements [Message].
func (m *Update) Append(dst []byte) ([]byte, error) { return dst, nil }

// Append implements [Message].
func (m *UpdateAck) Append(dst []byte) ([]byte, error) { return dst, nil }

func (t Type) String() string { return "" }
