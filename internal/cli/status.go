package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/internal/control"
)

func statusCommand() *urfave.Command {
	return &urfave.Command{
		Name:   "status",
		Usage:  "show a daemon at a glance: its peers and what it counts",
		Before: noArguments,
		Action: func(c *urfave.Context) error {
			client := dial(c)
			defer client.Close()
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
	for _, note := range s.Notes {
		rows = append(rows, row("note", note))
	}
	for _, name := range slices.Sorted(maps.Keys(s.Counters)) {
		rows = append(rows, row(name, s.Counters[name]))
	}
	return printTable(c, rows)
}

func sessionsCommand() *urfave.Command {
	return &urfave.Command{
		Name:   "sessions",
		Usage:  "list the sessions that a daemon knows",
		Before: noArguments,
		Action: func(c *urfave.Context) error {
			client := dial(c)
			defer client.Close()
			sessions, err := client.Sessions(c.Context)
			switch {
			case err != nil:
				return err
			case c.Bool("json") && sessions == nil:
				return printJSON(c, []cxtp.View{})
			case c.Bool("json"):
				return printJSON(c, sessions)
			}
			rows := []string{row("SESSION", "NODE", "STATE", "EPOCH", "PEER", "IDENTITY", "INNER", "WHY")}
			for _, s := range sessions {
				inner := make([]string, len(s.Inner))
				for i, prefix := range s.Inner {
					inner[i] = prefix.String()
				}
				rows = append(rows, row(s.Session, s.Previous, s.State, s.Epoch, s.Peer, s.Identity, strings.Join(inner, ","), s.Why))
			}
			return printTable(c, rows)
		},
	}
}
