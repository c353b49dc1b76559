package conform_test

import (
	"bytes"
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/internal/conform"
	"github.com/cxtp/cxtp/rfc"
)

// found makes a case that comes to a finding.
func found(name, section string, level rfc.Level, f conform.Finding, rows ...string) conform.Case {
	return conform.Case{
		Name: name, Section: section, Level: level, Expect: "the right thing", Rows: rows,
		Run: func(context.Context) conform.Finding { return f },
	}
}

func names(cases []conform.Case) (list []string) {
	for _, c := range cases {
		list = append(list, c.Name)
	}
	return list
}

func TestSelect(t *testing.T) {
	cases := []conform.Case{
		found("a", "RFC 4067 section 2.5.1", rfc.Must, conform.Pass(), "rfc4067-2.5.1-3"),
		found("b", "RFC 4067 section 2.5.10", rfc.Must, conform.Pass()),
		found("c", "RFC 4067 section 2", rfc.Must, conform.Pass()),
		found("d", "control profile section 2", rfc.Must, conform.Pass()),
		found("e", "RFC 4067 appendix B", rfc.Must, conform.Pass()),
		found("f", "authorisation section 4.1", rfc.Must, conform.Pass()),
	}
	for _, c := range []struct {
		sections, want string
	}{
		{"", "a b c d e f"},
		{"2.5.1", "a"},
		{"2.5", "a b"},
		{"2", "a b c"},
		{"rfc4067/2", "a b c"},
		{"rfc4067", "a b c e"},
		{"rfc4067/B", "e"},
		{"control-profile/2", "d"},
		{"authorisation 2.5.10", "b f"},
		{"rfc4067-2.5.1-3", "a"},
		{"2.5.1 rfc4067-2.5.1-3", "a"},
	} {
		chosen, err := conform.Select(cases, strings.Fields(c.sections)...)
		if err != nil || strings.Join(names(chosen), " ") != c.want {
			t.Errorf("%q selects %q (%v), want %s", c.sections, names(chosen), err, c.want)
		}
	}
	for _, section := range []string{"2.5.2", "control-profile/3", "rfc4067-2.5.1", "", ".", "RFC 4067"} {
		if chosen, err := conform.Select(cases, section); !errors.Is(err, conform.ErrNothing) {
			t.Errorf("%q selects %q (%v), want nothing", section, names(chosen), err)
		}
	}
	if _, err := conform.Select(cases, "2.5.1", "9"); !errors.Is(err, conform.ErrNothing) {
		t.Errorf("one of two sections has no case: %v", err)
	}
	if _, err := conform.Select(nil); !errors.Is(err, conform.ErrNothing) {
		t.Errorf("no cases at all: %v", err)
	}
}

func TestConforms(t *testing.T) {
	pass := found("p", "RFC 4067 section 2", rfc.Must, conform.Pass())
	skip := found("s", "RFC 4067 section 2", rfc.Must, conform.Skip("no such thing"))
	fail := func(level rfc.Level) conform.Case {
		return found("f", "RFC 4067 section 2", level, conform.Fail("wrong"))
	}
	for _, c := range []struct {
		name         string
		cases        []conform.Case
		plain        bool
		strict       bool
		countPlain   conform.Count
		strictFailed int
	}{
		{"pass", []conform.Case{pass}, true, true, conform.Count{Passed: 1}, 0},
		{"pass, one not run", []conform.Case{pass, skip}, true, true, conform.Count{Passed: 1, NotRun: 1}, 0},
		{"nothing run", []conform.Case{skip}, false, false, conform.Count{NotRun: 1}, 0},
		{"MUST", []conform.Case{pass, fail(rfc.Must)}, false, false, conform.Count{Passed: 1, Failed: 1}, 1},
		{"MUST NOT", []conform.Case{pass, fail(rfc.MustNot)}, false, false, conform.Count{Passed: 1, Failed: 1}, 1},
		{"constant", []conform.Case{pass, fail(rfc.Constant)}, false, false, conform.Count{Passed: 1, Failed: 1}, 1},
		{"SHOULD", []conform.Case{pass, fail(rfc.Should)}, true, false, conform.Count{Passed: 1, Tolerated: 1}, 1},
		{"SHOULD NOT", []conform.Case{pass, fail(rfc.ShouldNot)}, true, false, conform.Count{Passed: 1, Tolerated: 1}, 1},
		{"MAY", []conform.Case{pass, fail(rfc.May)}, true, true, conform.Count{Passed: 1, Tolerated: 1}, 0},
	} {
		plain := conform.Run(t.Context(), "it", c.cases, false, nil)
		strict := conform.Run(t.Context(), "it", c.cases, true, nil)
		if plain.Conforms() != c.plain || strict.Conforms() != c.strict {
			t.Errorf("%s: conforms %t, strictly %t, want %t and %t", c.name, plain.Conforms(), strict.Conforms(), c.plain, c.strict)
		}
		if plain.Count() != c.countPlain || strict.Count().Failed != c.strictFailed {
			t.Errorf("%s: counted %+v, strictly %+v", c.name, plain.Count(), strict.Count())
		}
	}
}

