//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"

	"github.com/cxtp/cxtp/lab/uml"
	"github.com/cxtp/cxtp/lab/witness"
)

// report is what the guests have said together.
type report struct {
	mu     sync.Mutex
	status int             // the first that is not 0
	failed strings.Builder // said again at the end, where it is looked for
}

// print prints the words of one guest, not amid those of another.
func (r *report) print(said string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Print(said)
}

// end takes the status of a share of the tests, and what to say again of it.
func (r *report) end(status int, failed string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.status == 0 {
		r.status = status
	}
	r.failed.WriteString(failed)
}

// disturbed names the tests that failed, if that may be the machine's doing: not if a
// law was broken, nor if the tests did not come to their end.
func disturbed(result uml.Result) (names []string) {
	const failed = 1 // as a test binary's status
	if result.Status != failed || bytes.Contains(result.Output, []byte(witness.Broken)) {
		return nil
	}
	for line := range strings.Lines(string(result.Output)) {
		if of, is := strings.CutPrefix(line, "--- FAIL: "); is {
			name, _, _ := strings.Cut(of, " ")
			names = append(names, name)
		}
	}
	return names
}

// outset is how many lines are repeated of a message: it may have a daemon's whole log.
const outset = 12

// message is how a message of a test begins.
var message = regexp.MustCompile(`^ +\w+\.go:\d+: `)

// failures is what a package's tests said when they failed, of each message the outset.
func failures(output []byte) string {
	var said strings.Builder
	inside, lines := false, 0
	for line := range strings.Lines(string(output)) {
		switch told := strings.TrimLeft(line, " \t"); {
		case strings.HasPrefix(told, "--- FAIL"), strings.HasPrefix(told, "panic:"):
			inside, lines = true, 0
		case told == line: // what a test says of itself is indented
			inside = false
		case message.MatchString(line):
			lines = 0
		}
		if lines++; inside && lines <= outset {
			said.WriteString(line)
		}
	}
	return said.String()
}

// keep leaves a package's results in a folder of its own under the one named.
func keep(folder, path string, files map[string][]byte) error {
	if folder == "" {
		return nil
	}
	var failed []error
	for name, content := range files {
		to := filepath.Join(folder, path, name)
		failed = append(failed, os.MkdirAll(filepath.Dir(to), 0o755), os.WriteFile(to, content, 0o600))
	}
	return errors.Join(failed...)
}
