//go:build linux

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// perGuest is how many tests of a package one guest has when several run at once: few
// enough that none is long behind the others, so many that it is not booted for nothing.
const perGuest = 8

// testPackage is a package by its import path and folder.
type testPackage struct{ path, dir string }

// share is tests of a package, for one guest.
type share struct {
	testPackage
	binary string
	run    string // the expression that names them; empty = all
}

// prepare builds the packages' tests, in a folder, and hands them out.
func (o options) prepare(ctx context.Context, scratch string, shares chan<- share) error {
	packages, err := list(ctx, o.packages)
	if err != nil {
		return err
	}
	for i, p := range packages {
		binary := filepath.Join(scratch, fmt.Sprintf("%d.test", i))
		if err := build(ctx, binary, p.path); err != nil {
			return err
		}
		if _, err := os.Stat(binary); err != nil {
			fmt.Printf("?   \t%s\t[no test files]\n", p.path)
			continue
		}
		parts, err := o.split(ctx, share{p, binary, o.run})
		if err != nil {
			return err
		}
		for _, s := range parts {
			select {
			case shares <- s:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
	}
	return nil
}

// split shares a package's tests among guests, if several run at once. Benchmarks stay
// together.
func (o options) split(ctx context.Context, whole share) ([]share, error) {
	if o.guests == 1 || o.bench != "" {
		return []share{whole}, nil
	}
	tests, _, _ := strings.Cut(whole.run, "/")
	if tests == "" {
		tests = "." // none would run them here
	}
	out, err := exec.CommandContext(ctx, whole.binary, "-test.list="+tests).Output()
	if err != nil {
		return nil, fmt.Errorf("failed to list the tests of %s: %w", whole.path, err)
	}
	return whole.parts(string(out)), nil
}

// parts are the shares that a list of names, one a line, is cut into.
func (s share) parts(list string) (parts []share) {
	var names []string
	for name := range strings.Lines(list) {
		if !strings.HasPrefix(name, "Benchmark") {
			names = append(names, strings.TrimSpace(name))
		}
	}
	if len(names) <= perGuest {
		return []share{s}
	}
	_, within, inTests := strings.Cut(s.run, "/")
	for some := range slices.Chunk(names, perGuest) {
		part := s
		if part.run = theseTests(some); inTests {
			part.run += "/" + within
		}
		parts = append(parts, part)
	}
	return parts
}

// theseTests is the expression that names tests and no others.
func theseTests(names []string) string { return "^(" + strings.Join(names, "|") + ")$" }

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
