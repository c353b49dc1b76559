package cli

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	urfave "github.com/urfave/cli/v2"

	"github.com/cxtp/cxtp/internal/control"
)

func installCommand() *urfave.Command {
	return &urfave.Command{
		Name:      "install",
		Usage:     "begin a session with manual keys at this gateway",
		UsageText: "cxtp install FILE",
		Description: "For nodes without IKE, and for tests. FILE is JSON that only its owner may read:\n\n" +
			"   {\"previous\": \"192.0.2.10\", \"identity\": \"node.example\",\n" +
			"    \"inner\": [\"10.9.0.1/32\"],\n" +
			"    \"sas\": [{\"outbound\": true, \"spi\": 4097, \"gateway\": \"198.51.100.1:4500\",\n" +
			"             \"node\": \"192.0.2.10:4500\", \"encryption\": 20, \"key_bits\": 128,\n" +
			"             \"key\": \"hexadecimal\", \"salt\": \"hexadecimal\"}, ...]}\n\n" +
			"encryption and integrity are IANA's numbers of IKEv2 transforms; with an integrity\n" +
			"comes its \"integrity_key\". Ports of 0 are ESP without UDP. An inbound SA has\n" +
			"\"window\" (packets), both may have \"esn\", \"sequence\" (the last number used),\n" +
			"\"transport\", \"protocol\" (51 is AH) and \"local\" (the prefixes behind the gateway).\n" +
			"\"agent\" is where the node's agent\n" +
			"listens (port 0 is ICMP); it then needs \"update_key\" and \"tokens\"\n" +
			"({\"number\": 1, \"key\": ...}), of 32 octets or more, unless \"token_algorithm\" is\n" +
			"\"hmac-sha1\", RFC 4067's.\n" +
			"\"groups\" are what the node listens to ({\"prefix\": \"2001:db8:1::/64\", \"group\":\n" +
			"\"ff1e::1234\"}, the prefix being of the link); a session may have these and no SAs.\n" +
			"Without \"session\" the id is drawn. It is printed.",
		Action: install,
	}
}

// readDocument reads one JSON document, and says in which line it is wrong.
func readDocument(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	if err == nil {
		if _, err = decoder.Token(); err == io.EOF {
			return nil
		}
		err = errors.New("there is something behind the session: a file has one")
	}
	at := decoder.InputOffset()
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("it is empty")
	case errors.Is(err, io.ErrUnexpectedEOF):
		at, err = int64(len(text)), errors.New("it ends too early")
	case errors.As(err, &syntax):
		at = syntax.Offset
	case errors.As(err, &wrong) && wrong.Field == "":
		at, err = wrong.Offset, fmt.Errorf("it is a JSON %s, and not an object", wrong.Value)
	case errors.As(err, &wrong):
		at, err = wrong.Offset, fmt.Errorf("%s cannot be a JSON %s", wrong.Field, wrong.Value)
	default:
		err = errors.New(strings.TrimPrefix(err.Error(), "json: "))
	}
	return fmt.Errorf("line %d: %w", 1+bytes.Count(text[:min(at, int64(len(text)))], []byte("\n")), err)
}

func install(c *urfave.Context) error {
	if c.NArg() != 1 {
		return usagef("install takes one file; cxtp install --help shows what is in it")
	}
	path := c.Args().First()
	text, err := readPrivate(path)
	if err != nil {
		return err
	}
	defer clear(text)
	var session control.NewSession
	if err := readDocument(text, &session); err != nil {
		return fmt.Errorf("failed to read %s: %w; cxtp install --help shows what is in it", path, err)
	}
	if session.Session.IsZero() {
		rand.Read(session.Session[:])
	}
	client := dial(c)
	if err := client.AddSession(c.Context, session); err != nil {
		return err
	}
	if c.Bool("json") {
		return printJSON(c, control.Result{Session: session.Session})
	}
	_, err = fmt.Fprintln(c.App.Writer, session.Session)
	return err
}
