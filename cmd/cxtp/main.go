// Command cxtp is the operator's tool of cxtpd, and the agent of a mobile node.
//
//	cxtp status
//	cxtp sessions
//	cxtp handover SESSION --to sg2
//	cxtp mn --config node.toml
//	cxtp demo
//	cxtp demo --strongswan
//	cxtp decode 22800008 c000020a
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/cxtp/cxtp/internal/cli"
	"github.com/cxtp/cxtp/internal/daemon"
	"github.com/cxtp/cxtp/internal/demo"
)

func main() {
	demo.Init()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	streams := cli.Streams{In: os.Stdin, Out: os.Stdout, Err: os.Stderr}
	code := cli.Run(ctx, os.Args, daemon.Version, streams, append(demo.HiddenCommands(), demo.Command())...)
	stop()
	os.Exit(code)
}
