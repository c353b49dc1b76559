package journal

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/cxtp/cxtp/cxtp"
)

// version is the format's, raised when an older daemon could misread a line.
const version = 1

const (
	sumDigits = 8             // CRC-32C in hexadecimal
	prefix    = sumDigits + 1 // and a space
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// DamageError says that a journal cannot be trusted.
type DamageError struct {
	Path   string
	Line   int // from 1
	Reason string
}

func (e *DamageError) Error() string {
	return fmt.Sprintf("the journal %s is damaged at line %d: %s; restore the file, or move it away and so lose every promise in it",
		e.Path, e.Line, e.Reason)
}

// headerLine is the first document of a journal.
type headerLine struct {
	Version     int              `json:"cxtp_journal"`
	Incarnation cxtp.Incarnation `json:"incarnation,string"`
}

// content is what decode finds in a journal.
type content struct {
	incarnation cxtp.Incarnation
	records     []cxtp.Record
	whole       int // octets up to the end of the last whole line
}

// header returns the first line of a new journal.
func header(incarnation cxtp.Incarnation) []byte {
	document, err := json.Marshal(headerLine{version, incarnation})
	if err != nil {
		panic(err) // two numbers
	}
	return line(document)
}

// encode returns the line of a record.
func encode(r cxtp.Record) ([]byte, error) {
	// A kind that cannot be read back would make the journal unreadable.
	if err := new(cxtp.RecordKind).UnmarshalText([]byte(r.Kind.String())); err != nil {
		return nil, fmt.Errorf("failed to encode a journal record: %w", err)
	}
	document, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("failed to encode a journal record: %w", err)
	}
	return line(document), nil
}

// line puts the checksum before a document and a line feed after it.
func line(document []byte) []byte {
	b := make([]byte, 0, prefix+len(document)+1)
	b = fmt.Appendf(b, "%08x ", crc32.Checksum(document, castagnoli))
	b = append(b, document...)
	return append(b, '\n')
}

// decode reads a journal. An unfinished last line is left out of whole; any
// other fault is a [DamageError].
func decode(data []byte) (content, error) {
	var c content
	for number := 1; ; number++ {
		l, _, finished := bytes.Cut(data[c.whole:], []byte{'\n'})
		if !finished {
			if number == 1 {
				return content{}, &DamageError{Line: 1, Reason: "the header is incomplete"}
			}
			return c, nil
		}
		if err := c.add(number, l); err != nil {
			return content{}, &DamageError{Line: number, Reason: err.Error()}
		}
		c.whole += len(l) + 1
	}
}

// add reads one line without its line feed.
func (c *content) add(number int, l []byte) error {
	document, err := check(l)
	if err != nil {
		return err
	}
	if number > 1 {
		var r cxtp.Record
		if err := unmarshal(document, &r); err != nil {
			return err
		}
		c.records = append(c.records, r)
		return nil
	}
	var h headerLine
	switch err := unmarshal(document, &h); {
	case err != nil:
		return err
	case h.Version != version:
		return fmt.Errorf("its format is version %d, this daemon knows %d", h.Version, version)
	case h.Incarnation == 0:
		return errors.New("its incarnation is 0")
	}
	c.incarnation = h.Incarnation
	return nil
}

// check returns the document of a line whose checksum is right.
func check(l []byte) ([]byte, error) {
	if len(l) < prefix || l[sumDigits] != ' ' {
		return nil, errors.New("no checksum")
	}
	var sum [sumDigits / 2]byte
	if _, err := hex.Decode(sum[:], l[:sumDigits]); err != nil {
		return nil, errors.New("no checksum")
	}
	document := l[prefix:]
	want := binary.BigEndian.Uint32(sum[:])
	if got := crc32.Checksum(document, castagnoli); got != want {
		return nil, fmt.Errorf("its checksum is %08x, its content's %08x", want, got)
	}
	return document, nil
}

// unmarshal reads a document strictly: a field that is not understood might be
// the one that matters.
func unmarshal(document []byte, v any) error {
	dec := json.NewDecoder(bytes.NewReader(document))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("it cannot be read, was it written by a later version? %w", err)
	}
	return nil
}
