package conform

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/cxtp/cxtp/rfc"
)

// Report is what a run found out about an implementation.
type Report struct {
	Subject string // what was asked: a program, a router, this program's codec
	Strict  bool   // a SHOULD that is not met fails the run, too
	Results []Result
}

// Count is how many results there are of each kind. Tolerated are the failures
// that do not fail the run: of a MAY, and without Strict of a SHOULD.
type Count struct {
	Passed    int `json:"passed"`
	Failed    int `json:"failed"`
	Tolerated int `json:"tolerated"`
	NotRun    int `json:"not_run"`
}

// Count counts the results.
func (r Report) Count() (n Count) {
	for _, result := range r.Results {
		switch r.outcome(result) {
		case "pass":
			n.Passed++
		case "FAIL":
			n.Failed++
		case "differs":
			n.Tolerated++
		default:
			n.NotRun++
		}
	}
	return n
}

// Conforms reports whether nothing that binds has failed, and something was shown:
// an implementation that supports nothing conforms to nothing.
func (r Report) Conforms() bool {
	n := r.Count()
	return n.Failed == 0 && n.Passed > 0
}

// outcome is a result in one word.
func (r Report) outcome(result Result) string {
	if result.Verdict == Failed {
		if binds(result.Level, r.Strict) {
			return "FAIL"
		}
		return "differs"
	}
	return string(result.Verdict)
}

// sorted are the results by section.
func (r Report) sorted() []Result {
	results := slices.Clone(r.Results)
	slices.SortStableFunc(results, bySection)
	return results
}

func (r Report) took() (sum time.Duration) {
	for _, result := range r.Results {
		sum += result.Took
	}
	return sum
}

// Summary is the last line of a report.
func (r Report) Summary() string {
	n := r.Count()
	text := fmt.Sprintf("%d of %d cases passed, %d failed, %d not run", n.Passed, len(r.Results), n.Failed, n.NotRun)
	if n.Tolerated > 0 {
		text += fmt.Sprintf(", %d differ where the document allows it", n.Tolerated)
	}
	return text
}

// WriteText writes a table for people: a line a case, by section, and below one
// that did not pass what was expected and what was found.
func (r Report) WriteText(w io.Writer) error {
	var table, text bytes.Buffer
	columns := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	results := r.sorted()
	for _, result := range results {
		fmt.Fprintf(columns, "%s\t%s\t%s\t%s\n", r.outcome(result), result.Level, result.Section, result.Name)
	}
	columns.Flush()
	for _, result := range results {
		line, err := table.ReadString('\n')
		if err != nil {
			return fmt.Errorf("failed to lay out the report: %w", err)
		}
		text.WriteString(line)
		if result.Verdict == Failed {
			fmt.Fprintf(&text, "    expected: %s\n", result.Expect)
		}
		if result.Verdict != Passed {
			fmt.Fprintf(&text, "    found:    %s\n", result.Detail)
			if len(result.Rows) > 0 {
				fmt.Fprintf(&text, "    rows:     %s\n", strings.Join(result.Rows, ", "))
			}
		}
	}
	fmt.Fprintf(&text, "%s: %s, in %.2f s\n", r.Subject, r.Summary(), r.took().Seconds())
	return write(w, text.Bytes())
}

// document is a report as JSON.
type document struct {
	Subject  string           `json:"subject"`
	Strict   bool             `json:"strict"`
	Conforms bool             `json:"conforms"`
	Count    Count            `json:"count"`
	Seconds  float64          `json:"seconds"`
	Results  []documentResult `json:"results"`
}

type documentResult struct {
	Name    string    `json:"name"`
	Rows    []string  `json:"rows"`
	Section string    `json:"section"`
	Level   rfc.Level `json:"level"`
	Expect  string    `json:"expect"`
	Verdict Verdict   `json:"verdict"`
	Detail  string    `json:"detail,omitempty"`
	Seconds float64   `json:"seconds"`
}

