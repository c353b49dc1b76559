//go:build linux

package main

import (
	"strings"
	"testing"
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
