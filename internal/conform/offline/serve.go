package offline

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// Serve answers the questions that come in, a line each, until there are no more. It
// is the other end of a [Program]. What is no question is answered as unsupported.
func Serve(ctx context.Context, subject Subject, in io.Reader, out io.Writer) error {
	lines := bufio.NewReaderSize(in, maxLine)
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	for {
		line, err := lines.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF) && len(line) == 0:
			return nil
		case err != nil && !errors.Is(err, io.EOF):
			return fmt.Errorf("failed to read a question: %w", err)
		}
		if err := encoder.Encode(reply(ctx, subject, line)); err != nil {
			return fmt.Errorf("failed to write an answer: %w", err)
		}
	}
}

// reply answers a line.
func reply(ctx context.Context, subject Subject, line []byte) Answer {
	var r Request
	if err := strictly(line, &r); err != nil {
		return Answer{ID: r.ID, Unsupported: "this is no question: " + err.Error()}
	}
	a, err := subject.Ask(ctx, r)
	if err != nil {
		a = Answer{Error: err.Error()}
	}
	a.ID = r.ID
	return a
}
