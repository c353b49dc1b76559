package offline

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
)

const (
	// maxLine bounds a line of the protocol, in octets. The longest message has
	// 65,535 octets, two digits each.
	maxLine = 256 << 10
	// maxSilent is how many questions in a row a program may leave unanswered, each
	// for the whole timeout, before it is not asked any more.
	maxSilent = 3
	// maxTold is how much of what a program says on standard error is kept, in octets.
	maxTold = 4096
	// grace is how long a program has to end when its standard input does.
	grace = time.Second
)

// Program is an implementation behind the line protocol. It runs from the first
// question on, and is started again after it has died, or has answered something
// that is no answer. It is not for concurrent use.
type Program struct {
	argv    []string
	timeout time.Duration // for one answer
	running *child        // nil = not running
	silent  int           // questions in a row without an answer in time
	why     error         // of the last of them
}

// NewProgram is a program with its arguments, which has timeout for each answer.
// It is started by the first question.
func NewProgram(timeout time.Duration, argv ...string) *Program {
	return &Program{argv: argv, timeout: timeout}
}

// Ask implements [Subject]. Whatever the program does instead of answering is an
// error that says so, and comes within the timeout.
func (p *Program) Ask(ctx context.Context, r Request) (Answer, error) {
	if p.silent >= maxSilent {
		return Answer{}, fmt.Errorf("not asked, after %d questions in a row that had no answer, the last because: %w", p.silent, p.why)
	}
	a, err := p.ask(ctx, r)
	if err != nil {
		p.stop()
	}
	if errors.Is(err, errSilent) {
		p.silent, p.why = p.silent+1, err
	} else {
		p.silent = 0
	}
	return a, err
}

// errSilent says that no answer comes, and that waiting for it took its time.
var errSilent = errors.New("no answer")

func (p *Program) ask(ctx context.Context, r Request) (Answer, error) {
	if p.running == nil {
		c, err := start(p.argv)
		if err != nil {
			return Answer{}, fmt.Errorf("%w: failed to start the program: %w", errSilent, err)
		}
		p.running = c
	}
	p.running.asked++
	r.ID = p.running.asked
	line, err := json.Marshal(r)
	if err != nil {
		return Answer{}, fmt.Errorf("failed to write the question: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	line, err = p.running.exchange(ctx, append(line, '\n'))
	if errors.Is(err, context.DeadlineExceeded) {
		return Answer{}, fmt.Errorf("%w in %v", errSilent, p.timeout)
	}
	if err != nil {
		return Answer{}, err
	}
	return parseAnswer(line, r.ID)
}

// parseAnswer reads a line that should answer the question id.
func parseAnswer(line []byte, id int) (Answer, error) {
	var a Answer
	if err := strictly(line, &a); err != nil {
		return Answer{}, fmt.Errorf("the answer cannot be read: %w: %s", err, quote(string(line)))
	}
	if a.ID != id {
		return Answer{}, fmt.Errorf("the answer is to question %d, asked was %d", a.ID, id)
	}
	return a, nil
}

// strictly reads one JSON object without fields that there are not.
func strictly(line []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(line))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(into); err != nil {
		return err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return errors.New("more follows the object")
	}
	return nil
}

// Close ends the program: its standard input ends, and if that does not end it in a
// second, it is killed.
func (p *Program) Close() {
	c := p.running
	if c == nil {
		return
	}
	p.running = nil
	c.in.Close()
	kill := time.AfterFunc(grace, func() { c.cmd.Process.Kill() })
	defer kill.Stop()
	c.cmd.Wait()
}

// stop kills the program.
func (p *Program) stop() {
	if p.running != nil {
		p.running.kill()
		p.running = nil
	}
}

// child is the program while it runs.
type child struct {
	cmd   *exec.Cmd
	in    io.WriteCloser
	out   *bufio.Reader
	told  tail
	asked int
}

func start(argv []string) (*child, error) {
	if len(argv) == 0 {
		return nil, errors.New("no program is named")
	}
	c := &child{cmd: exec.Command(argv[0], argv[1:]...)}
	c.cmd.Stderr = &c.told
	c.cmd.WaitDelay = grace
	in, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.in, c.out = in, bufio.NewReaderSize(out, maxLine)
	return c, c.cmd.Start()
}

// exchange sends a line and waits for one. Where ctx ends before, the program is
// killed.
func (c *child) exchange(ctx context.Context, line []byte) ([]byte, error) {
	var answer []byte
	done := make(chan error, 1)
	go func() {
		_, writing := c.in.Write(line)
		var reading error
		answer, reading = c.out.ReadSlice('\n')
		if reading != nil && writing != nil {
			reading = writing
		}
		done <- reading
	}()
	select {
	case <-ctx.Done():
		c.kill()
		<-done
		return nil, ctx.Err()
	case err := <-done:
		return answer, c.explain(err, len(answer))
	}
}

// explain says what has ended the reading of a line.
func (c *child) explain(err error, read int) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, bufio.ErrBufferFull):
		return fmt.Errorf("the answer is a line of more than %d octets", maxLine)
	}
	ended := c.kill()
	what := "without an answer"
	if read > 0 {
		what = "in the middle of an answer"
	}
	text := fmt.Sprintf("the program ended %s", what)
	if ended != nil {
		text += ": " + ended.Error()
	}
	if last := c.told.last(); last != "" {
		text += "; it said " + quote(last)
	}
	return errors.New(text)
}

// kill ends the program, if it has not ended, and says how it did.
func (c *child) kill() error {
	c.in.Close()
	c.cmd.Process.Kill()
	return c.cmd.Wait()
}

// tail keeps the last octets that are written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p[max(0, len(p)-maxTold):]...)
	t.text = append(t.text[:0], t.text[max(0, len(t.text)-maxTold):]...)
	return len(p), nil
}

// last is the last line.
func (t *tail) last() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(string(t.text)), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
