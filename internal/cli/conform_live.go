package cli

import (
	"fmt"

	urfave "github.com/urfave/cli/v2"

	"github.com/cxtp/cxtp/internal/conform"
	"github.com/cxtp/cxtp/internal/conform/live"
	"github.com/cxtp/cxtp/internal/harden"
)

// conformLive runs the cases against the router that a file describes. They take
// their time, so each is told as it ends.
func conformLive(c *urfave.Context, path string) error {
	text, err := readPrivate(path)
	if err != nil {
		return err
	}
	defer clear(text)
	if _, err := harden.Process(); err != nil {
		return err
	}
	subject, err := live.Parse(path, text)
	if err != nil {
		return err
	}
	prober, err := live.Open(subject)
	if err != nil {
		return err
	}
	defer prober.Close()
	return conformCases(c, subject.Name, live.Cases(prober), func(r conform.Result) {
		fmt.Fprintf(c.App.ErrWriter, "%s: %s\n", r.Name, r.Verdict)
	})
}
