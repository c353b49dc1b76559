package cli

import (
	"bytes"
	"fmt"
	"io"
	"regexp"
	"strings"

	urfave "github.com/urfave/cli/v2"
)

// helpWidth is that of a terminal that nobody has made wider.
const helpWidth = 80

// The library wraps neither descriptions nor flags, so its text is wrapped here. It is
// the library's variable, and set before anything runs.
func init() {
	urfave.HelpPrinter = func(out io.Writer, template string, data any) {
		var text bytes.Buffer
		urfave.HelpPrinterCustom(&text, template, data, nil)
		for line := range strings.Lines(text.String()) {
			fmt.Fprintln(out, wrapped(strings.TrimRight(line, " \n")))
		}
	}
}

// flowing makes a line of each paragraph of a description. Lines that are indented are
// examples and tables, and stay.
func flowing(description string) string {
	var text strings.Builder
	before := "" // the line before
	for line := range strings.SplitSeq(description, "\n") {
		switch {
		case text.Len() == 0:
		case line == "" || before == "" || line[0] == ' ' || before[0] == ' ':
			text.WriteByte('\n')
		default:
			text.WriteByte(' ')
		}
		text.WriteString(line)
		before = line
	}
	return text.String()
}

// entry is the beginning of a flag's or a table's line, up to what is said of it.
var entry = regexp.MustCompile(`^ +\S+( \S+)*  +`)

// wrapped breaks a line that is too long. What follows stands below its first word, or
// below what is said of an entry.
func wrapped(line string) string {
	words := strings.TrimLeft(line, " ")
	indent := len(line) - len(words)
	if head := entry.FindString(line); head != "" && len(head) < helpWidth-20 {
		indent = len(head)
	}
	text, pad := "", strings.Repeat(" ", indent)
	for len(line) > helpWidth {
		at := strings.LastIndexByte(line[:helpWidth+1], ' ')
		if at <= indent {
			break // one long word
		}
		text += strings.TrimRight(line[:at], " ") + "\n"
		line = pad + line[at+1:]
	}
	return text + line
}
