package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// tally is how far a drain has come, in sessions.
type tally struct{ moved, failed, busy, total int }

func (t tally) String() string {
	text := fmt.Sprintf("%d of %d moved", t.moved, t.total)
	if t.failed > 0 {
		text += fmt.Sprintf(", %d not", t.failed)
	}
	if t.busy > 0 {
		text += fmt.Sprintf(", %d busy", t.busy)
	}
	return text
}

// meter shows how far long work has come: on a terminal in one line that changes,
// elsewhere a line every tenth.
type meter struct {
	out      io.Writer
	terminal bool
	tenth    int
	shown    bool
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}

func (m *meter) show(t tally) {
	done := t.moved + t.failed
	tenth := 10 * done / t.total
	switch {
	case m.terminal:
		const width = 30
		const erase = "\x1b[K" // what is left of a longer line
		bar := strings.Repeat("#", width*done/t.total)
		fmt.Fprintf(m.out, "\r[%-*s] %s%s", width, bar, t, erase)
		m.shown = true
	case tenth > m.tenth:
		m.tenth = tenth
		fmt.Fprintln(m.out, t)
	}
}

// end leaves the line.
func (m *meter) end(t tally) {
	if m.shown {
		m.show(t)
		fmt.Fprintln(m.out)
	}
}
