package overlay

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func write(t *testing.T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestProgramIsAnother builds a program with another text and without one of its
// files.
func TestProgramIsAnother(t *testing.T) {
	dir, work := t.TempDir(), t.TempDir()
	write(t, dir, "go.mod", "module example.net/program\n")
	write(t, dir, "main.go", "package main\n\nfunc main() { print(\"as it is\") }\n")
	spare := write(t, dir, "spare.go", "package main\n\nfunc init() { print(\"too much\") }\n")
	list, err := Write(dir, work, []Edit{{"main.go", "as it", "anoth"}, {"main.go", "anoth is", "another"}}, []string{spare})
	if err != nil {
		t.Fatal(err)
	}
	run := exec.Command("go", "run", "-overlay", list, ".")
	run.Dir = dir
	if out, err := run.CombinedOutput(); err != nil || string(out) != "another" {
		t.Errorf("%s, error %v", out, err)
	}
}

func TestEditsThatAreStale(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "a.go", "one two two")
	for _, e := range []Edit{{"a.go", "three", ""}, {"a.go", "two", ""}, {"b.go", "one", ""}} {
		if _, err := Write(dir, t.TempDir(), []Edit{e}, nil); err == nil {
			t.Errorf("%+v was taken", e)
		}
	}
	if text, err := (Edit{"a.go", "one", "1"}).Apply(dir); err != nil || string(text) != "1 two two" {
		t.Errorf("%s, error %v", text, err)
	}
}

func TestDir(t *testing.T) {
	module, err := Dir(t.Context(), "-m")
	if err != nil {
		t.Fatal(err)
	}
	if dir, err := Dir(t.Context(), "github.com/cxtp/cxtp/cxtp"); err != nil || dir != filepath.Join(module, "cxtp") {
		t.Errorf("%s, error %v, in the module at %s", dir, err, module)
	}
	if _, err := Dir(t.Context(), "github.com/cxtp/cxtp/nothing"); err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("error %v", err)
	}
}
