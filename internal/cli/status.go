package cli

import (
	"fmt"
	"maps"
	"slices"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/cxtp/cxtp/ikectx"
	"github.com/cxtp/cxtp/internal/control"
)

func statusCommand() *urfave.Command {
	return &urfave.Command{
		Name:   "status",
		Usage:  "show a daemon at a glance: its peers and what it counts",
		Before: noArguments,
		Action: func(c *urfave.Context) error {
			client := dial(c)
			status, err := client.Status(c.Context)
			switch {
			case err != nil:
				return err
			case c.Bool("json"):
				return printJSON(c, status)
			}
			return printStatus(c, status)
		},
	}
}

func printStatus(c *urfave.Context, s control.Status) error {
	rows := []string{
		row("router", s.Router),
		row("version", s.Version),
		row("started", s.Started.Local().Format(time.DateTime)),
		row("sessions", s.Sessions),
	}
	if !s.Drained.IsZero() {
		rows = append(rows, row("drained", "since "+s.Drained.Local().Format(time.DateTime)+": it takes no sessions; cxtp undrain ends that"))
	}
	for _, p := range s.Peers {
		state := "down"
		if p.Up {
			state = "up"
		}
		text := fmt.Sprintf("%s at %s, %d messages sent, %d received", state, p.Endpoint, p.Sent, p.Received)
		if p.Error != "" {
			text += ": " + p.Error
		}
		rows = append(rows, row("peer "+string(p.Peer), text))
	}
	if s.IKE != nil {
		rows = append(rows, row(s.IKE.Program, daemonLine(s.IKE)))
	}
	for _, note := range s.Notes {
		rows = append(rows, row("note", note))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Counters)) {
		rows = append(rows, row(name, s.Counters[name]))
	}
	return printTable(c, rows)
}

// daemonLine is an IKE daemon in a line.
func daemonLine(d *ikectx.ViewDaemon) string {
	text := "not seen yet"
	if d.Release != "" {
		text = d.Release + ", " + d.Protocol
		if !d.Since.IsZero() {
			text += ", since " + d.Since.Local().Format(time.DateTime)
		}
		text += fmt.Sprintf(", %d clients", d.Clients)
		if d.Reserved > 0 {
			text += fmt.Sprintf(", %d inner addresses reserved for clients elsewhere", d.Reserved)
		}
	}
	if d.Problem != "" {
		text += "; no client can be moved: " + d.Problem
	}
	return text
}
