package demo

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/cxtp/cxtp/lab/show"
)

// Init is to be called first thing in main: where the program is the first process
// of a guest, it runs that, and does not return.
func Init() { show.Init() }

// strongSwan shows stock strongSwan gateways and a client of theirs, on a kernel of
// their own.
func strongSwan(c *cli.Context) error {
	status, err := show.Run(c.Context, c.App.Writer)
	switch {
	case c.Context.Err() != nil:
		return cli.Exit("demo: interrupted", exitInterrupted)
	case err != nil:
		return cli.Exit("demo: "+err.Error(), exitUsage)
	case status != 0:
		return cli.Exit("demo: it did not go as it should", exitBroken)
	}
	return nil
}

// guestCommands are the program's part in the guest.
func guestCommands() []*cli.Command {
	return []*cli.Command{{
		Name: show.Command, Hidden: true, Usage: "the demo with strongSwan, in its guest",
		Action: func(c *cli.Context) error {
			err := show.Guest(c.Context, c.App.Writer, func(file string) []string { return []string{gatewayRole, "--config", file} })
			if err != nil {
				return fmt.Errorf("demo: %w", err)
			}
			return nil
		},
	}}
}
