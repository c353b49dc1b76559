package cli

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

// TestHelpFits: no help is wider than a terminal, files shown in it are not broken up,
// and no word of a description is lost.
func TestHelpFits(t *testing.T) {
	for _, c := range newApp("1", Streams{}, nil).Commands {
		var out, errs bytes.Buffer
		if code := Run(t.Context(), []string{"cxtp", c.Name, "--help"}, "1", Streams{Out: &out, Err: &errs}); code != exitDone || errs.Len() > 0 {
			t.Errorf("%s: status %d, %s", c.Name, code, &errs)
		}
		for line := range strings.Lines(out.String()) {
			if len(line) > helpWidth+1 {
				t.Errorf("%s: %d columns: %s", c.Name, len(line)-1, line)
			}
		}
		for line := range strings.Lines(c.Description) {
			if strings.ContainsAny(line, "={") && line[0] == ' ' && !strings.Contains(out.String(), line) {
				t.Errorf("%s: an example is broken up: %s", c.Name, line)
			}
		}
		if text := strings.Fields(out.String()); !containsAll(text, strings.Fields(c.Description)) {
			t.Errorf("%s: the description is not whole:\n%s", c.Name, &out)
		}
	}
}

// containsAll reports whether the words are there, one behind the other.
func containsAll(text, words []string) bool {
	for i := range text {
		if i+len(words) <= len(text) && slices.Equal(text[i:i+len(words)], words) {
			return true
		}
	}
	return false
}

func TestWrapped(t *testing.T) {
	long := strings.Repeat("word ", 20)
	for _, test := range []struct{ line, second string }{
		{"   " + long, "   word"},
		{"   --flag value  " + long, strings.Repeat(" ", 17) + "word"},
		{"      3  " + long, "         word"},
	} {
		lines := strings.Split(wrapped(test.line), "\n")
		if len(lines) != 2 || len(lines[0]) > helpWidth || !strings.HasPrefix(lines[1], test.second) {
			t.Errorf("%q", lines)
		}
	}
	if one := strings.Repeat("x", 100); wrapped(one) != one || wrapped("") != "" {
		t.Error("a word is broken up")
	}
	if got := flowing("a\nb\n\n   c\n   d\ne\nf"); got != "a b\n\n   c\n   d\ne f" {
		t.Errorf("%q", got)
	}
}
