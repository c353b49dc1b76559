// Command cxtp is the operator's tool of cxtpd, and the agent of a mobile node.
//
//	cxtp status
//	cxtp sessions
//	cxtp handover SESSION --to sg2
//	cxtp mn --config node.toml
//	cxtp decode 2080000c c000020a c0000201
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/cxtp/cxtp/internal/cli"
	"github.com/cxtp/cxtp/internal/daemon"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := cli.Run(ctx, os.Args, daemon.Version, cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr})
	stop()
	os.Exit(code)
}
