// Package cli is the command cxtp: what an operator asks of a daemon, the agent
// of a mobile node, and a decoder for messages.
//
// Results go to standard output, as text or, with --json, as JSON; progress and
// errors go to standard error. The exit status is 0 when what was asked for was
// done, 1 when it was not, and 2 when the command line makes no sense, about
// which a single sentence is said.
package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"text/tabwriter"

	urfave "github.com/urfave/cli/v2"

	"github.com/cxtp/cxtp/internal/control"
)

// DefaultSocket is where cxtpd listens unless it is told otherwise.
const DefaultSocket = "/run/cxtpd/control.sock"

// Exit statuses.
const (
	exitDone = iota
	exitFailed
	exitUsage
	exitUnknown // no such session or node
	exitRefused
	exitBusy
	exitSilent // no answer in time
	exitUntold // the node would be left behind
)

// Streams are what a run of the command reads and writes.
type Streams struct {
	In       io.Reader
	Out, Err io.Writer
}

// Run runs the command line, whose first element is the program's name, until
// it is done or ctx ends, and returns the exit status. The commands in more are
// offered too.
func Run(ctx context.Context, args []string, version string, streams Streams, more ...*urfave.Command) int {
	app := newApp(version, streams, more)
	err := app.RunContext(ctx, flagsAnywhere(app, args))
	var usage *usageError
	var coded urfave.ExitCoder // a command of more that knows its status
	var known *codedError
	var refusal *control.Refusal
	switch {
	case err == nil:
		return exitDone
	case errors.As(err, &usage):
		fmt.Fprintln(streams.Err, "cxtp:", err)
		return exitUsage
	case errors.Is(err, context.Canceled):
		fmt.Fprintln(streams.Err, "cxtp: interrupted")
	case errors.As(err, &known):
		fmt.Fprintln(streams.Err, "cxtp:", err)
		return known.code
	case errors.As(err, &refusal) && refusal.Code == http.StatusNotFound:
		fmt.Fprintln(streams.Err, "cxtp:", err)
		return exitUnknown
	case errors.As(err, &coded):
		fmt.Fprintln(streams.Err, "cxtp:", err)
		return coded.ExitCode()
	default:
		fmt.Fprintln(streams.Err, "cxtp:", err)
	}
	return exitFailed
}

func newApp(version string, streams Streams, more []*urfave.Command) *urfave.App {
	app := &urfave.App{
		Name:            "cxtp",
		Usage:           "hand IPsec sessions from one security gateway to another (RFC 4067)",
		Version:         version,
		Reader:          streams.In,
		Writer:          streams.Out,
		ErrWriter:       streams.Err,
		HideHelpCommand: true,
		ExitErrHandler:  func(*urfave.Context, error) {}, // Run decides
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "socket", EnvVars: []string{"CXTP_SOCKET"}, Value: DefaultSocket, Usage: "cxtpd's control `socket`"},
			&urfave.BoolFlag{Name: "json", Usage: "write JSON"},
		},
		Commands: append([]*urfave.Command{
			statusCommand(), sessionsCommand(), installCommand(), handoverCommand(), checkCommand(), drainCommand(), undrainCommand(), standbyCommand(), rekeyCommand(), resolveCommand(), nodeCommand(), decodeCommand(), conformCommand(),
		}, more...),
	}
	var names []string
	for _, c := range app.Commands {
		c.HideHelpCommand = true
		c.OnUsageError = misused
		c.Description = flowing(c.Description)
		if !c.Hidden {
			names = append(names, c.Name)
		}
	}
	app.OnUsageError = misused
	app.Action = func(c *urfave.Context) error {
		if c.Args().Present() {
			return usagef("there is no command %q; there are %s", c.Args().First(), strings.Join(names, ", "))
		}
		return usagef("name a command: %s; cxtp --help says more", strings.Join(names, ", "))
	}
	return app
}

// usageError is a command line that makes no sense.
type usageError struct{ why string }

func (e *usageError) Error() string { return e.why }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Sprintf(format, args...)}
}

// misused makes a usageError of what the flag parser says.
func misused(c *urfave.Context, err error, _ bool) error {
	return usagef("%s; %s --help lists the flags", err, c.Command.HelpName)
}

// noArguments refuses arguments of a command that has none.
func noArguments(c *urfave.Context) error {
	if c.Args().Present() {
		return usagef("%s takes no arguments, got %q", c.Command.HelpName, c.Args().First())
	}
	return nil
}

// dial is a client of the daemon that the flags name.
func dial(c *urfave.Context) *control.Client { return control.Dial(c.String("socket")) }

// printJSON writes one document.
func printJSON(c *urfave.Context, v any) error {
	encoder := json.NewEncoder(c.App.Writer)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(v); err != nil {
		return fmt.Errorf("failed to write the result: %w", err)
	}
	return nil
}

// printTable writes rows of cells that tabs separate.
func printTable(c *urfave.Context, rows []string) error { return printTableWith(c, rows, nil) }

// printTableWith writes rows of cells that tabs separate, and below some of them,
// by their index, lines of another form.
func printTableWith(c *urfave.Context, rows []string, below map[int][]string) error {
	var table, text bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(w, row)
	}
	w.Flush()
	i := 0
	for line := range bytes.Lines(table.Bytes()) {
		text.Write(bytes.TrimRight(line, " \n"))
		text.WriteByte('\n')
		for _, more := range below[i] {
			fmt.Fprintln(&text, more)
		}
		i++
	}
	if _, err := text.WriteTo(c.App.Writer); err != nil {
		return fmt.Errorf("failed to write the result: %w", err)
	}
	return nil
}

// row is one row of a table.
func row(cells ...any) string {
	texts := make([]string, len(cells))
	for i, cell := range cells {
		texts[i] = strings.ReplaceAll(fmt.Sprint(cell), "\n", "; ")
	}
	return strings.Join(texts, "\t")
}
