//go:build linux

// Command run runs the lab tests of packages, those with the build tag lab, in
// User-Mode Linux guests, one guest a package:
//
//	go run ./lab/run ./lab ./ipsecctx/xfrm/...
//	go run ./lab/run -run Handover -full ./lab
//
// It prints what the tests print. Exit status: that of the first guest that
// failed, 124 when it died; 2 when nothing could be run.
//
// With -guests, several run at once, and share the tests of a package that has many;
// what they print comes when each has ended.
//
// A guest has one processor, and time goes on while the machine has none for it. With
// -again, tests that failed get another guest to themselves; what failed is printed all
// the same. A law that was broken is broken.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/cxtp/cxtp/lab/uml"
)

const (
	statusUsage       = 2
	statusInterrupted = 130 // as shells count an interrupt
)

// options are what the command line says.
type options struct {
	run, bench string
	full       bool
	verbose    bool
	again      bool
	guests     int
	count      int
	memory     int
	timeout    time.Duration
	keep       string
	packages   []string
}

func main() {
	uml.Init()
	var o options
	flag.StringVar(&o.run, "run", "", "run only the tests that match this `expression`")
	flag.StringVar(&o.bench, "bench", "", "run the benchmarks that match this `expression` too")
	flag.BoolVar(&o.full, "full", false, "run every case of the matrices, not only pairs of their values")
	flag.BoolVar(&o.verbose, "v", false, "name every test")
	flag.BoolVar(&o.again, "again", false, "run the tests that failed once more, in another guest")
	flag.IntVar(&o.guests, "guests", 1, "`how many` run at once")
	flag.IntVar(&o.count, "count", 1, "run each test so `often`")
	flag.IntVar(&o.memory, "memory", uml.DefaultMemory, "of a guest, in `MiB`")
	flag.DurationVar(&o.timeout, "timeout", 0, "of a package's tests (default 10m; with -full 3h)")
	flag.StringVar(&o.keep, "keep", "", "leave in this `folder` what the tests write to $LAB_RESULTS")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: go run ./lab/run [flags] PACKAGE...")
		flag.PrintDefaults()
	}
	flag.Parse()
	o.packages = flag.Args()
	if len(o.packages) == 0 || o.guests < 1 {
		flag.Usage()
		os.Exit(statusUsage)
	}
	if o.timeout == 0 {
		o.timeout = 10 * time.Minute
		if o.full {
			o.timeout = 3 * time.Hour
		}
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	status, err := run(ctx, o)
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case interrupted:
		status = statusInterrupted
	case err != nil:
		fmt.Fprintln(os.Stderr, "lab:", err)
		status = statusUsage
	}
	os.Exit(status)
}

// run runs the packages' tests and returns the first status that is not 0.
func run(ctx context.Context, o options) (int, error) {
	scratch, err := os.MkdirTemp("", "cxtp-lab-build-")
	if err != nil {
		return 0, fmt.Errorf("failed to make a folder for the test binaries: %w", err)
	}
	defer os.RemoveAll(scratch)
	all, ctx := errgroup.WithContext(ctx)
	shares := make(chan share)
	all.Go(func() error {
		defer close(shares)
		return o.prepare(ctx, scratch, shares)
	})
	var out report
	for range o.guests {
		all.Go(func() error {
			for s := range shares {
				if err := o.try(ctx, s, &out); err != nil {
					return err
				}
			}
			return nil
		})
	}
	err = all.Wait()
	fmt.Print(out.failed.String())
	return out.status, err
}

// try runs a share of the tests, and once more those of them that failed if that is
// asked for.
func (o options) try(ctx context.Context, s share, out *report) error {
	result, err := o.boot(ctx, s, out)
	if err != nil {
		return err
	}
	var failed strings.Builder
	if result.Status != 0 {
		fmt.Fprintf(&failed, "\nin %s:\n%s", s.path, failures(result.Output))
	}
	if names := disturbed(result); o.again && names != nil {
		s.run = theseTests(names)
		fmt.Fprintf(&failed, "once more: %s\n", strings.Join(names, ", "))
		if result, err = o.boot(ctx, s, out); err != nil {
			return err
		}
		fmt.Fprintf(&failed, "status %d now\n%s", result.Status, failures(result.Output))
	}
	out.end(result.Status, failed.String())
	return keep(o.keep, s.path, result.Files)
}

// boot runs a share of the tests in a guest and prints how that ended.
func (o options) boot(ctx context.Context, s share, out *report) (uml.Result, error) {
	start := time.Now()
	job := o.job(s)
	if o.guests == 1 {
		job.Output = os.Stdout
	}
	result, err := uml.Run(ctx, job)
	if err != nil {
		return uml.Result{}, fmt.Errorf("failed to run %s: %w", s.path, err)
	}
	verdict := "ok  "
	if result.Status != 0 {
		verdict = "FAIL"
	}
	verdict = fmt.Sprintf("%s\t%s\t%.1fs with boot, status %d\n", verdict, s.path, time.Since(start).Seconds(), result.Status)
	if job.Output == nil {
		verdict = string(result.Output) + verdict
	}
	out.print(verdict)
	return result, nil
}

// job is a share of the tests for a guest.
func (o options) job(s share) uml.Job {
	args := []string{"-test.timeout=" + o.timeout.String(), fmt.Sprintf("-test.count=%d", o.count)}
	if s.run != "" {
		args = append(args, "-test.run="+s.run)
	}
	if o.bench != "" {
		args = append(args, "-test.bench="+o.bench, "-test.benchmem")
	}
	if o.verbose {
		args = append(args, "-test.v")
	}
	job := uml.Job{
		Binary: s.binary, Args: args, Dir: s.dir, Memory: o.memory,
		// Time to boot, and for the tests' own timeout to say where they hang.
		Timeout: o.timeout + time.Minute,
	}
	if o.full {
		job.Env = append(job.Env, "LAB_FULL=1")
	}
	return job
}
