package demo

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"github.com/urfave/cli/v2"
)

// Exit codes of [Command].
const (
	exitBroken      = 1   // a law was broken, or a move did not come to its end
	exitUsage       = 2   // the demo could not be shown as asked
	exitInterrupted = 130 // as shells count an interrupt
)

// Command is "cxtp demo". It ends early, and cleans up, when its context does.
func Command() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "move a live IPsec session between two gateways on this machine, and check the laws on the wire",
		Description: "Needs no privileges and leaves nothing behind. Exit status: 0 when all laws were kept, 1 when one\n" +
			"was broken, 2 when the demo could not be shown.",
		Flags: []cli.Flag{
			&cli.IntFlag{Name: "moves", Value: DefaultMoves, Usage: "how often the session moves"},
			&cli.IntFlag{Name: "rate", Value: 1000, Usage: "inner packets a second, each way"},
			&cli.BoolFlag{Name: "ipv6", Usage: "IPv6 everywhere: on the loopback interface, and inside"},
			&cli.IntFlag{Name: "port", Usage: fmt.Sprintf("the first of %d UDP ports to use; default: any that are free", Ports)},
			&cli.BoolFlag{Name: "json", Usage: "print one JSON document"},
			&cli.IntFlag{Name: "loss", Usage: fmt.Sprintf("drop this `PERCENT` of CXTP's datagrams, 0 to %d", MaxLoss)},
			&cli.Uint64Flag{Name: "seed", Usage: "what chooses the datagrams that --loss drops; default: random, and printed"},
			&cli.StringSliceFlag{Name: "crash", Usage: "let a gateway die at a `POINT` of a move and come back: " + CrashAll + ", or some of " + pointNames()},
			&cli.BoolFlag{Name: "strongswan", Usage: "two stock strongSwan gateways and a stock client, on a kernel of their own: Debian, with user-mode-linux and strongSwan; takes no other flags"},
			&cli.StringFlag{Name: "break", Usage: "do without a guard and see it fail: " + strings.Join(breaks, ", ")},
		},
		Action: action,
	}
}

func action(c *cli.Context) error {
	switch {
	case c.Bool("strongswan") && (c.NumFlags() > 1 || c.Args().Present()):
		return cli.Exit("demo: --strongswan takes no other flags", exitUsage)
	case c.Bool("strongswan"):
		return strongSwan(c)
	}
	opts := Options{
		Moves: c.Int("moves"), Rate: c.Int("rate"), IPv6: c.Bool("ipv6"), Port: c.Int("port"),
		JSON: c.Bool("json"), Break: Break(c.String("break")), Out: c.App.Writer,
		Loss: c.Int("loss"), Seed: c.Uint64("seed"), Crash: c.StringSlice("crash"),
	}
	if len(opts.Crash) > 0 && !c.IsSet("moves") {
		opts.Moves = 0
	}
	switch {
	case c.IsSet("seed") && opts.Loss == 0:
		return cli.Exit("demo: --seed chooses what --loss drops: write both, or neither", exitUsage)
	case opts.Loss > 0 && !c.IsSet("seed"):
		opts.Seed = uint64(rand.Uint32()) // short enough to be typed
	}
	if c.Args().Present() {
		return cli.Exit(fmt.Sprintf("demo: %q: the demo takes flags only; see cxtp demo --help", c.Args().First()), exitUsage)
	}
	report, err := Run(c.Context, opts)
	switch {
	case c.Context.Err() != nil:
		return cli.Exit("demo: interrupted", exitInterrupted)
	case report == nil:
		return cli.Exit("demo: "+err.Error(), exitUsage)
	}
	if wrote := report.Write(opts.Out, opts.JSON); wrote != nil {
		return cli.Exit(fmt.Sprintf("demo: failed to write the report: %v", wrote), exitUsage)
	}
	switch {
	case !report.Kept:
		return cli.Exit("demo: "+report.Broken[0], exitBroken)
	case err != nil:
		return cli.Exit("demo: "+err.Error(), exitBroken)
	}
	return nil
}
