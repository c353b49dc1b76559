package route

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// ledger is the file of what is forwarded: one line for each that began or ended,
// in JSON; one without a peer has ended. It holds across boots, as the sessions at the other gateways do. A line
// that was lost with the machine's power costs a node its way until the next move.
type ledger struct {
	path  string
	file  *os.File
	lines int
}

// deadLines is how many lines a file may have for nothing, beside as many as it
// has for something, before it is written anew.
const deadLines = 1024

// openLedger reads what was forwarded, and writes the file anew. A last line that
// was not finished does not count.
func openLedger(path string) (*ledger, map[string]Forward, error) {
	live := map[string]Forward{}
	text, err := os.ReadFile(path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, fmt.Errorf("failed to read what is forwarded: %w", err)
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	for i, one := range lines[:len(lines)-1] {
		var fw Forward
		if err := json.Unmarshal(one, &fw); err != nil {
			return nil, nil, fmt.Errorf("somebody has changed %s, remove it to forward nothing: line %d: %w", path, i+1, err)
		}
		if fw.To == "" {
			delete(live, fw.ID)
		} else {
			live[fw.ID] = fw
		}
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, nil, fmt.Errorf("failed to make the folder of what is forwarded: %w", err)
	}
	l := &ledger{path: path}
	return l, live, l.rewrite(live)
}

// rewrite writes the file anew and leaves it open. A crash leaves the old file, or
// the new.
func (l *ledger) rewrite(live map[string]Forward) error {
	var text bytes.Buffer
	lines := json.NewEncoder(&text)
	for _, fw := range live {
		if err := lines.Encode(fw); err != nil {
			return err
		}
	}
	draft := l.path + ".new"
	err := os.WriteFile(draft, text.Bytes(), 0o600)
	if err == nil {
		err = os.Rename(draft, l.path)
	}
	var file *os.File
	if err == nil {
		file, err = os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND, 0)
	}
	if err != nil {
		return fmt.Errorf("failed to write down what is forwarded: %w", err)
	}
	if l.file != nil {
		l.file.Close()
	}
	l.file, l.lines = file, len(live)
	return nil
}

// add writes down that a forward has begun or ended; live are those that there are
// now. What a failure has left of a line is taken away again.
func (l *ledger) add(fw Forward, live map[string]Forward) error {
	text, err := json.Marshal(fw)
	if err == nil {
		var n int
		if n, err = l.file.Write(append(text, '\n')); err != nil && n > 0 {
			if info, failed := l.file.Stat(); failed == nil {
				err = errors.Join(err, l.file.Truncate(info.Size()-int64(n)))
			}
		}
	}
	if err != nil {
		return fmt.Errorf("failed to write down what is forwarded: %w", err)
	}
	l.lines++
	if l.lines <= 2*len(live)+deadLines {
		return nil
	}
	return l.rewrite(live)
}

func (l *ledger) close() error { return l.file.Close() }
