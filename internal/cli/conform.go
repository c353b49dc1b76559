package cli

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	urfave "github.com/urfave/cli/v2"

	"github.com/cxtp/cxtp/internal/conform"
	"github.com/cxtp/cxtp/internal/conform/offline"
	"github.com/cxtp/cxtp/testvectors"
)

func conformCommand() *urfave.Command {
	return &urfave.Command{
		Name:      "conform",
		Usage:     "check an implementation of RFC 4067, requirement by requirement",
		UsageText: "cxtp conform [--command 'PROGRAM ARGS' | --live FILE] [--section SECTION]... [--strict] [--junit FILE]",
		Description: "With --command, another implementation's codec is held against the test vectors: the\n" +
			"program is asked on its standard input and answers on its standard output, a line of\n" +
			"JSON each (doc/conformance.md). Its words are separated by white space, without\n" +
			"quoting. Without --command, this program's own codec is asked. --vectors takes the\n" +
			"vectors from files, in place of those that are built in.\n\n" +
			"With --live the router that FILE describes is spoken to, as its neighbour and as\n" +
			"mobile nodes of its own. It transfers their contexts, so never use one that others\n" +
			"need. FILE, which only its owner may read, has keys.\n\n" +
			"The status is 1 if anything that binds fails, or nothing could be run; a SHOULD\n" +
			"binds with --strict only. It is 2 if no case is of the sections asked for.\n" +
			"doc/conformance.md has the rest.",
		Flags: []urfave.Flag{
			&urfave.StringFlag{Name: "command", Usage: "ask the `program`, given with its arguments"},
			&urfave.DurationFlag{Name: "timeout", Value: 5 * time.Second, Usage: "how long the program may take for an answer"},
			&urfave.StringSliceFlag{Name: "vectors", Usage: "take the vectors in `FILE` instead"},
			&urfave.BoolFlag{Name: "serve", Hidden: true, Usage: "answer with this program's codec, as --command wants it"},
			&urfave.StringFlag{Name: "live", Usage: "speak to the router that `FILE` describes (TOML)"},
			&urfave.StringSliceFlag{Name: "section", Usage: "only cases of the `section`: 2.5.1 of RFC 4067, control-profile/2, a row's id; with those below it"},
			&urfave.BoolFlag{Name: "strict", Usage: "a SHOULD that is not met fails, too"},
			&urfave.StringFlag{Name: "junit", Usage: "write the results as JUnit XML to `FILE` as well"},
		},
		Before: noArguments,
		Action: runConform,
	}
}

func runConform(c *urfave.Context) error {
	command := strings.Fields(c.String("command"))
	chosen := 0
	for _, half := range []string{"command", "live", "serve"} {
		if c.IsSet(half) {
			chosen++
		}
	}
	switch {
	case chosen > 1:
		return usagef("--command, --live and --serve are three different things: choose one")
	case c.IsSet("vectors") && (c.IsSet("live") || c.IsSet("serve")):
		return usagef("--vectors are for --command, or for this program's own codec")
	case c.IsSet("command") && len(command) == 0:
		return usagef("--command names no program")
	case c.Duration("timeout") <= 0:
		return usagef("--timeout is how long to wait: it cannot be %v", c.Duration("timeout"))
	case c.IsSet("live"):
		return conformLive(c, c.String("live"))
	case c.Bool("serve"):
		return offline.Serve(c.Context, offline.Own{}, c.App.Reader, c.App.Writer)
	case len(command) > 0:
		program := offline.NewProgram(c.Duration("timeout"), command...)
		defer program.Close()
		return conformVectors(c, strings.Join(command, " "), program)
	}
	return conformVectors(c, "the codec of this program", offline.Own{})
}

// conformVectors asks a subject about the vectors.
func conformVectors(c *urfave.Context, name string, subject offline.Subject) error {
	cases, err := vectorCases(subject, c.StringSlice("vectors"))
	if err != nil {
		return err
	}
	return conformCases(c, name, cases, nil)
}

// vectorCases are the cases of the vectors in files, or of all that are built in.
func vectorCases(subject offline.Subject, files []string) ([]conform.Case, error) {
	if len(files) == 0 {
		return offline.Cases(subject)
	}
	var vectors []testvectors.Vector
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("failed to read vectors: %w", err)
		}
		some, err := testvectors.Parse(file, text)
		if err != nil {
			return nil, fmt.Errorf("failed to read vectors: %w", err)
		}
		vectors = append(vectors, some...)
	}
	return offline.CasesOf(subject, vectors)
}

// conformCases runs the cases that the flags choose, and reports. observe may be nil.
func conformCases(c *urfave.Context, subject string, cases []conform.Case, observe func(conform.Result)) error {
	chosen, err := conform.Select(cases, c.StringSlice("section")...)
	if errors.Is(err, conform.ErrNothing) {
		return usagef("%v", err)
	}
	report := conform.Run(c.Context, subject, chosen, c.Bool("strict"), observe)
	write := report.WriteText
	if c.Bool("json") {
		write = report.WriteJSON
	}
	if err := write(c.App.Writer); err != nil {
		return err
	}
	if path := c.String("junit"); path != "" {
		if err := writeJUnit(report, path); err != nil {
			return err
		}
	}
	switch {
	case c.Context.Err() != nil:
		return c.Context.Err()
	case !report.Conforms():
		return fmt.Errorf("%s does not conform: %s", subject, report.Summary())
	}
	return nil
}

func writeJUnit(report conform.Report, path string) error {
	file, err := os.Create(path)
	if err != nil {
		return fmt.Errorf("failed to write the JUnit file: %w", err)
	}
	if err := errors.Join(report.WriteJUnit(file), file.Close()); err != nil {
		return fmt.Errorf("failed to write the JUnit file: %w", err)
	}
	return nil
}
