package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/urfave/cli/v2"
)

// TestMain lets the tests' own program play the roles that the demo starts.
func TestMain(m *testing.M) {
	app := &cli.App{Commands: HiddenCommands(), ExitErrHandler: func(*cli.Context, error) {}}
	if len(os.Args) > 1 && app.Command(os.Args[1]) != nil {
		if err := app.Run(os.Args); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// testRate leaves a busy machine time: no law depends on it.
const testRate = 200

// runDemo runs a demo and checks that it leaves nothing behind.
func runDemo(t *testing.T, ctx context.Context, o Options) (*Report, string, error) {
	t.Helper()
	folder := t.TempDir()
	t.Setenv("TMPDIR", folder)
	var out bytes.Buffer
	o.Rate, o.Out = testRate, &out
	report, err := Run(ctx, o)
	left, readErr := os.ReadDir(folder)
	if readErr != nil || len(left) > 0 {
		t.Errorf("left behind: %v (%v)", left, readErr)
	}
	return report, out.String(), err
}

func TestMoves(t *testing.T) {
	for name, o := range map[string]Options{"IPv4": {Moves: 6}, "IPv6": {Moves: 6, IPv6: true}} {
		t.Run(name, func(t *testing.T) {
			report, text, err := runDemo(t, t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if !report.Kept || len(report.Moves) != o.Moves {
				t.Fatalf("%d moves, broken: %q", len(report.Moves), report.Broken)
			}
			if !report.Witness.Carried || report.Witness.Replays == 0 || report.Up.Sent == 0 || report.Down.Sent == 0 {
				t.Errorf("nothing was put to the test: %+v", report.Witness)
			}
			for _, m := range report.Moves {
				if p := m.Phases; p.Stage <= 0 || p.Grant <= 0 || p.Blackout <= 0 || p.Steer <= 0 || p.Close <= 0 || p.Total <= 0 {
					t.Errorf("move %d has a phase without a time: %+v", m.Number, p)
				}
			}
			for _, want := range []string{"PCTD stage", "CTD final", "CTD closed", "Update ", "steering hook", "route to sg2", "sends to sg1", "CTAR"} {
				if !strings.Contains(text, want) {
					t.Errorf("the ladders lack %q", want)
				}
			}
		})
	}
}

// TestJSON checks that the document is one, and nothing else is printed.
func TestJSON(t *testing.T) {
	report, text, err := runDemo(t, t.Context(), Options{Moves: 1, JSON: true})
	if err != nil || text != "" {
		t.Fatalf("printed %q before the document (%v)", text, err)
	}
	var out bytes.Buffer
	if err := report.Write(&out, true); err != nil {
		t.Fatal(err)
	}
	var again Report
	d := json.NewDecoder(&out)
	d.DisallowUnknownFields()
	if err := d.Decode(&again); err != nil || d.More() {
		t.Fatalf("not one document: %v", err)
	}
	if len(again.Moves) != 1 || len(again.Moves[0].Ladder) == 0 || again.Witness != report.Witness {
		t.Fatalf("got %+v", again)
	}
}

// TestBreaks takes each guard away, and sees it missed.
func TestBreaks(t *testing.T) {
	for b, law := range map[Break]string{
		BreakFreeze: "law 1, one sender", BreakCounters: "law 1, one sender", BreakPolicy: "law 3, no cleartext",
	} {
		t.Run(string(b), func(t *testing.T) {
			report, _, err := runDemo(t, t.Context(), Options{Moves: 2, Break: b})
			if err != nil {
				t.Fatal(err)
			}
			if report.Kept || !strings.HasPrefix(report.Broken[0], law) {
				t.Fatalf("broken: %q, want %s", report.Broken, law)
			}
		})
	}
}

// TestStranger gives one gateway a certificate that the other does not trust.
func TestStranger(t *testing.T) {
	report, _, err := runDemo(t, t.Context(), Options{Moves: 3, Break: BreakCertificate})
	if err != nil {
		t.Fatal(err)
	}
	if !report.Kept || !strings.Contains(report.Refusal, "certificate") {
		t.Fatalf("broken: %q, refusal: %q", report.Broken, report.Refusal)
	}
	for _, m := range report.Moves {
		if m.Failure == "" {
			t.Errorf("move %d, started by the %s, did not fail", m.Number, m.Starter)
		}
	}
}

// interrupter ends a context when the first move is printed.
type interrupter struct{ cancel context.CancelFunc }

func (i interrupter) Write(b []byte) (int, error) {
	i.cancel()
	return len(b), nil
}

func TestInterrupt(t *testing.T) {
	for name, o := range map[string]Options{"moves": {Moves: MaxMoves}, "crashes": {Crash: []string{CrashAll}}} {
		t.Run(name, func(t *testing.T) {
			folder := t.TempDir()
			t.Setenv("TMPDIR", folder)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			o.Rate, o.Out = testRate, interrupter{cancel}
			report, err := Run(ctx, o)
			if !errors.Is(err, context.Canceled) || strings.Contains(err.Error(), "killed") || len(report.Moves) > 2 {
				t.Fatalf("%d moves were made: %v", len(report.Moves), err)
			}
			if left, err := os.ReadDir(folder); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v (%v)", left, err)
			}
		})
	}
}

func TestPortTaken(t *testing.T) {
	p := newPlace(false, 0)
	taken, err := p.listen()
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	port := int(localAddr(taken).Port())
	if port > 65536-Ports {
		port -= Ports - 1
	}
	_, _, err = runDemo(t, t.Context(), Options{Moves: 1, Port: port})
	if err == nil || !strings.Contains(err.Error(), "choose another --port") {
		t.Fatalf("got %v", err)
	}
}

// TestGatewayFails checks that the words of a gateway that cannot start come
// through.
func TestGatewayFails(t *testing.T) {
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p, err := startProcess("sg1", program, gatewayRole, "--config", "/nonexistent/sg1.toml")
	if err != nil {
		t.Fatal(err)
	}
	defer p.stop()
	if err := p.waitReady(t.Context()); err == nil || !strings.Contains(err.Error(), "gateway sg1 ended") || !strings.Contains(err.Error(), "/nonexistent/sg1.toml") {
		t.Fatalf("got %v", err)
	}
}