// WriteJSON writes one document.
func (r Report) WriteJSON(w io.Writer) error {
	d := document{r.Subject, r.Strict, r.Conforms(), r.Count(), r.took().Seconds(), []documentResult{}}
	for _, result := range r.sorted() {
		rows := result.Rows
		if rows == nil {
			rows = []string{}
		}
		d.Results = append(d.Results, documentResult{
			result.Name, rows, result.Section, result.Level, result.Expect,
			result.Verdict, result.Detail, result.Took.Seconds(),
		})
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(d); err != nil {
		return fmt.Errorf("failed to write the report: %w", err)
	}
	return nil
}

// JUnit's form, as far as the programs that show test results agree on it: a suite a
// section, a case with a failure or a reason why it was skipped.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Skipped  int          `xml:"skipped,attr"`
		Time     string       `xml:"time,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		Name     string      `xml:"name,attr"`
		Tests    int         `xml:"tests,attr"`
		Failures int         `xml:"failures,attr"`
		Skipped  int         `xml:"skipped,attr"`
		Time     string      `xml:"time,attr"`
		Cases    []junitCase `xml:"testcase"`
	}
	junitCase struct {
		Name    string       `xml:"name,attr"`
		Class   string       `xml:"classname,attr"`
		Time    string       `xml:"time,attr"`
		Failure *junitReason `xml:"failure"`
		Skipped *junitReason `xml:"skipped"`
	}
	junitReason struct {
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
)

// WriteJUnit writes the report as JUnit XML. A failure that does not fail the run is
// a skipped case there, since the form knows nothing in between.
func (r Report) WriteJUnit(w io.Writer) error {
	n := r.Count()
	all := junitSuites{
		Name: "cxtp conform: " + r.Subject, Tests: len(r.Results), Failures: n.Failed, Skipped: n.NotRun + n.Tolerated,
		Time: seconds(r.took()),
	}
	for section := range chunks(r.sorted()) {
		part := Report{r.Subject, r.Strict, section}
		n := part.Count()
		suite := junitSuite{
			Name: section[0].Section, Tests: len(section), Failures: n.Failed, Skipped: n.NotRun + n.Tolerated,
			Time: seconds(part.took()),
		}
		for _, result := range section {
			suite.Cases = append(suite.Cases, r.junit(result))
		}
		all.Suites = append(all.Suites, suite)
	}
	text, err := xml.MarshalIndent(all, "", "  ")
	if err != nil {
		return fmt.Errorf("failed to write the report: %w", err)
	}
	return write(w, append(append([]byte(xml.Header), text...), '\n'))
}

func (r Report) junit(result Result) junitCase {
	c := junitCase{Name: result.Name, Class: result.Section, Time: seconds(result.Took)}
	switch r.outcome(result) {
	case "FAIL":
		c.Failure = &junitReason{
			result.Detail,
			fmt.Sprintf("%s\nexpected: %s\nfound: %s\nrows: %s", result.Level, result.Expect, result.Detail, strings.Join(result.Rows, ", ")),
		}
	case "differs":
		c.Skipped = &junitReason{Message: fmt.Sprintf("%s not met: %s", result.Level, result.Detail)}
	case "not run":
		c.Skipped = &junitReason{Message: result.Detail}
	}
	return c
}

// chunks gives the results section by section.
func chunks(sorted []Result) func(yield func([]Result) bool) {
	return func(yield func([]Result) bool) {
		for begin := 0; begin < len(sorted); {
			end := begin + 1
			for end < len(sorted) && sorted[end].Section == sorted[begin].Section {
				end++
			}
			if !yield(sorted[begin:end]) {
				return
			}
			begin = end
		}
	}
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }

func write(w io.Writer, text []byte) error {
	if _, err := w.Write(text); err != nil {
		return fmt.Errorf("failed to write the report: %w", err)
	}
	return nil
}
