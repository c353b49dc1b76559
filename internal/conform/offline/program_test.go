package offline_test

import (
	"bufio"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/cxtp/cxtp/internal/conform"
	"github.com/cxtp/cxtp/internal/conform/offline"
	"github.com/cxtp/cxtp/testvectors"
)

// asProgram is the first argument of this test binary where it is to be one of the
// programs below, which the second one names.
const asProgram = "as-program"

func TestMain(m *testing.M) {
	if len(os.Args) != 3 || os.Args[1] != asProgram {
		// The race detector would have every program wait a second before it ends.
		os.Setenv("GORACE", "atexit_sleep_ms=0")
		os.Exit(m.Run())
	}
	name := os.Args[2]
	if b, ok := broken[name]; ok {
		offline.Serve(context.Background(), b.subject, os.Stdin, os.Stdout)
	} else {
		programs[name]()
	}
}

// programOf is this test binary as one of the programs.
func programOf(t *testing.T, name string, timeout time.Duration) *offline.Program {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p := offline.NewProgram(timeout, self, asProgram, name)
	t.Cleanup(p.Close)
	return p
}

// patient is a timeout that no program here needs.
const patient = time.Minute

// programs are such as do not keep to the protocol.
var programs = map[string]func(){
	"own":         func() { offline.Serve(context.Background(), offline.Own{}, os.Stdin, os.Stdout) },
	"silent":      func() { bufio.NewReader(os.Stdin).ReadString(0) },
	"never reads": func() { time.Sleep(10 * time.Second) },
	"dies": func() {
		nextID()
		fmt.Fprintln(os.Stderr, "first line\nout of luck")
		os.Exit(3)
	},
	"dies in the middle": func() { nextID(); fmt.Print(`{"id": 1, "he`) },
	"garbage":            func() { forever("these are no octets\n") },
	"an array":           func() { forever("[]\n") },
	"unknown field":      func() { forever(`{"id": 1, "hexx": "00"}` + "\n") },
	"two objects":        func() { forever(`{"id": 1, "hex": "00"} {}` + "\n") },
	"wrong id":           func() { forever(`{"id": 99, "hex": "00"}` + "\n") },
	"no id":              func() { forever(`{"hex": "00"}` + "\n") },
	"nothing in it":      func() { answering(`{"id": %d}` + "\n") },
	"an error":           func() { answering(`{"id": %d, "error": "out of memory"}` + "\n") },
	"answers twice":      func() { answering(`{"id": %[1]d}` + "\n" + `{"id": %[1]d}` + "\n") },
	"a line without end": func() { forever(strings.Repeat("x", 1<<20)) },
	"a message too deep": func() { answering(`{"id": %d, "message": ` + strings.Repeat("[", 100_000) + "\n") },
	"leaves a child": func() {
		child := exec.Command(os.Args[0], asProgram, "outlives")
		child.Stdout, child.Stderr = os.Stdout, os.Stderr
		child.Start()
	},
	"dies of a CTC with IPv6": func() {
		offline.Serve(context.Background(), subject(func(r offline.Request) (offline.Answer, error) {
			if r.Op == offline.OpDecode && strings.HasPrefix(r.Hex, "2600") {
				os.Exit(4)
			}
			return own(r)
		}), os.Stdin, os.Stdout)
	},
	"outlives": func() { time.Sleep(10 * time.Second) },
}

// nextID reads a question.
func nextID() int {
	line, err := stdin.ReadBytes('\n')
	if err != nil {
		os.Exit(0)
	}
	var r offline.Request
	if err := json.Unmarshal(line, &r); err != nil {
		os.Exit(1)
	}
	return r.ID
}

var stdin = bufio.NewReader(os.Stdin)

// forever writes a text as often as somebody reads it.
func forever(text string) {
	for {
		if _, err := os.Stdout.WriteString(text); err != nil {
			return
		}
	}
}

// answering answers each question with a text, which has the question's id.
func answering(format string) {
	for {
		fmt.Printf(format, nextID())
	}
}

