// Package rfc has the demands of the documents that this module implements, as
// data: rows/*.json, a file a document. Beside them stand the specifications of
// our own profiles, and how we read RFC 4067 where it leaves room
// (interpretations.md).
//
// A [Row] is one demand that can be checked, in our own words. Its id is the
// document, the section (its name where it has no number), and a number within the
// section: rfc4067-2.5.1-3. It never changes, so anything may name it: a vector of package testvectors, a case
// of `cxtp conform`, a mutant, a comment.
//
// A row's level is the key word of RFC 2119 that the document uses (its SHALL is
// written MUST, its RECOMMENDED SHOULD), or "constant" for a number, a size or a
// place on the wire. Much of RFC 4067 is told as a story, without key words: what the
// nAR does then, what the pAR sends. Where whoever does otherwise could not work
// together with others, or would harm them, such a sentence is a row too, and is
// marked as implied.
//
// A row is done, or not applicable, with the reason. What shows that a row is done
// are the Go tests that it names, the vectors and the conformance cases that name
// it. The tests of this package fail for a done row that nothing shows, a test that
// does not exist, and a vector or case that shows neither a row nor a section of our
// own specifications.
//
//	go test -v -run TestRowsAreWellFormed ./rfc
//
// counts the rows of each document by level and state.
package rfc

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"sync"
)

//go:embed rows/*.json
var files embed.FS

// Row is one demand of a document.
type Row struct {
	ID      string `json:"id"`
	Section string `json:"section"`
	Level   Level  `json:"level"`
	// Implied: the document says it without a key word of RFC 2119.
	Implied bool   `json:"implied,omitempty"`
	Text    string `json:"text"`
	State   State  `json:"state"`
	// Reason says why the row is not applicable.
	Reason string `json:"reason,omitempty"`
	// Tests are Go tests that fail when the row is broken: the package's folder,
	// the function, and perhaps a subtest: "cxtp.TestTranscripts/busy".
	Tests []string `json:"tests,omitempty"`
}

// Level is how much a document insists.
type Level string

// The levels.
const (
	Must      Level = "MUST"
	MustNot   Level = "MUST NOT"
	Should    Level = "SHOULD"
	ShouldNot Level = "SHOULD NOT"
	May       Level = "MAY"
	Constant  Level = "constant" // as binding as a MUST
)

// Optional reports whether an implementation without it still conforms, if not
// strictly.
func (l Level) Optional() bool { return l == Should || l == ShouldNot || l == May }

// State is what became of a row here.
type State string

// The states.
const (
	Done          State = "done"
	NotApplicable State = "not applicable"
)

// Documents are the names of the documents that have rows, in alphabetical order.
func Documents() []string {
	names, err := fs.Glob(files, "rows/*.json")
	if err != nil {
		panic(err) // the pattern is constant
	}
	for i, name := range names {
		names[i] = strings.TrimSuffix(path.Base(name), ".json")
	}
	return names
}

// Rows are the rows of a document, in its order. It fails when there is no such
// document, and when its file is not of the shape of Row.
func Rows(document string) ([]Row, error) {
	text, err := files.ReadFile("rows/" + document + ".json")
	if err != nil {
		return nil, fmt.Errorf("no rows of %q; there are those of %s", document, strings.Join(Documents(), ", "))
	}
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var rows []Row
	if err := d.Decode(&rows); err != nil {
		return nil, fmt.Errorf("failed to parse rows of %s: %w", document, err)
	}
	return rows, nil
}

// Find is the row with an id, of whichever document.
func Find(id string) (Row, bool) {
	row, ok := all()[id]
	return row, ok
}

// all are the rows of all documents by their id.
var all = sync.OnceValue(func() map[string]Row {
	rows := map[string]Row{}
	for _, document := range Documents() {
		some, err := Rows(document)
		if err != nil {
			panic(err) // the files are part of the program, and tested
		}
		for _, row := range some {
			rows[row.ID] = row
		}
	}
	return rows
})
