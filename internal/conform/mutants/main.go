// Command mutants shows that the cases of the conformance kit see what they are for: it
// breaks our own daemon, one demand of RFC 4067 after another, runs the live cases that
// name the demand's row against it, and prints whether they fail. What no router shows
// it breaks in our codec, which is asked about the vectors then.
//
//	go run ./internal/conform/mutants [-run NAME]
//
// The mutants are a table in table_*.go: the text of the daemon or its codec, the
// text that breaks the demand, and the rows that have to catch it. Nothing in the
// tree is changed: the compiler is given the mutated file in place of the real one.
//
// It fails when a mutant's text is not in its file exactly once any more, when a case
// fails against the daemon as it is, and when a mutant survives.
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
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *only); err != nil {
		fmt.Fprintln(os.Stderr, "mutants:", err)
		os.Exit(1)
	}
}

// atOnce is how many mutants are built and probed at one time. Most of the time they
// wait for what must not come.
const atOnce = 4

func run(ctx context.Context, only string) error {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("failed to read -run: %w", err)
	}
	dir, err := overlay.Dir(ctx, "-m")
	if err != nil {
		return err
	}
	chosen, names := []mutant{whole}, []string{whole.name}
	for _, m := range mutants() {
		if wanted.MatchString(m.name) {
			chosen = append(chosen, m)
			names = append(names, m.name)
		}
	}
	results := make([]result, len(chosen))
	err = overlay.Each(ctx, names, atOnce, func(ctx context.Context, i int, work string) (string, error) {
		begin := time.Now()
		r, err := bench{dir: dir, work: work}.try(ctx, chosen[i])
		r.took = time.Since(begin)
		results[i] = r
		return r.short(), err
	})
	if err != nil {
		return err
	}
	return judge(results)
}

// judge prints the table, a line for each row of each mutant, and fails for what is
// not as it should be.
func judge(results []result) error {
	out := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(out, "ROW\tMUTANT\tCAUGHT BY\tSECONDS")
	var wrong []string
	tried, caught := 0, 0
	for _, r := range results {
		for _, row := range r.mutant.rows {
			fmt.Fprintf(out, "rfc4067-%s\t%s\t%s\t%.1f\n", row, r.mutant.name, r.by(row), r.took.Seconds())
		}
		why := r.wrong()
		if why != "" {
			wrong = append(wrong, r.mutant.name+": "+why)
		}
		if len(r.mutant.rows) > 0 {
			tried++
			if why == "" {
				caught++
			}
		}
	}
	fmt.Fprintf(out, "%d of %d mutants caught\n", caught, tried)
	if err := out.Flush(); err != nil {
		return fmt.Errorf("failed to print the table: %w", err)
	}
	if len(wrong) > 0 {
		return fmt.Errorf("%d of %d are not as they should be:\n%s", len(wrong), len(results), strings.Join(wrong, "\n"))
	}
	return nil
}
