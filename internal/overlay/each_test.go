package overlay

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestEach: each mutant has a folder of its own, as many are tried at once as may be,
// and nothing is left of any.
func TestEach(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	names := []string{"a", "b", "c", "d"}
	together := make(chan struct{})
	tried := make([]string, len(names))
	err := Each(t.Context(), names, 2, func(_ context.Context, i int, work string) (string, error) {
		if i < 2 { // these two wait for each other
			select {
			case together <- struct{}{}:
			case <-together:
			}
		}
		tried[i] = filepath.Base(work)
		return "", os.WriteFile(filepath.Join(work, "program"), nil, 0o600)
	})
	if got := strings.Join(tried, ""); err != nil || got != "abcd" {
		t.Errorf("tried %q, error %v", got, err)
	}
	if left, err := os.ReadDir(os.Getenv("TMPDIR")); err != nil || len(left) > 0 {
		t.Errorf("%v is left, error %v", left, err)
	}
}

// TestEachEnds: an error names the mutant, and ends the others.
func TestEachEnds(t *testing.T) {
	broken := errors.New("broken")
	err := Each(t.Context(), []string{"a", "b"}, 2, func(ctx context.Context, i int, _ string) (string, error) {
		if i == 1 {
			return "", broken
		}
		<-ctx.Done()
		return "", ctx.Err()
	})
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), "try b:") {
		t.Errorf("error %v", err)
	}
}
