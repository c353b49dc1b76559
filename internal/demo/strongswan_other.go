//go:build !linux

package demo

import "github.com/urfave/cli/v2"

// Init does nothing: there are no guests here.
func Init() {}

func strongSwan(*cli.Context) error {
	return cli.Exit("demo: --strongswan needs Linux, with Debian's user-mode-linux and strongSwan", exitUsage)
}

func guestCommands() []*cli.Command { return nil }
