package overlay

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"golang.org/x/sync/errgroup"
)

// Each tries mutants by their names, which are all different, at most atOnce at a
// time. Each has a folder to build in, which is empty at first and gone afterwards.
// What try says of one in a few words is for those who wait, on standard error. The
// first error ends all.
func Each(ctx context.Context, names []string, atOnce int, try func(ctx context.Context, i int, work string) (short string, err error)) error {
	all, err := os.MkdirTemp("", "mutants")
	if err != nil {
		return fmt.Errorf("failed to make a folder to build in: %w", err)
	}
	defer os.RemoveAll(all)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(atOnce)
	for i, name := range names {
		group.Go(func() error {
			work := filepath.Join(all, name)
			defer os.RemoveAll(work)
			err := os.Mkdir(work, 0o755)
			var short string
			if err == nil {
				short, err = try(ctx, i, work)
			}
			if err != nil {
				return fmt.Errorf("failed to try %s: %w", name, err)
			}
			fmt.Fprintf(os.Stderr, "%-32s %s\n", name, short)
			return nil
		})
	}
	return group.Wait()
}
