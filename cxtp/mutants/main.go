// Command mutants shows that the guards of the machines in package cxtp are
// needed, and that the tests would see it if one were missing: it takes away one
// after another, plays the transcripts and random schedules without it, and
// prints which law (rfc/control-profile.md, and the violations of the simulator
// in cxtp/machine_*_test.go) is broken then, and where.
//
//	go run ./cxtp/mutants [-run NAME] [-schedules N]
//
// The guards are a table in guards_*.go: the text of the machine with the guard,
// the text without, and the law that has to catch it. Nothing in the tree is
// changed: the compiler is given the mutated file in place of the real one.
//
// It fails when a guard's text is not in its file exactly once any more, when a
// mutant survives, when only other laws than the one expected are broken, and
// when a guard that is known to be redundant turns out not to be.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cxtp/cxtp/internal/overlay"
)

func main() {
	only := flag.String("run", "", "only the mutants whose name matches this regular expression")
	schedules := flag.Int("schedules", 500, "how many random schedules to play, after the transcripts, while a guard is not missed")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *only, *schedules); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

// atOnce is how many mutants are built and played at one time.
const atOnce = 2

func run(ctx context.Context, only string, schedules int) error {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("failed to read -run: %w", err)
	}
	dir, err := overlay.Dir(ctx, "github.com/cxtp/cxtp/cxtp")
	if err != nil {
		return err
	}
	chosen, names := []mutant{whole}, []string{whole.name}
	for _, m := range guards() {
		if wanted.MatchString(m.name) {
			chosen = append(chosen, m)
			names = append(names, m.name)
		}
	}
	results := make([]result, len(chosen))
	err = overlay.Each(ctx, names, atOnce, func(ctx context.Context, i int, work string) (string, error) {
		begin := time.Now()
		r, err := bench{dir: dir, work: work, schedules: schedules}.try(ctx, chosen[i])
		r.took = time.Since(begin)
		results[i] = r
		return r.short(), err
	})
	if err != nil {
		return err
	}
	return judge(results)
}

// judge prints the table, and fails for what is not as it should be.
func judge(results []result) error {
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "MUTANT\tGUARD\tCAUGHT BY\tSECONDS")
	var wrong []string
	for _, r := range results {
		fmt.Fprintf(out, "%s\t%s\t%s\t%.1f\n", r.mutant.name, r.mutant.guard, r, r.took.Seconds())
		if why := r.wrong(); why != "" {
			wrong = append(wrong, r.mutant.name+": "+why)
		}
	}
	if err := out.Flush(); err != nil {
		return fmt.Errorf("failed to print the table: %w", err)
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%d of %d are not as they should be:\n%s", len(wrong), len(results), strings.Join(wrong, "\n"))
	}
	return nil
}
