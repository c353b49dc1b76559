//go:build linux

// Command run runs the lab tests of packages, those with the build tag lab, in
// User-Mode Linux guests, one guest a package:
//
//	go run ./lab/run ./lab ./ipsecctx/xfrm/...
//	go run ./lab/run -run Handover -full ./lab
//
// It prints what the tests print. Exit status: that of the first package that
// failed, 124 when its guest died; 2 when nothing could be run.
//
// A guest has one processor, and time goes on while the machine has none for it. With
// -again, tests that failed get another guest to themselves; what failed is printed all
// the same. A law that was broken is broken.
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/cxtp/cxtp/lab/uml"
	"github.com/cxtp/cxtp/lab/witness"
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
	if len(o.packages) == 0 {
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

// run runs the packages one after the other and returns the first status that
// is not 0.
func run(ctx context.Context, o options) (int, error) {
	packages, err := list(ctx, o.packages)
	if err != nil {
		return 0, err
	}
	scratch, err := os.MkdirTemp("", "cxtp-lab-build-")
	if err != nil {
		return 0, fmt.Errorf("failed to make a folder for the test binaries: %w", err)
	}
	defer os.RemoveAll(scratch)
	status := 0
	var failed strings.Builder // said again at the end, where it is looked for
	for i, p := range packages {
		binary := filepath.Join(scratch, fmt.Sprintf("%d.test", i))
		if err := build(ctx, binary, p.path); err != nil {
			return 0, err
		}
		if _, err := os.Stat(binary); err != nil {
			fmt.Printf("?   \t%s\t[no test files]\n", p.path)
			continue
		}
		result, err := o.boot(ctx, p, binary)
		if err != nil {
			return 0, err
		}
		if result.Status != 0 {
			fmt.Fprintf(&failed, "\nin %s:\n%s", p.path, failures(result.Output))
		}
		if names := disturbed(result); o.again && names != nil {
			once := o
			once.run = "^(" + strings.Join(names, "|") + ")$"
			fmt.Fprintf(&failed, "once more: %s\n", strings.Join(names, ", "))
			if result, err = once.boot(ctx, p, binary); err != nil {
				return 0, err
			}
			fmt.Fprintf(&failed, "status %d now\n%s", result.Status, failures(result.Output))
		}
		if status == 0 {
			status = result.Status
		}
		if err := keep(o.keep, p.path, result.Files); err != nil {
			return 0, err
		}
	}
	fmt.Print(failed.String())
	return status, nil
}

// boot runs a package's tests in a guest and prints how that ended.
func (o options) boot(ctx context.Context, p testPackage, binary string) (uml.Result, error) {
	start := time.Now()
	result, err := uml.Run(ctx, o.job(binary, p.dir))
	if err != nil {
		return uml.Result{}, fmt.Errorf("failed to run %s: %w", p.path, err)
	}
	verdict := "ok  "
	if result.Status != 0 {
		verdict = "FAIL"
	}
	fmt.Printf("%s\t%s\t%.1fs with boot, status %d\n", verdict, p.path, time.Since(start).Seconds(), result.Status)
	return result, nil
}

// disturbed names the tests that failed, if that may be the machine's doing: not if a
// law was broken, nor if the tests did not come to their end.
func disturbed(result uml.Result) (names []string) {
	const failed = 1 // as a test binary's status
	if result.Status != failed || bytes.Contains(result.Output, []byte(witness.Broken)) {
		return nil
	}
	for line := range strings.Lines(string(result.Output)) {
		if of, is := strings.CutPrefix(line, "--- FAIL: "); is {
			name, _, _ := strings.Cut(of, " ")
			names = append(names, name)
		}
	}
	return names
}

// outset is how many lines are repeated of a message: it may have a daemon's whole log.
const outset = 12

// message is how a message of a test begins.
var message = regexp.MustCompile(`^ +\w+\.go:\d+: `)

// failures is what a package's tests said when they failed, of each message the outset.
func failures(output []byte) string {
	var said strings.Builder
	inside, lines := false, 0
	for line := range strings.Lines(string(output)) {
		switch told := strings.TrimLeft(line, " \t"); {
		case strings.HasPrefix(told, "--- FAIL"), strings.HasPrefix(told, "panic:"):
			inside, lines = true, 0
		case told == line: // what a test says of itself is indented
			inside = false
		case message.MatchString(line):
			lines = 0
		}
		if lines++; inside && lines <= outset {
			said.WriteString(line)
		}
	}
	return said.String()
}

// job is a package's test binary in a guest.
func (o options) job(binary, dir string) uml.Job {
	args := []string{"-test.timeout=" + o.timeout.String(), fmt.Sprintf("-test.count=%d", o.count)}
	if o.run != "" {
		args = append(args, "-test.run="+o.run)
	}
	if o.bench != "" {
		args = append(args, "-test.bench="+o.bench, "-test.benchmem")
	}
	if o.verbose {
		args = append(args, "-test.v")
	}
	job := uml.Job{
		Binary: binary, Args: args, Dir: dir, Memory: o.memory, Output: os.Stdout,
		// Time to boot, and for the tests' own timeout to say where they hang.
		Timeout: o.timeout + time.Minute,
	}
	if o.full {
		job.Env = append(job.Env, "LAB_FULL=1")
	}
	return job
}

// testPackage is a package by its import path and folder.
type testPackage struct{ path, dir string }

// list finds the packages that the patterns mean.
func list(ctx context.Context, patterns []string) ([]testPackage, error) {
	out, err := command(ctx, append([]string{"list", "-tags", "lab", "-f", "{{.ImportPath}}\t{{.Dir}}"}, patterns...)...)
	if err != nil {
		return nil, fmt.Errorf("failed to list the packages: %w", err)
	}
	var packages []testPackage
	for line := range strings.Lines(string(out)) {
		path, dir, _ := strings.Cut(strings.TrimSpace(line), "\t")
		packages = append(packages, testPackage{path, dir})
	}
	return packages, nil
}

// build compiles a package's tests; one that has none leaves no binary.
func build(ctx context.Context, binary, path string) error {
	if _, err := command(ctx, "test", "-c", "-tags", "lab", "-o", binary, path); err != nil {
		return fmt.Errorf("failed to build the tests of %s: %w", path, err)
	}
	return nil
}

// command runs the go command for static Linux binaries.
func command(ctx context.Context, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	cmd.Stderr = os.Stderr
	return cmd.Output()
}

// keep leaves a package's results in a folder of its own under the one named.
func keep(folder, path string, files map[string][]byte) error {
	if folder == "" {
		return nil
	}
	var failed []error
	for name, content := range files {
		to := filepath.Join(folder, path, name)
		failed = append(failed, os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, content, 0o600))
	}
	return errors.Join(failed...)
}
