//go:build linux

// Package show is what "cxtp demo --strongswan" shows: two stock strongSwan
// gateways with our daemon beside each, a stock client with traffic, and an operator
// who drains one gateway, and then the other. It runs on a kernel of its own, in a
// User-Mode Linux guest: it needs Debian's packages, and changes nothing.
package show

import (
	"context"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/cxtp/cxtp/lab/uml"
)

// Command is the program's own command that calls [Guest].
const Command = "demo-strongswan"

// Init is to be called first thing in main: see [uml.Init].
func Init() { uml.Init() }

// Run boots the guest, in which this program is run with [Command], and shows what
// it says. It returns the program's status.
func Run(ctx context.Context, out io.Writer) (int, error) {
	self, err := os.Executable()
	if err != nil {
		return 0, fmt.Errorf("failed to find this program to start it in the guest: %w", err)
	}
	const patience = 10 * time.Minute
	result, err := uml.Run(ctx, uml.Job{Binary: self, Args: []string{Command}, Output: out, Timeout: patience})
	return result.Status, err
}
