// Package overlay has this module compiled with something else in it than its files
// say, and leaves the files alone: for the tools that take a guard away and look
// whether anything sees it. [Each] has several tried at a time.
//
//	list, err := overlay.Write(dir, work, edits, nil)
//	exec.Command("go", "build", "-overlay", list, ...)
package overlay

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Edit is another text in a file. The file has the old one exactly once.
type Edit struct {
	File     string // from the folder that the edit is for
	Old, New string
}

// Apply gives the file as it is to be compiled. It fails when the edit has gone
// stale: the old text is not there, or more than once.
func (e Edit) Apply(dir string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(dir, e.File))
	if err != nil {
		return nil, err
	}
	return e.in(text)
}

func (e Edit) in(text []byte) ([]byte, error) {
	if n := bytes.Count(text, []byte(e.Old)); n != 1 {
		return nil, fmt.Errorf("the edit has gone stale: its text is in %s %d times, not once:\n%s", e.File, n, e.Old)
	}
	return bytes.Replace(text, []byte(e.Old), []byte(e.New), 1), nil
}

// Write writes what the edits, one after another, make of files below dir to the
// folder work, and there the list that the compiler's -overlay wants, whose name it
// returns. The files that without names, with all of their path, are left out.
func Write(dir, work string, edits []Edit, without []string) (string, error) {
	edited := map[string][]byte{}
	for _, e := range edits {
		text, err := edited[e.File], error(nil)
		if text == nil {
			text, err = os.ReadFile(filepath.Join(dir, e.File))
		}
		if err == nil {
			edited[e.File], err = e.in(text)
		}
		if err != nil {
			return "", err
		}
	}
	replace := map[string]string{}
	for file, text := range edited {
		path := filepath.Join(work, strings.ReplaceAll(file, "/", "_"))
		if err := os.WriteFile(path, text, 0o644); err != nil {
			return "", err
		}
		replace[filepath.Join(dir, file)] = path
	}
	for _, file := range without {
		replace[file] = ""
	}
	text, err := json.Marshal(map[string]map[string]string{"Replace": replace})
	if err != nil {
		return "", err
	}
	list := filepath.Join(work, "overlay.json")
	return list, os.WriteFile(list, text, 0o644)
}

// Dir is where the source of a package is; "-m" asks for that of the module.
func Dir(ctx context.Context, what ...string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", append([]string{"list", "-f", "{{.Dir}}"}, what...)...).Output()
	if err != nil {
		return "", fmt.Errorf("failed to find the source of %s: run this inside its module: %w", strings.Join(what, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}
