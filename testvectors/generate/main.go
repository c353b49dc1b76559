// Command generate writes the vectors of RFC 4067's own messages, of its token, and of
// the ICMP packet around a node's messages:
//
//	go run ./testvectors/generate
//
// It shares no code with the codec that the vectors are for. A message is put
// together here field by field, as the RFC's diagrams draw it, so that the octets
// and what a decoder has to find in them come from one description, which package
// cxtp has not seen. An invalid vector is a message of which one thing is changed: it
// ends too early, its Length is another, and so on; the field to blame follows from
// what was changed. Tokens were computed by openssl, whose command each vector has.
//
// The vectors of our own profiles are written by hand: they are the examples of the
// specifications in rfc/, and nothing here touches their files.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/cxtp/cxtp/testvectors"
)

func main() {
	if err := write("testvectors"); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

// book is a file of vectors.
type book struct {
	file    string // in the folder of the vectors
	vectors []testvectors.Vector
}

// books are all files that are generated.
func books() []book {
	return []book{
		{"codec/ctar.json", ctar()},
		{"codec/ctaa.json", ctaa()},
		{"codec/ctd.json", ctd()},
		{"codec/pctd.json", pctd()},
		{"codec/ctdr.json", ctdr()},
		{"codec/ctc.json", ctc()},
		{"codec/ct-req.json", ctReq()},
		{"codec/blocks-in-messages.json", blocks()},
		{"codec/unknown.json", unknown()},
		{"codec/token.json", tokens()},
		{"icmp/packets.json", packets()},
	}
}

// text is the file's content.
func (b book) text() ([]byte, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetIndent("", "\t")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(b.vectors); err != nil {
		return nil, fmt.Errorf("failed to write %s: %w", b.file, err)
	}
	return text.Bytes(), nil
}

// write writes all files below the folder of the vectors.
func write(folder string) error {
	for _, b := range books() {
		text, err := b.text()
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, filepath.FromSlash(b.file)), text, 0o644); err != nil {
			return fmt.Errorf("failed to write vectors: %w", err)
		}
	}
	return nil
}
