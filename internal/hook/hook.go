// Package hook runs the operator's program that steers traffic.
//
// When a node has moved, the network has to send its downlink to the new
// gateway. How that is done is the operator's: a route, a BGP announcement, a
// call to a controller. The daemon runs a program for it and takes its exit
// status for the answer: 0 means that the node's inner addresses are now
// routed to this gateway, anything else, or no answer in time, that they may
// not be.
//
// The program is run directly, never through a shell. Its environment has PATH
// and these variables, and nothing else from the daemon's:
//
//	CXTP_ACTION   "steer"
//	CXTP_SESSION  the session's id, 32 hexadecimal digits
//	CXTP_EPOCH    the move's epoch, decimal
//	CXTP_NODE     the node's previous address, which names it in RFC 4067
//	CXTP_INNER    the inner prefixes to route here, separated by spaces
//	CXTP_GATEWAY  the name of this router
//	CXTP_FROM     the name of the router that had the session
//	CXTP_INSIDE   the inside endpoint of this router's gateway, address:port
//
// Steering the same session twice has to do no harm: after a restart, the
// daemon asks again. The program may leave a process behind when it succeeds,
// but that process should not keep the output open.
package hook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"github.com/cxtp/cxtp/cxtp"
)

const (
	// maxOutput is how much of the program's output an Error keeps, in octets.
	maxOutput = 4 << 10

	// outputDelay is how long the output may stay open after the program's end.
	outputDelay = 100 * time.Millisecond

	// defaultPath stands in for an absent PATH.
	defaultPath = "/usr/sbin:/usr/bin:/sbin:/bin"
)

// Command is a program and its arguments. A program without a slash is looked
// up in PATH.
type Command []string

// Error says how a hook failed.
type Error struct {
	Program  string
	ExitCode int    // -1: did not start, or ended by a signal
	Output   string // standard output and error, the first 4 KiB

	// Err is context.DeadlineExceeded after the timeout, the context's error
	// when that ended first, and otherwise what the operating system reported.
	Err error
}

func (e *Error) Error() string {
	var what string
	switch {
	case errors.Is(e.Err, context.DeadlineExceeded):
		what = "took too long and was killed: make it faster, or raise steering.timeout"
	case e.ExitCode >= 0:
		what = fmt.Sprintf("exited with status %d", e.ExitCode)
	default:
		what = "failed: " + e.Err.Error()
	}
	if output := strings.TrimSpace(e.Output); output != "" {
		what += fmt.Sprintf("; it said %q", output)
	}
	return fmt.Sprintf("the steering hook %s %s", e.Program, what)
}

func (e *Error) Unwrap() error { return e.Err }

// Environment returns the variables for a steering, for the router self whose
// gateway has the inside endpoint given.
func Environment(s cxtp.Steer, self cxtp.RouterID, inside netip.AddrPort) map[string]string {
	inner := make([]string, len(s.Inner))
	for i, p := range s.Inner {
		inner[i] = p.String()
	}
	return map[string]string{
		"CXTP_ACTION":  "steer",
		"CXTP_SESSION": s.Session.String(),
		"CXTP_EPOCH":   strconv.FormatUint(uint64(s.Epoch), 10),
		"CXTP_NODE":    s.Previous.String(),
		"CXTP_INNER":   strings.Join(inner, " "),
		"CXTP_GATEWAY": string(self),
		"CXTP_FROM":    string(s.From),
		"CXTP_INSIDE":  inside.String(),
	}
}

// Run runs the command and returns nil when it exits with status 0, and an
// [*Error] otherwise. When ctx or the timeout ends first, the program and what
// it started, unless that left its process group, are killed. An empty command
// is nothing to do.
func Run(ctx context.Context, command Command, timeout time.Duration, env map[string]string) error {
	if len(command) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()

	var out output
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = environ(env)
	cmd.Stdout, cmd.Stderr = &out, &out
	cmd.WaitDelay = outputDelay
	inGroup(cmd)

	err := cmd.Run()
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return nil // exit status 0, though its output may still be open
	}
	failed := &Error{Program: command[0], ExitCode: -1, Output: out.kept.String(), Err: err}
	if cmd.ProcessState != nil {
		failed.ExitCode = cmd.ProcessState.ExitCode()
	}
	if failed.ExitCode < 0 && ctx.Err() != nil {
		failed.Err = ctx.Err()
	}
	return failed
}

// environ is the program's whole environment.
func environ(env map[string]string) []string {
	path := os.Getenv("PATH")
	if path == "" {
		path = defaultPath
	}
	list := []string{"PATH=" + path}
	for name, value := range env {
		list = append(list, name+"="+value)
	}
	return list
}

// output keeps the first octets written to it and discards the rest. It does
// not embed the buffer, whose ReadFrom would take everything.
type output struct{ kept bytes.Buffer }

func (o *output) Write(b []byte) (int, error) {
	o.kept.Write(b[:min(len(b), maxOutput-o.kept.Len())])
	return len(b), nil
}
