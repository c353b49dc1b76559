package offline_test

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/internal/conform/offline"
)

// TestDocument has our codec answer the questions of the example in the page for
// implementers as the page says.
func TestDocument(t *testing.T) {
	page, err := os.ReadFile("../../../doc/conformance.md")
	if err != nil {
		t.Fatal(err)
	}
	var questions, answers strings.Builder
	for line := range strings.Lines(string(page)) {
		if question, ok := strings.CutPrefix(line, "    Q "); ok {
			questions.WriteString(question)
		} else if answer, ok := strings.CutPrefix(line, "    A "); ok {
			answers.WriteString(answer)
		}
	}
	var got bytes.Buffer
	if err := offline.Serve(t.Context(), offline.Own{}, strings.NewReader(questions.String()), &got); err != nil {
		t.Fatal(err)
	}
	if want := answers.String(); want == "" || got.String() != want {
		t.Errorf("answered\n%s, the page has\n%s", got.String(), want)
	}
}

// TestServeLongLine: a line without end is refused, and not kept.
func TestServeLongLine(t *testing.T) {
	var out bytes.Buffer
	err := offline.Serve(t.Context(), offline.Own{}, strings.NewReader(strings.Repeat("x", 1<<20)), &out)
	if err == nil || out.Len() > 0 {
		t.Errorf("answered %q: %v", out.String(), err)
	}
}

// FuzzServe: whatever is asked, there is an answer to each line, and it is one.
func FuzzServe(f *testing.F) {
	page, err := os.ReadFile("../../../doc/conformance.md")
	if err != nil {
		f.Fatal(err)
	}
	for line := range strings.Lines(string(page)) {
		if question, ok := strings.CutPrefix(line, "    Q "); ok {
			f.Add(question)
		}
	}
	f.Fuzz(func(t *testing.T, line string) {
		line = strings.ReplaceAll(line, "\n", " ") + "\n"
		var out bytes.Buffer
		if err := offline.Serve(t.Context(), offline.Own{}, strings.NewReader(line), &out); err != nil {
			t.Fatal(err)
		}
		var a offline.Answer
		if err := json.Unmarshal(out.Bytes(), &a); err != nil || strings.Count(out.String(), "\n") != 1 {
			t.Errorf("answered %q: %v", out.String(), err)
		}
	})
}
