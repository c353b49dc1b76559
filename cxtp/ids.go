package cxtp

import (
	"bytes"
	"encoding/hex"
	"fmt"
)

// SessionID names a session for as long as it lives, whoever owns it. Its first
// owner draws it at random. RFC 4067 knows a node by its previous address
// alone, which two nodes behind one NAT share.
type SessionID [16]byte

func (id SessionID) String() string { return hex.EncodeToString(id[:]) }

// MarshalText implements [encoding.TextMarshaler].
func (id SessionID) MarshalText() ([]byte, error) { return []byte(id.String()), nil }

// UnmarshalText implements [encoding.TextUnmarshaler].
func (id *SessionID) UnmarshalText(text []byte) error {
	parsed, err := ParseSessionID(string(text))
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// IsZero reports whether the id names no session.
func (id SessionID) IsZero() bool { return id == SessionID{} }

func (id SessionID) compare(other SessionID) int { return bytes.Compare(id[:], other[:]) }

// ParseSessionID reads the 32 hexadecimal digits that String writes.
func ParseSessionID(s string) (SessionID, error) {
	var id SessionID
	if len(s) != 2*len(id) {
		return id, fmt.Errorf("session id %q: want %d hexadecimal digits", s, 2*len(id))
	}
	if _, err := hex.Decode(id[:], []byte(s)); err != nil {
		return SessionID{}, fmt.Errorf("session id %q: %w", s, err)
	}
	return id, nil
}

// Epoch numbers the attempts to move a session. The owner takes a fresh one,
// durably, for every stage attempt and never uses it again, granted or not.
// 0 is the epoch of a session that has never been moved.
type Epoch uint64

// RouterID is a router's name, the one that its certificate proves.
type RouterID string

// Incarnation is a random number that a router's journal is born with. A router
// that lost its journal has another one, and so cannot answer for the promises
// of the old.
type Incarnation uint64
