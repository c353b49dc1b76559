package cli

import (
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"
	"unicode"

	urfave "github.com/urfave/cli/v2"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features/mld"
	"github.com/cxtp/cxtp/ikectx"
	"github.com/cxtp/cxtp/ipsecctx"
)

// maxDigits bounds what is read from standard input, in octets: the longest
// message, with room for white space.
const maxDigits = 8 * cxtp.MaxMessage

func decodeCommand() *urfave.Command {
	return &urfave.Command{
		Name:      "decode",
		Usage:     "show every field of CXTP messages",
		ArgsUsage: "HEX... | - | --pcap FILE",
		Description: "A message is given in hexadecimal, with white space and colons wherever you\n" +
			"like; - reads it from standard input, which other users of this machine cannot\n" +
			"see. Keys are not shown without --show-secrets.\n\n" +
			"--pcap shows all messages of a packet capture, with --json one document a line.\n" +
			"Those between routers are encrypted: --keylog FILE has the secrets, which a\n" +
			"router writes to its transport.insecure_key_log. The capture must have begun\n" +
			"before the connection. The kernel's SCTP is shown where IPsec does not hide it.",
		Flags: append(captureFlags(),
			&urfave.BoolFlag{Name: "show-secrets", Usage: "show keys, and data that may be keys"},
		),
		Action: decode,
	}
}

// decoded is the JSON document of a message.
type decoded struct {
	Fields []cxtp.FieldDump `json:"fields"`
	Error  *decodeError     `json:"error,omitempty"`
}

type decodeError struct {
	Message string `json:"message"` // what was being read
	Field   string `json:"field"`
	Offset  int    `json:"offset"`
	Reason  string `json:"reason"`
}

func decode(c *urfave.Context) error {
	if c.IsSet("pcap") {
		return decodeCapture(c)
	}
	if err := noCapture(c); err != nil {
		return err
	}
	octets, err := hexOf(c)
	if err != nil {
		return err
	}
	d, err := describe(c, octets)
	if printed := printFields(c, d); printed != nil {
		return printed
	}
	if err != nil {
		return fmt.Errorf("failed to decode: %w", err)
	}
	return nil
}

// describe lists the fields of a message. The error is in the result too.
func describe(c *urfave.Context, octets []byte) (decoded, error) {
	blocks := ipsecctx.Describers()
	maps.Copy(blocks, ikectx.Describers())
	maps.Copy(blocks, mld.Describers())
	fields, err := cxtp.Describe(octets, cxtp.DescribeOptions{
		ShowSecrets: c.Bool("show-secrets"),
		Blocks:      blocks,
	})
	if fields == nil {
		fields = []cxtp.FieldDump{}
	}
	return decoded{fields, parseError(err)}, err
}

func printFields(c *urfave.Context, d decoded) error {
	if c.Bool("json") {
		return printJSON(c, d)
	}
	return printFieldTable(c, d.Fields)
}

func printFieldTable(c *urfave.Context, fields []cxtp.FieldDump) error {
	rows := []string{row("OFFSET", "LENGTH", "FIELD", "VALUE", "SECTION")}
	for _, f := range fields {
		rows = append(rows, row(f.Offset, f.Length, f.Name, f.Value, f.Section))
	}
	return printTable(c, rows)
}

// parseError is err for JSON.
func parseError(err error) *decodeError {
	var e *cxtp.ParseError
	switch {
	case errors.As(err, &e):
		return &decodeError{e.Message, e.Field, e.Offset, e.Reason}
	case err != nil:
		return &decodeError{Message: "message", Reason: err.Error()}
	}
	return nil
}

// hexOf reads the octets that the arguments give. Its errors quote no more than
// one digit of what may be keys.
func hexOf(c *urfave.Context) ([]byte, error) {
	const nothing = "nothing to decode: give a message in hexadecimal, or - to read it from standard input"
	if !c.Args().Present() {
		return nil, usagef(nothing)
	}
	digits := strings.Join(c.Args().Slice(), "")
	if digits == "-" {
		text, err := io.ReadAll(io.LimitReader(c.App.Reader, maxDigits+1))
		switch {
		case err != nil:
			return nil, fmt.Errorf("failed to read standard input: %w", err)
		case len(text) > maxDigits:
			return nil, fmt.Errorf("standard input is longer than any message: a message has at most %d octets", cxtp.MaxMessage)
		}
		digits = string(text)
	}
	digits = strings.Map(func(r rune) rune {
		if r == ':' || unicode.IsSpace(r) {
			return -1
		}
		return r
	}, digits)
	if digits == "" {
		return nil, errors.New(nothing)
	}
	octets, err := hex.DecodeString(digits)
	if err != nil {
		return nil, fmt.Errorf("failed to read the message, which must be hexadecimal digits, two an octet: %w", err)
	}
	return octets, nil
}
