package journal

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"time"

	"github.com/cxtp/cxtp/cxtp"
)

// version is the format's, raised when an older daemon could misread a line.
const version = 2

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

// entry is a record with the time at which it was written.
type entry struct {
	At int64 `json:"at"` // seconds of Unix time
	cxtp.Record
}

func (e *entry) time() time.Time { return time.Unix(e.At, 0) }

// header returns the first line of a new journal.
func header(incarnation cxtp.Incarnation) []byte {
	document, err := json.Marshal(headerLine{version, incarnation})
	if err != nil {
		panic(err) // two numbers
	}
	return appendLine(nil, func(b []byte) []byte { return append(b, document...) })
}

// appendEntry adds the line of a record. One that could not be read back would
// make the journal unreadable, and is refused.
func appendEntry(b []byte, e *entry) ([]byte, error) {
	if !e.Kind.Known() {
		return b, fmt.Errorf("failed to encode a journal record: %v is no kind of record", e.Kind)
	}
	return appendLine(b, func(b []byte) []byte { return appendDocument(b, e) }), nil
}

// appendLine adds a document with its checksum before it and a line feed after
// it.
func appendLine(b []byte, document func([]byte) []byte) []byte {
	start := len(b)
	b = document(append(b, "00000000 "...))
	l := b[start:]
	var sum [sumDigits / 2]byte
	binary.BigEndian.PutUint32(sum[:], crc32.Checksum(l[prefix:], castagnoli))
	hex.Encode(l, sum[:])
	return append(b, '\n')
}

// lines hands over each line of a journal with its number, from 1, and returns the
// octets up to the end of the last whole one: an unfinished one after that is
// ignored. An error of use ends it.
func lines(r io.Reader, use func(number int, line []byte) error) (whole int64, err error) {
	in := bufio.NewReaderSize(r, 1<<16)
	for number := 1; ; number++ {
		l, err := in.ReadBytes('\n')
		if err == io.EOF {
			return whole, nil
		}
		if err == nil {
			err = use(number, l)
		}
		if err != nil {
			return 0, err
		}
		whole += int64(len(l))
	}
}

// read reads a journal and hands over each record. It returns the incarnation,
// and the octets up to the end of the last whole line. Any fault of the content
// but an unfinished last line is a [DamageError].
func read(r io.Reader, use func(e *entry)) (incarnation cxtp.Incarnation, whole int64, err error) {
	whole, err = lines(r, func(number int, line []byte) (err error) {
		if number == 1 {
			incarnation, err = parseHeader(line)
		} else {
			var e entry
			if err = parse(line, &e); err == nil {
				use(&e)
			}
		}
		if err != nil {
			return &DamageError{Path: fileName, Line: number, Reason: err.Error()}
		}
		return nil
	})
	if err == nil && whole == 0 {
		err = &DamageError{Path: fileName, Line: 1, Reason: "the header is incomplete"}
	}
	return incarnation, whole, err
}

func parseHeader(l []byte) (cxtp.Incarnation, error) {
	var h headerLine
	switch err := parse(l, &h); {
	case err != nil:
		return 0, err
	case h.Version != version:
		return 0, fmt.Errorf("its format is version %d, this daemon knows %d", h.Version, version)
	case h.Incarnation == 0:
		return 0, errors.New("its incarnation is 0")
	}
	return h.Incarnation, nil
}

// parse reads the document of a line strictly: a field that is not understood
// might be the one that matters.
func parse(l []byte, v any) error {
	document, err := check(l[:len(l)-1])
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(document))
	dec.DisallowUnknownFields()
	if err := dec.Decode(v); err != nil {
		return fmt.Errorf("it cannot be read, was it written by a later version? %w", err)
	}
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
