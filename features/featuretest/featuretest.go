// Package featuretest has what the tests of features do alike: refs, the statuses of
// refusals, operations that are repeated, and the memory of a fake backend.
package featuretest

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/cxtp/cxtp/cxtp"
	"github.com/cxtp/cxtp/features"
)

// Ref is an epoch of the one session that there is.
func Ref(epoch cxtp.Epoch) features.Ref {
	return features.Ref{Session: cxtp.SessionID{7}, Epoch: epoch}
}

// Status is the status of a refusal, StatusOK of success, StatusInternal of another
// error.
func Status(err error) cxtp.Status {
	var refusal *features.Error
	switch {
	case err == nil:
		return cxtp.StatusOK
	case errors.As(err, &refusal):
		return refusal.Status
	}
	return cxtp.StatusInternal
}

// Twice does what a router asks for again, and ends the test if it fails.
func Twice(t testing.TB, name string, op func() error) {
	t.Helper()
	for range 2 {
		if err := op(); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
}

// Calls are what a fake backend is asked. They are safe for concurrent use.
type Calls struct {
	Err error // what each of them comes to

	mu   sync.Mutex
	made []string
}

// Call is one, in words.
func (c *Calls) Call(format string, args ...any) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made = append(c.made, fmt.Sprintf(format, args...))
	return c.Err
}

// Since gives the calls since the last time.
func (c *Calls) Since() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	made := c.made
	c.made = nil
	return made
}