// TestInterrupted ends a run in the middle: what is left is not run, and said so.
func TestInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	last := found("last", "RFC 4067 section 2", rfc.Must, conform.Pass())
	first := last
	first.Name = "first"
	first.Run = func(context.Context) conform.Finding { cancel(); return conform.Pass() }
	var seen []conform.Result
	conform.Run(ctx, "it", []conform.Case{first, last}, false, func(r conform.Result) { seen = append(seen, r) })
	if len(seen) != 2 || seen[0].Verdict != conform.Passed || seen[1].Verdict != conform.NotRun || seen[1].Detail != "interrupted" {
		t.Errorf("results are %+v", seen)
	}
}

func exampleReport(t *testing.T) conform.Report {
	return conform.Run(t.Context(), "router 192.0.2.1", []conform.Case{
		found("outcome", "control profile section 3", rfc.Must, conform.Skip("unsupported")),
		found("late", "RFC 4067 section 2.5.10", rfc.Must, conform.Pass()),
		found("rate", "RFC 4067 section 2.5.9", rfc.Should, conform.Fail("all 20 answered")),
		found("version", "RFC 4067 section 2.2", rfc.Must, conform.Fail("said <&\x01>"), "rfc4067-2.2-1", "rfc4067-2.2-2"),
	}, false, nil)
}

func TestText(t *testing.T) {
	var text bytes.Buffer
	if err := exampleReport(t).WriteText(&text); err != nil {
		t.Fatal(err)
	}
	want := `FAIL     MUST    RFC 4067 section 2.2       version
    expected: the right thing
    found:    said <&�>
    rows:     rfc4067-2.2-1, rfc4067-2.2-2
differs  SHOULD  RFC 4067 section 2.5.9     rate
    expected: the right thing
    found:    all 20 answered
pass     MUST    RFC 4067 section 2.5.10    late
not run  MUST    control profile section 3  outcome
    found:    unsupported
router 192.0.2.1: 1 of 4 cases passed, 1 failed, 1 not run, 1 differ where the document allows it, in 0.00 s
`
	if text.String() != want {
		t.Errorf("the report is\n%s\nwant\n%s", text.String(), want)
	}
}

func TestJSON(t *testing.T) {
	var text bytes.Buffer
	if err := exampleReport(t).WriteJSON(&text); err != nil {
		t.Fatal(err)
	}
	var d struct {
		Subject          string
		Strict, Conforms bool
		Count            map[string]int
		Results          []struct{ Name, Section, Level, Verdict, Detail, Expect string }
	}
	if err := json.Unmarshal(text.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if d.Subject != "router 192.0.2.1" || d.Conforms || d.Strict || len(d.Results) != 4 {
		t.Errorf("the document is %+v", d)
	}
	for kind, n := range map[string]int{"passed": 1, "failed": 1, "tolerated": 1, "not_run": 1} {
		if d.Count[kind] != n {
			t.Errorf("%d %s, want %d", d.Count[kind], kind, n)
		}
	}
	if first := d.Results[0]; first.Name != "version" || first.Verdict != "fail" || first.Detail != "said <&\uFFFD>" || first.Level != "MUST" {
		t.Errorf("the first result is %+v", first)
	}
	if !strings.Contains(text.String(), `"rows": []`) {
		t.Error("a case without rows has no list of them")
	}
}

func TestJUnit(t *testing.T) {
	var text bytes.Buffer
	if err := exampleReport(t).WriteJUnit(&text); err != nil {
		t.Fatal(err)
	}
	type reason struct {
		Message string `xml:"message,attr"`
	}
	var all struct {
		XMLName  xml.Name `xml:"testsuites"`
		Tests    int      `xml:"tests,attr"`
		Failures int      `xml:"failures,attr"`
		Skipped  int      `xml:"skipped,attr"`
		Suites   []struct {
			Name  string `xml:"name,attr"`
			Cases []struct {
				Name    string  `xml:"name,attr"`
				Failure *reason `xml:"failure"`
				Skipped *reason `xml:"skipped"`
			} `xml:"testcase"`
		} `xml:"testsuite"`
	}
	if err := xml.Unmarshal(text.Bytes(), &all); err != nil {
		t.Fatalf("%v in\n%s", err, text.String())
	}
	if all.Tests != 4 || all.Failures != 1 || all.Skipped != 2 {
		t.Errorf("%d tests, %d failures, %d skipped", all.Tests, all.Failures, all.Skipped)
	}
	var suites []string
	for _, s := range all.Suites {
		suites = append(suites, s.Name)
		for _, c := range s.Cases {
			if (c.Failure != nil) != (c.Name == "version") || (c.Skipped != nil) != (c.Name == "rate" || c.Name == "outcome") {
				t.Errorf("%s has failure %v and skipped %v", c.Name, c.Failure, c.Skipped)
			}
			if c.Failure != nil && c.Failure.Message != "said <&\uFFFD>" {
				t.Errorf("the failure says %q", c.Failure.Message)
			}
		}
	}
	if want := []string{"RFC 4067 section 2.2", "RFC 4067 section 2.5.9", "RFC 4067 section 2.5.10", "control profile section 3"}; !slices.Equal(suites, want) {
		t.Errorf("suites are %q, want %q", suites, want)
	}
}

// failing is a file on a full disk.
type failing struct{}

func (failing) Write([]byte) (int, error) { return 0, errors.New("no space left") }

func TestReportsThatCannotBeWritten(t *testing.T) {
	r := exampleReport(t)
	for name, err := range map[string]error{
		"text": r.WriteText(failing{}), "JSON": r.WriteJSON(failing{}), "JUnit": r.WriteJUnit(failing{}),
	} {
		if err == nil || !strings.HasSuffix(err.Error(), "no space left") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
