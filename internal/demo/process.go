package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cxtp/cxtp/internal/control"
)

// process is a gateway's process.
type process struct {
	name   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	errors tail
	ready  chan struct{} // closed when the gateway has said so
	lit    chan struct{} // it has lit its fuse, and will die
	ended  chan struct{} // closed when the process is gone

	doomed atomic.Bool          // its end is no failure
	last   []control.TraceEvent // of one that died: its last steps; once ended is closed
}

const (
	startTimeout = 15 * time.Second
	stopTimeout  = 5 * time.Second
)

// startProcess starts the program in a role. The pipe to its standard input is
// what keeps it alive.
func startProcess(name, program string, args ...string) (*process, error) {
	p := &process{
		name: name, cmd: exec.Command(program, args...),
		ready: make(chan struct{}), lit: make(chan struct{}, 1), ended: make(chan struct{}),
	}
	p.cmd.Stderr = &p.errors
	var err error
	if p.stdin, err = p.cmd.StdinPipe(); err != nil {
		return nil, fmt.Errorf("failed to start %s: %w", name, err)
	}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, fmt.Errorf("failed to start %s: %w", name, err)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("failed to start %s: %w", name, err)
	}
	go func() {
		defer close(p.ended)
		p.listen(stdout)
		p.cmd.Wait()
	}()
	return p, nil
}

// maxLine bounds what a gateway may print in a line, in octets.
const maxLine = 1 << 20

// listen takes what the gateway prints.
func (p *process) listen(stdout io.Reader) {
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		switch line := lines.Text(); {
		case line == readyLine:
			close(p.ready)
		case line == litLine:
			p.lit <- struct{}{}
		case strings.HasPrefix(line, lastLine):
			json.Unmarshal([]byte(line[len(lastLine):]), &p.last) // what is missing is missing in a ladder
		}
	}
}

// doom lets the gateway die at a point of a session's move, from when it
// returns on.
func (p *process) doom(ctx context.Context, o order) error {
	text, err := json.Marshal(o)
	if err != nil {
		return fmt.Errorf("failed to tell %s where to die: %w", p.name, err)
	}
	p.doomed.Store(true)
	if _, err := p.stdin.Write(append(text, '\n')); err != nil {
		return fmt.Errorf("failed to tell %s where to die: %w", p.name, err)
	}
	return p.await(ctx, p.lit, "ready to die")
}

// waitReady waits until the gateway listens.
func (p *process) waitReady(ctx context.Context) error { return p.await(ctx, p.ready, "ready") }

// await waits for something that the gateway says.
func (p *process) await(ctx context.Context, said <-chan struct{}, what string) error {
	timeout := time.NewTimer(startTimeout)
	defer timeout.Stop()
	select {
	case <-said:
		return nil
	case <-p.ended:
		return p.failure()
	case <-ctx.Done():
		return ctx.Err()
	case <-timeout.C:
		return fmt.Errorf("%s is not %s after %v: %s", p.name, what, startTimeout, p.errors.text())
	}
}

// failure says why a process has ended that should not have.
func (p *process) failure() error {
	why := p.errors.text()
	if why == "" {
		why = p.cmd.ProcessState.String()
	}
	return &gatewayError{p.name, why}
}

// gatewayError is a gateway that ended by itself.
type gatewayError struct{ name, why string }

func (e *gatewayError) Error() string { return "gateway " + e.name + " ended: " + e.why }

// portTaken reports whether a gateway found one of its ports in use.
func portTaken(err error) bool {
	var g *gatewayError
	return errors.As(err, &g) && strings.Contains(g.why, "address already in use")
}

// stop ends the process: by force, which is an error, if it has to be.
func (p *process) stop() error {
	p.stdin.Close()
	timeout := time.NewTimer(stopTimeout)
	defer timeout.Stop()
	select {
	case <-p.ended:
		return nil
	case <-timeout.C:
	}
	p.cmd.Process.Kill()
	<-p.ended
	return fmt.Errorf("gateway %s did not end within %v and was killed", p.name, stopTimeout)
}

// tail keeps the last of what is written to it.
type tail struct {
	mu   sync.Mutex
	kept []byte
}

const tailSize = 4 << 10

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.kept = append(t.kept, b...)
	if extra := len(t.kept) - tailSize; extra > 0 {
		t.kept = append(t.kept[:0], t.kept[extra:]...)
	}
	return len(b), nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(string(t.kept))
}
