// Command cxtpd is the access-router and security-gateway daemon: it holds the
// IPsec sessions of mobile nodes and hands them to other gateways.
//
//	cxtpd -config /etc/cxtpd.toml
//	cxtpd -config /etc/cxtpd.toml -check
//	cxtpd -reference > cxtpd.toml
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/cxtp/cxtp/internal/config"
	"github.com/cxtp/cxtp/internal/daemon"
	"github.com/cxtp/cxtp/internal/harden"
)

func main() {
	path := flag.String("config", "/etc/cxtpd.toml", "configuration `file`")
	check := flag.Bool("check", false, "check the configuration, read its certificates, and exit")
	reference := flag.Bool("reference", false, "print a commented reference configuration and exit")
	version := flag.Bool("version", false, "print the version and exit")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "cxtpd: unexpected argument %q: the configuration is named with -config\n", flag.Arg(0))
		os.Exit(2)
	}
	switch {
	case *version:
		fmt.Println("cxtpd", daemon.Version)
	case *reference:
		if _, err := fmt.Print(config.Reference()); err != nil {
			fmt.Fprintln(os.Stderr, "cxtpd: failed to write the reference:", err)
			os.Exit(1)
		}
	default:
		if err := run(*path, *check); err != nil {
			fmt.Fprintln(os.Stderr, "cxtpd:", err)
			os.Exit(1)
		}
	}
}

func run(path string, check bool) error {
	cfg, err := config.Load(path)
	if err != nil {
		return err
	}
	if check {
		return daemon.Check(cfg)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	locked, err := harden.Process()
	if err != nil {
		return err
	}
	if !locked {
		log.Warn("memory is not locked, so keys may be swapped out: raise RLIMIT_MEMLOCK to unlimited, or encrypt the swap")
	}
	return daemon.Run(ctx, cfg, daemon.Options{Log: log, Ready: func() {
		log.Info("ready", "router", cfg.Name, "control", cfg.Control)
	}})
}
