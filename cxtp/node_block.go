package cxtp

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"

	"github.com/cxtp/cxtp/cxtp/secret"
)

// NumberedKey is a token key in a node's list. Each is used for one move.
type NumberedKey struct {
	Number uint32 // ascending along the list
	Key    secret.Key
}

// NodeState is what the engine itself knows of a node and what therefore moves
// with the session, as a block of type FPTNode. Its presence vector says which
// fields are there; absent means the zero value:
//
//	 0                   1                   2                   3
//	 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
//	+---------------+---------------+-------------------------------+
//	|    Family     |   Reserved    |             Port              |  bit 0
//	+---------------+---------------+-------------------------------+
//	~          Agent's address, 4 octets or 16 by Family            ~
//	+-------------------------------+-------------------------------+
//	|       Update key length       |         Update key            ~  bit 1
//	+-------------------------------+-------------------------------+
//	|          Token keys           |                                  bit 2
//	+-------------------------------+-------------------------------+
//	|                            Number                             |
//	+-------------------------------+-------------------------------+
//	|           Key length          |             Key               ~
//	+-------------------------------+-------------------------------+
//	~                            ........                           ~
//	+-------------------------------+-------------------------------+
//	|        Token algorithm        |                                  bit 3
//	+-------------------------------+-------------------------------+
//	~                     Generation (8 octets)                     ~  bit 4
//	+-------------------------------+-------------------------------+
//	|          SPI changes          |                                  bit 5
//	+-------------------------------+-------------------------------+
//	~         that many SPI changes, of 12 octets each              ~
//	+-------------------------------+-------------------------------+
//	|       Extensions length       |                                  bit 31
//	+-+-----------------------------+-------------------------------+
//	|C|           Type              |            Length             |
//	+-+-----------------------------+-------------------------------+
//	~                         Extension data                        ~
//
// Nothing is aligned between the fields. The keys alias the block's data after
// decoding.
type NodeState struct {
	Agent     netip.AddrPort // where the node's agent takes updates; zero = no agent
	UpdateKey secret.Key     // authenticates updates; zero = no agent
	Tokens    []NumberedKey  // token keys that are still unused
	// Algorithm is the one that the node was provisioned with; 0 means
	// AlgorithmHMACSHA1.
	Algorithm Algorithm
	// Generation is the number of the Update that gave the keys; 0 means that
	// they were provisioned.
	Generation uint64
	// SPIs are the changes that the node has been told and has not confirmed, or
	// that it has still to be told.
	SPIs []SPIChange
}

// algorithm is that of the node's tokens.
func (n *NodeState) algorithm() Algorithm { return cmp.Or(n.Algorithm, AlgorithmHMACSHA1) }

// strong reports whether the node makes strong tokens, and agrees on fresh keys
// with every gateway that it comes to.
func (n *NodeState) strong() bool { return n.Algorithm == AlgorithmHMACSHA256 }

// canBeTold reports whether the node has an agent that will believe an Update.
func (n *NodeState) canBeTold() bool { return n.Agent.IsValid() && !n.UpdateKey.IsZero() }

// Bits of the node block's presence vector.
const (
	nodeHasAgent      = 1 << 31 // bit 0, the first field
	nodeHasUpdateKey  = 1 << 30
	nodeHasTokens     = 1 << 29
	nodeHasAlgorithm  = 1 << 28
	nodeHasGeneration = 1 << 27
	nodeHasSPIs       = 1 << 26
	nodeHasExtensions = 1 << 0 // bit 31
	nodeKnown         = nodeHasAgent | nodeHasUpdateKey | nodeHasTokens | nodeHasAlgorithm | nodeHasGeneration | nodeHasSPIs | nodeHasExtensions
)

// extensionCritical marks an extension that must be understood.
const extensionCritical = 0x8000

// room is enough for the block's data in octets: what grows leaves keys behind.
func (n NodeState) room() int {
	room := 64 + n.UpdateKey.Len() + 12*len(n.SPIs)
	for _, k := range n.Tokens {
		room += 8 + k.Key.Len()
	}
	return room
}