// TestPrograms asks programs that do not keep to the protocol: each question has a
// failure that says why, soon.
func TestPrograms(t *testing.T) {
	some := func(t *testing.T, s offline.Subject) []conform.Case {
		cases, err := conform.Select(casesOf(t, s), "2.5.5")
		if err != nil {
			t.Fatal(err)
		}
		return cases[:8]
	}
	for _, c := range []struct {
		name        string
		timeout     time.Duration
		first, last string // what is found by the first question and the last
	}{
		{"silent", 20 * time.Millisecond, "no answer in 20ms", "not asked, after 3 questions in a row"},
		{"never reads", 20 * time.Millisecond, "no answer in 20ms", "not asked, after 3 questions in a row"},
		{"dies", patient, `ended without an answer: exit status 3; it said "out of luck"`, "exit status 3"},
		{"dies in the middle", patient, "ended in the middle of an answer", "in the middle"},
		{"garbage", patient, `cannot be read: invalid character`, `"these are no octets\n"`},
		{"an array", patient, "cannot be read", "cannot be read"},
		{"unknown field", patient, `unknown field "hexx"`, "unknown field"},
		{"two objects", patient, "more follows", "more follows"},
		{"wrong id", patient, "to question 99, asked was 1", "asked was 1"},
		{"no id", patient, "to question 0", "asked was 1"},
		{"nothing in it", patient, `the answer has no "message"`, "it is accepted"},
		{"an error", patient, `it says "out of memory"`, "out of memory"},
		{"answers twice", patient, `the answer has no "message"`, ""},
		{"a line without end", patient, "a line of more than 262144 octets", "262144"},
		{"a message too deep", patient, "cannot be read", "cannot be read"},
		{"leaves a child", 20 * time.Millisecond, "no answer", "no answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			report := conform.Run(t.Context(), c.name, some(t, programOf(t, c.name, c.timeout)), false, nil)
			for _, r := range report.Results {
				if r.Verdict != conform.Failed {
					t.Errorf("%s: %s", r.Name, r.Verdict)
				}
			}
			first, last := report.Results[0].Detail, report.Results[len(report.Results)-1].Detail
			if !strings.Contains(first, c.first) || !strings.Contains(last, c.last) {
				t.Errorf("found %q and at last %q, want %q and %q", first, last, c.first, c.last)
			}
		})
	}
	t.Run("there is none", func(t *testing.T) {
		for _, argv := range [][]string{nil, {t.TempDir() + "/nothing"}, {t.TempDir()}} {
			p := offline.NewProgram(patient, argv...)
			for _, c := range some(t, p) {
				if f := c.Run(t.Context()); f.Verdict != conform.Failed || !strings.Contains(f.Detail, "failed to start the program") {
					t.Errorf("%q: %s %s", argv, f.Verdict, f.Detail)
				}
			}
			p.Close()
		}
	})
}

// TestOwnAsProgram holds our codec against all vectors through the pipe.
func TestOwnAsProgram(t *testing.T) {
	for _, c := range casesOf(t, programOf(t, "own", patient)) {
		if f := c.Run(t.Context()); f.Verdict != conform.Passed {
			t.Errorf("%s: %s: %s", c.Name, f.Verdict, f.Detail)
		}
	}
}

// TestProgramInterrupted ends a run while a program is silent.
func TestProgramInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cases := casesOf(t, programOf(t, "silent", patient))[:3]
	run := cases[0].Run
	cases[0].Run = func(ctx context.Context) conform.Finding {
		time.AfterFunc(10*time.Millisecond, cancel)
		return run(ctx)
	}
	for _, r := range conform.Run(ctx, "silent", cases, false, nil).Results {
		if r.Verdict != conform.NotRun || r.Detail != "interrupted" {
			t.Errorf("%s: %s %s", r.Name, r.Verdict, r.Detail)
		}
	}
}

