package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/capture"
	"github.com/cxtp/cxtp/internal/harden"
)

// captureFlags are those of decode that go with a capture.
func captureFlags() []urfave.Flag {
	return []urfave.Flag{
		&urfave.StringFlag{Name: "pcap", Usage: "show the messages in a capture `FILE`, pcap or pcapng; - is standard input"},
		&urfave.StringFlag{Name: "keylog", Usage: "`FILE` that a router wrote its connections' secrets to"},
		&urfave.UintSliceFlag{Name: "router-port", Value: urfave.NewUintSlice(capture.DefaultRouterPort), Usage: "UDP and SCTP `port` between routers; may be repeated"},
		&urfave.UintSliceFlag{Name: "node-port", Value: urfave.NewUintSlice(capture.DefaultNodePort), Usage: "UDP `port` for nodes; may be repeated"},
	}
}

// noCapture refuses flags that go with a capture.
func noCapture(c *urfave.Context) error {
	for _, flag := range captureFlags() {
		if name := flag.Names()[0]; c.IsSet(name) {
			return usagef("--%s belongs to --pcap FILE", name)
		}
	}
	return nil
}

// decodeCapture shows the messages of a capture as they come, and says at the
// end what else there was. It has failed if the capture cannot be read to its
// end or a message is damaged; not where secrets are missing.
func decodeCapture(c *urfave.Context) error {
	if c.Args().Present() {
		return usagef("decode takes a message or --pcap FILE, not both")
	}
	options, err := captureOptions(c)
	if err != nil {
		return err
	}
	if path := c.String("keylog"); path != "" {
		if _, err := harden.Process(); err != nil {
			return err
		}
		if options.KeyLog, err = openKeyLog(path); err != nil {
			return err
		}
		defer options.KeyLog.Wipe()
	}
	input := io.NopCloser(c.App.Reader)
	if path := c.String("pcap"); path != "-" {
		if input, err = os.Open(path); err != nil {
			return fmt.Errorf("failed to open the capture: %w", err)
		}
	}
	defer input.Close()

	damaged := 0
	summary, err := capture.Read(untilDone{c.Context, input}, options, func(m capture.Message) error {
		shown := describeCaptured(c, m)
		if shown.Error != nil {
			damaged++
		}
		return shown.print(c)
	})
	for _, sentence := range summary.Sentences() {
		fmt.Fprintln(c.App.ErrWriter, sentence)
	}
	if err == nil && damaged > 0 {
		err = fmt.Errorf("failed to decode %d of %d messages", damaged, summary.RouterMessages+summary.NodeMessages)
	}
	return err
}

// untilDone reads until ctx ends.
type untilDone struct {
	ctx context.Context
	io.Reader
}

func (u untilDone) Read(b []byte) (int, error) {
	if err := u.ctx.Err(); err != nil {
		return 0, err
	}
	return u.Reader.Read(b)
}

func openKeyLog(path string) (*capture.KeyLog, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("failed to open the key log: %w", err)
	}
	defer file.Close()
	return capture.ReadKeyLog(file)
}

func captureOptions(c *urfave.Context) (options capture.Options, err error) {
	if options.RouterPorts, err = portsOf(c, "router-port"); err != nil {
		return options, err
	}
	if options.NodePorts, err = portsOf(c, "node-port"); err != nil {
		return options, err
	}
	for _, port := range options.NodePorts {
		if slices.Contains(options.RouterPorts, port) {
			return options, usagef("port %d cannot be for routers and nodes", port)
		}
	}
	return options, nil
}

func portsOf(c *urfave.Context, flag string) (ports []uint16, err error) {
	for _, port := range c.UintSlice(flag) {
		if port == 0 || port > math.MaxUint16 {
			return nil, usagef("--%s %d is no port", flag, port)
		}
		ports = append(ports, uint16(port))
	}
	return ports, nil
}

// captured is the JSON document of a message in a capture.
type captured struct {
	Packet uint64 `json:"packet"` // the number of the packet that completed it, from 1
	Time   string `json:"time,omitempty"`
	From   string `json:"from"` // an address and a port; by ICMP, an address
	To     string `json:"to"`
	Link   string `json:"link"` // "router" or "node"
	Type   string `json:"type"`
	Length int    `json:"length"` // octets
	decoded

	damage error // what Error is made of
}

func describeCaptured(c *urfave.Context, m capture.Message) captured {
	shown := captured{
		Packet: m.Packet, From: endpointText(m.From), To: endpointText(m.To), Link: m.Link.String(),
		Type: "no message", Length: len(m.Octets),
	}
	if !m.Time.IsZero() {
		shown.Time = m.Time.UTC().Format(time.RFC3339Nano)
	}
	if len(m.Octets) > 0 {
		shown.Type = cxtp.Type(m.Octets[0] & 0x1f).String()
	}
	shown.decoded, shown.damage = describe(c, m.Octets)
	return shown
}

// print writes a line of JSON; or a line that says when and where the message
// was, its fields, and an empty line.
func (m captured) print(c *urfave.Context) error {
	if c.Bool("json") {
		return printJSONLine(c, m)
	}
	fmt.Fprintf(c.App.Writer, "%s %s > %s %s, %d octets (%s link, packet %d)\n",
		cmp.Or(m.Time, "-"), m.From, m.To, m.Type, m.Length, m.Link, m.Packet)
	if err := printFieldTable(c, m.Fields); err != nil {
		return err
	}
	if m.damage != nil {
		fmt.Fprintln(c.App.Writer, "damaged:", m.damage)
	}
	if _, err := fmt.Fprintln(c.App.Writer); err != nil {
		return fmt.Errorf("failed to write the result: %w", err)
	}
	return nil
}

// printJSONLine writes one document of many.
func printJSONLine(c *urfave.Context, v any) error {
	encoder := json.NewEncoder(c.App.Writer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return fmt.Errorf("failed to write the result: %w", err)
	}
	return nil
}