// Block encodes the node block, which holds keys: the caller wipes its data.
// It fails when the token keys do not ascend, when one is empty, and when all
// of it does not fit into one block.
func (n NodeState) Block() (CDB, error) {
	b := CDB{FPT: FPTNode, HasPresence: true, Data: make([]byte, 0, n.room())}
	var err error
	if n.Agent != (netip.AddrPort{}) {
		b.Presence |= nodeHasAgent
		b.Data, err = appendEndpoint(b.Data, "agent's address", n.Agent)
	}
	if !n.UpdateKey.IsZero() {
		b.Presence |= nodeHasUpdateKey
		b.Data = appendKey(b.Data, n.UpdateKey)
	}
	if len(n.Tokens) > 0 {
		b.Presence |= nodeHasTokens
		b.Data = binary.BigEndian.AppendUint16(b.Data, uint16(len(n.Tokens)))
	}
	for i, k := range n.Tokens {
		if i > 0 && k.Number <= n.Tokens[i-1].Number {
			err = fmt.Errorf("token key %d comes after token key %d", k.Number, n.Tokens[i-1].Number)
		}
		if k.Key.IsZero() {
			err = errors.New("a token key is empty")
		}
		b.Data = binary.BigEndian.AppendUint32(b.Data, k.Number)
		b.Data = appendKey(b.Data, k.Key)
	}
	if n.algorithm() != AlgorithmHMACSHA1 {
		b.Presence |= nodeHasAlgorithm
		b.Data = binary.BigEndian.AppendUint16(b.Data, uint16(n.Algorithm))
	}
	if n.Generation != 0 {
		b.Presence |= nodeHasGeneration
		b.Data = binary.BigEndian.AppendUint64(b.Data, n.Generation)
	}
	if len(n.SPIs) > 0 {
		b.Presence |= nodeHasSPIs
		b.Data = binary.BigEndian.AppendUint16(b.Data, uint16(len(n.SPIs)))
		var bad error
		b.Data, bad = appendChanges(b.Data, n.SPIs)
		err = errors.Join(err, bad)
	}
	if b.Size() > MaxBlock {
		err = fmt.Errorf("%d token keys make a block of %d octets: at most %d fit", len(n.Tokens), b.Size(), MaxBlock)
	}
	if err != nil {
		clear(b.Data)
		return CDB{}, fmt.Errorf("failed to encode node block: %w", err)
	}
	return b, nil
}

func appendKey(dst []byte, key secret.Key) []byte {
	dst = binary.BigEndian.AppendUint16(dst, uint16(key.Len()))
	return append(dst, key.Bytes()...)
}

// ParseNodeState reads a node block. Any error is a [*ParseError], whose offset
// counts from the start of the block, its header included; it is an
// [ErrUnknownCritical] when the block has something that must be understood and
// is not.
func ParseNodeState(b CDB) (NodeState, error) {
	var r wireReader
	var n NodeState
	n.read(&r, b)
	if err := r.result(); err != nil {
		return NodeState{}, err
	}
	return n, nil
}

var nodeProfile = blockProfile{"node block", "control profile section 5", FPTNode, true}

func (n *NodeState) read(r *wireReader, b CDB) {
	r.enter(nodeProfile, b)
	if unknown := b.Presence &^ nodeKnown; unknown != 0 {
		// Without its size a field cannot be skipped.
		r.fail("Presence Vector", -presenceSize, ErrUnknownCritical, "%#08x announces unknown fields: %#08x", b.Presence, unknown)
	}
	if b.Presence&nodeHasAgent != 0 {
		n.Agent = r.endpoint("Agent")
	}
	if b.Presence&nodeHasUpdateKey != 0 {
		n.UpdateKey = r.key("Update key", int(r.u16("Update key length")))
	}
	if b.Presence&nodeHasTokens != 0 {
		n.readTokens(r)
	}
	if b.Presence&nodeHasAlgorithm != 0 {
		switch a := named(r, Algorithm(r.u16("Token algorithm"))); a {
		case 0:
			r.fail("Token algorithm", r.at-2, nil, "0, algorithms begin at 1")
		case AlgorithmHMACSHA1: // the default, said
		default:
			n.Algorithm = a
		}
	}
	if b.Presence&nodeHasGeneration != 0 {
		n.Generation = r.u64("Generation")
	}
	if b.Presence&nodeHasSPIs != 0 {
		n.SPIs = r.changes(nil, r.listed("SPI changes"))
	}
	if b.Presence&nodeHasExtensions != 0 {
		r.extensions()
	}
	r.padding()
}

func (n *NodeState) readTokens(r *wireReader) {
	for count := int(r.u16("Token keys")); r.nextOf("Token key", count); {
		k := NumberedKey{Number: r.u32("Number")}
		if last := len(n.Tokens) - 1; last >= 0 && k.Number <= n.Tokens[last].Number {
			r.fail("Number", r.at-4, nil, "%d after %d, numbers ascend", k.Number, n.Tokens[last].Number)
		}
		size := int(r.u16("Key length"))
		if size == 0 {
			r.fail("Key length", r.at-2, nil, "0, a token key has at least 1 octet")
		}
		k.Key = r.key("Key", size)
		n.Tokens = append(n.Tokens, k)
	}
}

// extensions reads a list of fields that a later version has added. None is
// known to this one: those that need not be understood are skipped.
func (r *wireReader) extensions() {
	size := int(r.u16("Extensions length"))
	if left := len(r.in) - r.at; size > left {
		r.fail("Extensions length", r.at-2, nil, "%d octets announced, %d left", size, left)
		return
	}
	whole := r.in
	r.in = whole[:r.at+size]
	for r.next("Extension") {
		kind := r.u16("Type")
		if kind&extensionCritical != 0 {
			r.fail("Type", r.at-2, ErrUnknownCritical, "%#04x is critical and not known", kind)
		}
		r.octets("Data", int(r.u16("Length")))
	}
	r.in = whole
}
