package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// process is a gateway's process.
type process struct {
	name   string
	cmd    *exec.Cmd
	stdin  io.WriteCloser
	errors tail
	ready  chan struct{} // closed when the gateway has said so
	ended  chan struct{} // closed when the process is gone
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
		ready: make(chan struct{}), ended: make(chan struct{}),
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
		for lines := bufio.NewScanner(stdout); lines.Scan(); {
			if lines.Text() == readyLine {
				close(p.ready)
			}
		}
		p.cmd.Wait()
	}()
	return p, nil
}

// waitReady waits until the gateway listens.
func (p *process) waitReady(ctx context.Context) error {
	timeout := time.NewTimer(startTimeout)
	defer timeout.Stop()
	select {
	case <-p.ready:
		return nil
	case <-p.ended:
		return p.failure()
	case <-ctx.Done():
		return ctx.Err()
	case <-timeout.C:
		return fmt.Errorf("%s is not ready after %v: %s", p.name, startTimeout, p.errors.text())
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
