package demo

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"os/signal"

	"github.com/urfave/cli/v2"

	"github.com/cxtp/cxtp/internal/config"
	"github.com/cxtp/cxtp/internal/daemon"
)

// The roles in which the demo starts its own program again.
const (
	gatewayRole = "demo-gateway"
	steerRole   = "demo-steer"
)

// HiddenCommands are the roles that [Command] starts its own program in again:
// a gateway, the steering hook of one, and what runs in a guest. They are not for people.
func HiddenCommands() []*cli.Command {
	return append(guestCommands(), []*cli.Command{
		{
			Name: gatewayRole, Hidden: true, Usage: "a gateway of the demo, until standard input ends",
			Flags: []cli.Flag{
				&cli.StringFlag{Name: "config", Required: true},
				&cli.StringFlag{Name: "break"},
				&cli.StringFlag{Name: "clear"},
			},
			Action: func(c *cli.Context) error {
				return runGateway(c.Context, c.String("config"), Break(c.String("break")), c.String("clear"))
			},
		},
		{
			Name: steerRole, Hidden: true, Usage: "the steering hook of the demo's gateways",
			Flags:  []cli.Flag{&cli.StringFlag{Name: "socket", Required: true}},
			Action: func(c *cli.Context) error { return steerHook(c.String("socket")) },
		},
	}...)
}

// runGateway is a gateway's process. It ends with its standard input, and so
// with the demo, however that ends; an interrupt from the terminal is the
// demo's to act on.
func runGateway(ctx context.Context, file string, b Break, unprotected string) error {
	signal.Ignore(os.Interrupt)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	f := &fuse{burn: die}
	go func() {
		defer cancel()
		if err := f.obey(os.Stdin, func() { fmt.Println(litLine) }); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	cfg, err := config.Load(file)
	if err != nil {
		return err
	}
	opts := daemon.Options{
		Log:         slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
		Ready:       func() { fmt.Println(readyLine) },
		WrapFeature: sabotage(b),
		Trace:       f.step,
	}
	if b == BreakPolicy {
		if opts.Bypass, err = netip.ParseAddrPort(unprotected); err != nil {
			return fmt.Errorf("failed to read --clear: %w", err)
		}
	}
	return daemon.Run(ctx, cfg, opts)
}
