package offline_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/internal/conform"
	"github.com/cxtp/cxtp/internal/conform/offline"
	"github.com/cxtp/cxtp/testvectors"
)

func casesOf(t *testing.T, subject offline.Subject) []conform.Case {
	t.Helper()
	cases, err := offline.Cases(subject)
	if err != nil {
		t.Fatal(err)
	}
	return cases
}

// TestOwn holds our codec against all vectors.
func TestOwn(t *testing.T) {
	seen := map[string]bool{}
	for _, c := range casesOf(t, offline.Own{}) {
		if f := c.Run(t.Context()); f.Verdict != conform.Passed {
			t.Errorf("%s: %s: %s; expected: %s", c.Name, f.Verdict, f.Detail, c.Expect)
		}
		if seen[c.Name] {
			t.Errorf("two cases are called %q", c.Name)
		}
		seen[c.Name] = true
	}
}

// subject answers as a function does.
type subject func(offline.Request) (offline.Answer, error)

func (s subject) Ask(_ context.Context, r offline.Request) (offline.Answer, error) { return s(r) }

// changed is our codec, whose every answer is changed.
func changed(change func(*offline.Answer)) subject {
	return func(r offline.Request) (offline.Answer, error) {
		a, err := offline.Own{}.Ask(context.Background(), r)
		change(&a)
		return a, err
	}
}

// TestWrongAnswers has our codec give wrong answers, in one way after another: no
// case passes.
func TestWrongAnswers(t *testing.T) {
	for name, wrong := range map[string]subject{
		"nothing":   func(r offline.Request) (offline.Answer, error) { return offline.Answer{ID: r.ID}, nil },
		"no answer": func(offline.Request) (offline.Answer, error) { return offline.Answer{}, errors.New("it has died") },
		"changed": changed(func(a *offline.Answer) {
			switch {
			case a.Hex != "":
				a.Hex = flipped(a.Hex)
			case a.Token != "":
				a.Token = flipped(a.Token)
			case a.Valid != nil:
				*a.Valid = !*a.Valid
			case a.Message != nil:
				a.Message.Previous = "192.0.2.99"
			case a.Refused == testvectors.LayerContext:
				a.Refused = testvectors.LayerMessage
			case a.Refused != "":
				a.Refused = testvectors.LayerContext
			}
		}),
		"refuses all, accepts all": changed(func(a *offline.Answer) {
			if a.Refused == "" {
				*a = offline.Answer{Refused: testvectors.LayerMessage}
			} else {
				*a = offline.Answer{Hex: "00"}
			}
		}),
		"no hexadecimal": changed(func(a *offline.Answer) {
			*a = offline.Answer{Hex: "0g", Token: "0g"}
		}),
	} {
		for _, c := range casesOf(t, wrong) {
			if f := c.Run(t.Context()); f.Verdict != conform.Failed {
				t.Errorf("%s: %s: %s %s", name, c.Name, f.Verdict, f.Detail)
			}
		}
	}
}

// flipped changes the last octet of digits.
func flipped(digits string) string {
	if strings.HasSuffix(digits, "00") {
		return digits[:len(digits)-2] + "01"
	}
	return digits[:len(digits)-2] + "00"
}

func TestUnsupported(t *testing.T) {
	nothing := subject(func(offline.Request) (offline.Answer, error) {
		return offline.Answer{Unsupported: "not written yet"}, nil
	})
	for _, c := range casesOf(t, nothing) {
		if f := c.Run(t.Context()); f.Verdict != conform.NotRun || !strings.Contains(f.Detail, "not written yet") {
			t.Errorf("%s: %s %s", c.Name, f.Verdict, f.Detail)
		}
	}
}
