//go:build linux

package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/lab/uml"
	"github.com/cxtp/cxtp/lab/witness"
)

func TestFailures(t *testing.T) {
	log := strings.Repeat("        a daemon did something\n", outset-1)
	output := `--- FAIL: TestDrain (2.00s)
    drain_lab_test.go:10: a daemon said:
` + log + `        and much more of it
    drain_lab_test.go:10: 2 of 20 were lost
        and more of it
    --- FAIL: TestDrain/v6 (1.00s)
        drain_lab_test.go:12: one was lost
a table's line
--- PASS: TestOther (0.10s)
    other_lab_test.go:3: all is well
panic: test timed out after 28m0s
	running tests:
goroutine 1 [running]:
FAIL
`
	want := `--- FAIL: TestDrain (2.00s)
    drain_lab_test.go:10: a daemon said:
` + log + `    drain_lab_test.go:10: 2 of 20 were lost
        and more of it
    --- FAIL: TestDrain/v6 (1.00s)
        drain_lab_test.go:12: one was lost
panic: test timed out after 28m0s
	running tests:
`
	if got := failures([]byte(output)); got != want {
		t.Errorf("the failures are\n%swant\n%s", got, want)
	}
}

// TestDisturbed: what may have been the machine's doing is tried once more, and nothing
// else is.
func TestDisturbed(t *testing.T) {
	const output = "--- FAIL: TestDrain (2.00s)\n    --- FAIL: TestDrain/v6 (1.00s)\n        drain_lab_test.go:12: one was lost\n--- PASS: TestOther (0.10s)\n--- FAIL: TestMove (3.00s)\n"
	for _, c := range []struct {
		name   string
		result uml.Result
		want   []string
	}{
		{"failed", uml.Result{Status: 1, Output: []byte(output)}, []string{"TestDrain", "TestMove"}},
		{"passed", uml.Result{Output: []byte("ok\n")}, nil},
		{"ended early", uml.Result{Status: 2, Output: []byte(output + "panic: test timed out\n")}, nil},
		{"the guest died", uml.Result{Status: 124, Output: []byte(output)}, nil},
		{"a law", uml.Result{Status: 1, Output: []byte(output + "    move_lab_test.go:3: " + witness.Broken + "2 numbers reused\n")}, nil},
	} {
		if got := disturbed(c.result); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q is tried again, want %q", c.name, got, c.want)
		}
	}
}

// TestParts: of a package with many tests, each is in one share, with the cases asked for.
func TestParts(t *testing.T) {
	whole := share{binary: "lab.test", run: "A|B/v6"}
	list := func(n int) (lines string) {
		for i := range n {
			lines += fmt.Sprintf("Test%02d\n", i)
		}
		return lines + "BenchmarkMove\n"
	}
	if got := whole.parts(list(perGuest)); !slices.Equal(got, []share{whole}) {
		t.Errorf("a few tests are shared as %v", got)
	}
	var runs []string
	for _, part := range whole.parts(list(2*perGuest + 1)) {
		if part.binary != whole.binary {
			t.Errorf("a part is of %q", part.binary)
		}
		runs = append(runs, part.run)
	}
	want := []string{
		"^(Test00|Test01|Test02|Test03|Test04|Test05|Test06|Test07)$/v6",
		"^(Test08|Test09|Test10|Test11|Test12|Test13|Test14|Test15)$/v6",
		"^(Test16)$/v6",
	}
	if !slices.Equal(runs, want) {
		t.Errorf("parts run %q, want %q", runs, want)
	}
}
