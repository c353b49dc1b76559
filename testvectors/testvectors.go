// Package testvectors holds octets and what they mean, for anyone who writes an
// implementation of RFC 4067 or of the profiles in rfc/: JSON files, one
// directory a subject, which other languages can read as they are.
//
// Each file is an array of [Vector]; schema.json is its form as a JSON Schema, and
// [Parse] holds a file against it. The directory codec has messages, the blocks of
// the control profile, tokens and MACs; authorisation has requests with strong
// tokens, and exchanges of a node's next keys; icmp has the IP packets that nodes'
// messages travel in; the others have the blocks of one profile each.
//
// Command generate writes the vectors of RFC 4067's own messages, tokens and packets.
// All others are written by hand. doc/conformance.md says how to add one, and how to
// hold an implementation against all of them.
package testvectors

import (
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"strings"
)

//go:embed */*.json
var files embed.FS

// Vector is one sequence of octets and what a decoder must make of it.
type Vector struct {
	Name    string   `json:"name"`
	Section string   `json:"section"`        // of the document that specifies it
	Rows    []string `json:"rows,omitempty"` // the requirements that it shows, ids of package rfc
	Type    string   `json:"type"`           // "CTAR", "control block", "token", ...
	Hex     string   `json:"hex"`            // white space between octets means nothing
	Valid   bool     `json:"valid"`

	// Of a valid vector. Fields are named as `cxtp decode` names them; not every
	// field is listed. Canonical is what the decoded value is encoded to again,
	// when that is not Hex: reserved bits and padding are zero then.
	Fields    map[string]string `json:"fields,omitzero"`
	Canonical string            `json:"canonical,omitempty"`
	Message   *Message          `json:"message,omitempty"` // of the seven messages of RFC 4067: all of it

	// Key, in hexadecimal, of a token or a MAC, and the command that computed it.
	Key    string `json:"key,omitempty"`
	Source string `json:"source,omitempty"`

	// Of an invalid vector.
	Error *Error `json:"error,omitempty"`

	// Answer is what a correct implementation answers, as far as a document says:
	// "CTAA to the node", "refused, status 0x80", ...
	Answer string `json:"answer"`
}

// Error is the field that makes a vector invalid.
type Error struct {
	Layer  Layer  `json:"layer"`
	Field  string `json:"field"`
	Offset int    `json:"offset"` // octets from the start
}

// Layer is how far octets get before they are refused.
type Layer string

const (
	LayerPacket  Layer = "packet"  // of the packet around a message, nothing is read
	LayerMessage Layer = "message" // the message as a whole cannot be read
	LayerBlock   Layer = "block"   // nor, because of the frame of one of its blocks
	LayerContext Layer = "context" // the block is whole, but its data are not its profile's
	LayerToken   Layer = "token"   // all can be read, but the token or MAC is wrong
)

// Load reads all vectors of a directory, "codec" for example.
func Load(dir string) ([]Vector, error) {
	names, err := fs.Glob(files, dir+"/*.json")
	if err != nil {
		return nil, fmt.Errorf("failed to list vectors: %w", err)
	}
	if len(names) == 0 {
		return nil, fmt.Errorf("no vectors in %q", dir)
	}
	var all []Vector
	for _, name := range names {
		text, err := files.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("failed to read vectors: %w", err)
		}
		some, err := Parse(name, text)
		if err != nil {
			return nil, fmt.Errorf("failed to read vectors: %w", err)
		}
		all = append(all, some...)
	}
	return all, nil
}

// Subjects are the directories that hold vectors.
func Subjects() ([]string, error) {
	entries, err := fs.ReadDir(files, ".")
	if err != nil {
		return nil, fmt.Errorf("failed to list vectors: %w", err)
	}
	var subjects []string
	for _, e := range entries {
		subjects = append(subjects, e.Name())
	}
	return subjects, nil
}

// Octets are what Hex says.
func (v Vector) Octets() ([]byte, error) { return Octets(v.Hex) }

// Octets reads hexadecimal digits with white space between octets.
func Octets(digits string) ([]byte, error) {
	octets, err := hex.DecodeString(strings.Join(strings.Fields(digits), ""))
	if err != nil {
		return nil, fmt.Errorf("vector is not hexadecimal: %w", err)
	}
	return octets, nil
}
