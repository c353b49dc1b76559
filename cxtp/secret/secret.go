// Package secret holds key material in a type that cannot be shown by
// accident.
//
// Everything in this module that is worth stealing (SA keys, the keys that
// make authorisation tokens, the keys that authenticate gateway updates) lives
// in a [Key]. A Key prints as "[redacted]" under every fmt verb, marshals to
// that same word in JSON and TOML, and logs as it with log/slog. The octets
// come out through one method, [Key.Bytes], so that a search for it finds every
// place that touches a secret, and [Key.Wipe] overwrites them.
//
// What this cannot do is stated too: the garbage collector may have copied the
// backing array before Wipe ran, so a process that holds keys also refuses core
// dumps and locks its memory where the system lets it.
package secret

import (
	"crypto/subtle"
	"fmt"
	"log/slog"
)

// redacted stands in for the octets wherever a Key is formatted.
const redacted = "[redacted]"

// Key is secret octets. The zero value is an absent key.
//
// Copying a Key copies a reference: Wipe on one copy empties all of them,
// which is what law 6 wants ("buffers that we own are wiped").
type Key struct{ octets []byte }

// New takes ownership of octets: the caller must not keep or change them.
func New(octets []byte) Key { return Key{octets} }

// Clone copies octets into a Key of its own; use it where octets alias a
// receive buffer.
func Clone(octets []byte) Key {
	if len(octets) == 0 {
		return Key{}
	}
	return Key{append([]byte(nil), octets...)}
}

// Bytes gives the octets themselves. The caller must not keep them longer than
// the Key.
func (k Key) Bytes() []byte { return k.octets }

// Len is the length in octets.
func (k Key) Len() int { return len(k.octets) }

// IsZero reports whether there is no key.
func (k Key) IsZero() bool { return len(k.octets) == 0 }

// Equal compares in constant time (for keys of one length).
func (k Key) Equal(other Key) bool {
	return subtle.ConstantTimeCompare(k.octets, other.octets) == 1
}

// Wipe overwrites the octets with zeros, for every copy of this Key.
func (k Key) Wipe() { clear(k.octets) }

// Format implements [fmt.Formatter]; every verb, %x and %#v included, prints
// the same word.
func (Key) Format(s fmt.State, _ rune) { fmt.Fprint(s, redacted) }

// MarshalText implements [encoding.TextMarshaler], which JSON and TOML
// encoders honour.
func (Key) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// LogValue implements [slog.LogValuer].
func (Key) LogValue() slog.Value { return slog.StringValue(redacted) }
