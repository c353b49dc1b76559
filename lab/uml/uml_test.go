//go:build linux && uml

package uml

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// scene is the variable that makes this test binary the program of a job.
const scene = "LAB_SCENE"

// scenes are what the program does in the guest; each returns its status.
var scenes = map[string]func() int{
	"report": func() int {
		content, err := os.ReadFile(filepath.Join(os.Getenv("LAB_FILES"), "sub/input"))
		if err != nil {
			fmt.Println(err)
			return 1
		}
		folder, _ := os.Getwd()
		fmt.Printf("folder %s, argument %q, input %s\n", folder, os.Args[1], content)
		os.MkdirAll(filepath.Join(os.Getenv("LAB_RESULTS"), "sub"), 0o755)
		os.WriteFile(filepath.Join(os.Getenv("LAB_RESULTS"), "sub/output"), bytes.ToUpper(content), 0o600)
		return 7
	},
	// What the guest does to the host's files stays in the guest.
	"vandal": func() int {
		name := os.Args[1]
		if err := os.WriteFile(name, []byte("spoiled"), 0o600); err != nil {
			fmt.Println(err)
			return 1
		}
		return 0
	},
	"crash": func() int {
		fmt.Println("about to crash")
		os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0)
		return 0
	},
	"signal": func() int {
		self, _ := os.FindProcess(os.Getpid())
		self.Kill()
		select {}
	},
	"hang": func() int {
		fmt.Println("hanging")
		select {}
	},
}

func TestMain(m *testing.M) {
	Init()
	if play, ok := scenes[os.Getenv(scene)]; ok {
		os.Exit(play())
	}
	os.Exit(m.Run())
}

// job plays a scene.
func job(t *testing.T, name string, args ...string) Job {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return Job{Binary: self, Args: args, Env: []string{scene + "=" + name}, Timeout: time.Minute}
}

// nothingLeft fails the test if a guest's folder remains under the one that
// TMPDIR names, which is the test's own.
func nothingLeft(t *testing.T) {
	t.Helper()
	t.Setenv("TMPDIR", t.TempDir())
	t.Cleanup(func() {
		left, err := filepath.Glob(filepath.Join(os.TempDir(), "*"))
		if err != nil || len(left) > 0 {
			t.Errorf("left behind: %v, %v", left, err)
		}
	})
}

func TestTwoGuestsAtOnce(t *testing.T) {
	nothingLeft(t)
	var both sync.WaitGroup
	for _, name := range []string{"first", "second"} {
		both.Go(func() {
			var printed bytes.Buffer
			asked := job(t, "report", "with a space "+name)
			asked.Dir = "/usr/share"
			asked.Files = map[string][]byte{"sub/input": []byte(name)}
			asked.Output = &printed
			result, err := Run(context.Background(), asked)
			if err != nil {
				t.Error(err)
				return
			}
			want := fmt.Sprintf("folder /usr/share, argument %q, input %s\n", "with a space "+name, name)
			if result.Status != 7 || string(result.Output) != want || printed.String() != want {
				t.Errorf("status %d, output %q, streamed %q, want 7 and %q", result.Status, result.Output, &printed, want)
			}
			if got := string(result.Files["sub/output"]); got != strings.ToUpper(name) {
				t.Errorf("results %q", result.Files)
			}
		})
	}
	both.Wait()
}

func TestGuestChangesNothingHere(t *testing.T) {
	precious := filepath.Join(t.TempDir(), "precious")
	if err := os.WriteFile(precious, []byte("whole"), 0o600); err != nil {
		t.Fatal(err)
	}
	result, err := Run(context.Background(), job(t, "vandal", precious))
	if err != nil || result.Status != 0 {
		t.Fatalf("%v, status %d: %s", err, result.Status, result.Output)
	}
	if content, err := os.ReadFile(precious); err != nil || string(content) != "whole" {
		t.Fatalf("the guest changed a file of this machine: %q, %v", content, err)
	}
}

func TestDeadGuest(t *testing.T) {
	nothingLeft(t)
	result, err := Run(context.Background(), job(t, "crash"))
	if err != nil {
		t.Fatal(err)
	}
	if result.Status != StatusDied || !bytes.Contains(result.Output, []byte("about to crash")) ||
		!bytes.Contains(result.Output, []byte("Kernel panic")) {
		t.Fatalf("status %d, output %s", result.Status, result.Output)
	}
}

func TestProgramKilledBySignal(t *testing.T) {
	result, err := Run(context.Background(), job(t, "signal"))
	if err != nil || result.Status != 128+9 {
		t.Fatalf("%v, status %d: %s", err, result.Status, result.Output)
	}
}

func TestTimeout(t *testing.T) {
	nothingLeft(t)
	hang := job(t, "hang")
	hang.Timeout = 8 * time.Second
	result, err := Run(context.Background(), hang)
	if err != nil || result.Status != StatusDied || !bytes.Contains(result.Output, []byte("stopped after 8s")) {
		t.Fatalf("%v, status %d: %s", err, result.Status, result.Output)
	}
}

// An interrupt ends the guest with the context.
func TestInterrupt(t *testing.T) {
	nothingLeft(t)
	stop := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(context.Background())
	hang := job(t, "hang")
	hang.Output = writer(func(p []byte) (int, error) {
		cancel(stop)
		return len(p), nil
	})
	if _, err := Run(ctx, hang); !errors.Is(err, stop) {
		t.Fatal(err)
	}
}

type writer func([]byte) (int, error)

func (w writer) Write(p []byte) (int, error) { return w(p) }

func TestNotInstalled(t *testing.T) {
	nothingLeft(t)
	t.Setenv("PATH", t.TempDir())
	if _, err := Run(context.Background(), job(t, "report")); !errors.Is(err, ErrNotInstalled) {
		t.Fatal(err)
	}
}

func TestProgramMissing(t *testing.T) {
	nothingLeft(t)
	missing := job(t, "report")
	missing.Binary = "/nonexistent"
	if _, err := Run(context.Background(), missing); !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	folder := job(t, "report")
	folder.Dir = "/nonexistent"
	if _, err := Run(context.Background(), folder); err == nil || !strings.Contains(err.Error(), "/nonexistent") {
		t.Fatal(err)
	}
}