// broken are implementations of which one thing is wrong, and the row that shows it.
var broken = map[string]struct {
	subject subject
	row     string
}{
	"reads any version": {asked(func(r *offline.Request, o []byte) {
		if len(o) > 0 {
			o[0] = 1<<5 | o[0]&0x1f
		}
	}), "rfc4067-2.2-4"},
	"reads the Length as what came": {asked(func(r *offline.Request, o []byte) {
		if len(o) >= 4 && r.Kind == "message" {
			o[2], o[3] = byte(len(o)>>8), byte(len(o))
		}
	}), "rfc4067-2.5.5-5"},
	"sends version 2":              {sent(func(r offline.Request, o []byte) []byte { o[0] = 2<<5 | o[0]&0x1f; return o }), "rfc4067-2.5.1-7"},
	"swaps the meaning of V":       {sent(func(r offline.Request, o []byte) []byte { o[1] ^= 0x80; return o }), "rfc4067-2.5.4-2"},
	"does not know A":              {sent(func(r offline.Request, o []byte) []byte { return ctarOnly(r, o, func() { o[1] &^= 0x40 }) }), "rfc4067-2.5.1-3"},
	"sends reserved bits":          {sent(func(r offline.Request, o []byte) []byte { o[1] |= 1; return o }), "rfc4067-2.5.5-3"},
	"counts Length without header": {sent(func(r offline.Request, o []byte) []byte { o[3] -= 4; return o }), "rfc4067-2.5.6-5"},
	"does not know types above 5": {subject(func(r offline.Request) (offline.Answer, error) {
		if octets, _ := hex.DecodeString(r.Hex); r.Op == offline.OpDecode && len(octets) > 0 && octets[0]&0x1f > 5 {
			return offline.Answer{Refused: testvectors.LayerMessage}, nil
		}
		return own(r)
	}), "rfc4067-2.5.6-1"},
	"takes every token": {subject(func(r offline.Request) (offline.Answer, error) {
		a, err := own(r)
		if a.Valid != nil {
			*a.Valid = true
		}
		return a, err
	}), "rfc4067-2.5.1-14"},
	"computes tokens without the blocks": {asked(func(r *offline.Request, o []byte) {
		if r.Op == offline.OpToken {
			r.Hex = ""
		}
	}), "rfc4067-2.5.1-14"},
	"computes tokens of IPv4 as IPv6": {asked(func(r *offline.Request, o []byte) {
		if r.Op == offline.OpToken && r.Previous == "192.0.2.10" {
			r.Previous = "2001:db8::10"
		}
	}), "rfc4067-2.5.1-14"},
	"reads presence vectors from the other end": {said(func(m *testvectors.Message) {
		for i, b := range m.Blocks {
			octets, _ := hex.DecodeString(b.Presence)
			slices.Reverse(octets)
			m.Blocks[i].Presence = hex.EncodeToString(octets)
		}
	}), "rfc4067-2.4-5"},
	"loses the last block": {said(func(m *testvectors.Message) {
		if len(m.Blocks) > 1 {
			m.Blocks = m.Blocks[:len(m.Blocks)-1]
		}
	}), "rfc4067-2.5.3-7"},
	"swaps the routers' and the node's address": {said(func(m *testvectors.Message) {
		if m.Router != "" {
			m.Previous, m.Router = m.Router, m.Previous
		}
	}), "rfc4067-2.5.1-7"},
	"takes a key's padding for the key": {said(func(m *testvectors.Message) {
		for len(m.Key)%8 != 0 {
			m.Key += "00"
		}
	}), "rfc4067-2.5.3-8"},
	"counts elapsed time in seconds": {said(func(m *testvectors.Message) { m.Elapsed /= 1000 }), "rfc4067-2.5.3-6"},
	"does not know S":                {said(func(m *testvectors.Message) { m.Success = false }), "rfc4067-2.5.4-3"},
}

func own(r offline.Request) (offline.Answer, error) {
	return offline.Own{}.Ask(context.Background(), r)
}

// asked is our codec, which is asked about something else.
func asked(change func(r *offline.Request, octets []byte)) subject {
	return func(r offline.Request) (offline.Answer, error) {
		octets, err := hex.DecodeString(r.Hex)
		if err != nil {
			return offline.Answer{}, err
		}
		before := r.Hex
		change(&r, octets)
		if r.Hex == before {
			r.Hex = hex.EncodeToString(octets)
		}
		return own(r)
	}
}

// sent is our codec, which writes other octets.
func sent(change func(r offline.Request, octets []byte) []byte) subject {
	return func(r offline.Request) (offline.Answer, error) {
		a, err := own(r)
		if octets, _ := hex.DecodeString(a.Hex); r.Op == offline.OpEncode && len(octets) > 4 {
			a.Hex = hex.EncodeToString(change(r, octets))
		}
		return a, err
	}
}

func ctarOnly(r offline.Request, octets []byte, change func()) []byte {
	if r.Message.Type == "CTAR" {
		change()
	}
	return octets
}

// said is our codec, which finds something else in a message.
func said(change func(*testvectors.Message)) subject {
	return func(r offline.Request) (offline.Answer, error) {
		a, err := own(r)
		if a.Message != nil {
			change(a.Message)
		}
		return a, err
	}
}

// TestBrokenImplementations runs a program for each fault. It is caught by the row
// that is about it, and most of the other cases pass.
func TestBrokenImplementations(t *testing.T) {
	for name, b := range broken {
		t.Run(name, func(t *testing.T) {
			report := conform.Run(t.Context(), name, casesOf(t, programOf(t, name, patient)), false, nil)
			caught := false
			for _, r := range report.Results {
				caught = caught || r.Verdict == conform.Failed && slices.Contains(r.Rows, b.row)
			}
			if n := report.Count(); !caught || n.Passed < n.Failed {
				t.Errorf("caught by %s: %t; %s", b.row, caught, report.Summary())
			}
		})
	}
}

// TestStartedAgain has a program that dies of some questions: all others are asked.
func TestStartedAgain(t *testing.T) {
	cases, err := conform.Select(casesOf(t, programOf(t, "dies of a CTC with IPv6", patient)), "2.5.5", "2.5.4")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range cases {
		deadly := strings.HasPrefix(c.Name, "decode: CTC, IPv6")
		f := c.Run(t.Context())
		if died := strings.Contains(f.Detail, "exit status 4"); died != (deadly && f.Verdict == conform.Failed) || !died && f.Verdict != conform.Passed {
			t.Errorf("%s: %s %s", c.Name, f.Verdict, f.Detail)
		}
	}
}
