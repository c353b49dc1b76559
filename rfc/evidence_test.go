package rfc_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/cxtp/cxtp/internal/conform"
	"github.com/cxtp/cxtp/internal/conform/live"
	"github.com/cxtp/cxtp/internal/conform/offline"
	"github.com/cxtp/cxtp/rfc"
	"github.com/cxtp/cxtp/testvectors"
)

// module is the folder that this package is in.
const module = ".."

// goTests are the tests of a package: the functions, and the words that a subtest
// could be named by.
type goTests struct {
	functions, words map[string]bool
}

// testsOfModule reads all files of tests by their folder, whatever system or tag
// they are for.
func testsOfModule(t *testing.T) map[string]goTests {
	t.Helper()
	all := map[string]goTests{}
	of := func(folder string) goTests {
		folder, err := filepath.Rel(module, folder)
		if err != nil {
			t.Fatal(err)
		}
		folder = filepath.ToSlash(folder)
		if _, ok := all[folder]; !ok {
			all[folder] = goTests{map[string]bool{}, map[string]bool{}}
		}
		return all[folder]
	}
	err := filepath.WalkDir(module, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && entry.Name() == ".git":
			return fs.SkipDir
		case entry.IsDir():
		case strings.HasSuffix(path, "_test.go"):
			return of(filepath.Dir(path)).read(path)
		default:
			if folder, _, ok := strings.Cut(path, "/testdata/"); ok {
				of(folder).words[strings.TrimSuffix(entry.Name(), filepath.Ext(path))] = true
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// read adds a file's tests. What a subtest is named by is a string in the file, or
// a file in testdata.
func (g goTests) read(path string) error {
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	for _, d := range file.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
			g.functions[f.Name.Name] = true
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		if literal, ok := n.(*ast.BasicLit); ok && literal.Kind == token.STRING {
			if text, err := strconv.Unquote(literal.Value); err == nil {
				g.words[strings.ReplaceAll(text, " ", "_")] = true
			}
		}
		return true
	})
	return nil
}

var testFunction = regexp.MustCompile(`^(Test|Fuzz)[^a-z]`)

// missing says what is wrong with a row's test, "" if it is there.
func missing(all map[string]goTests, name string) string {
	dot := strings.Index(name, ".")
	if dot < 0 {
		return fmt.Sprintf("%q names no package", name)
	}
	parts := strings.Split(name[dot+1:], "/")
	g, ok := all[name[:dot]]
	switch {
	case !ok:
		return fmt.Sprintf("%q: there are no tests in %s", name, name[:dot])
	case !testFunction.MatchString(parts[0]) || !g.functions[parts[0]]:
		return fmt.Sprintf("%q: %s has no such test", name, name[:dot])
	}
	for _, sub := range parts[1:] {
		if !g.words[sub] {
			return fmt.Sprintf("%q: nothing in %s names a subtest %q", name, name[:dot], sub)
		}
	}
	return ""
}

// witness is a vector or a conformance case.
type witness struct {
	name, section string
	rows          []string
}

// witnesses are all of them.
func witnesses(t *testing.T) (all []witness) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(module, "testvectors", "*", "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no vectors: %v", err)
	}
	for i, file := range files {
		folder := filepath.Base(filepath.Dir(file))
		if i > 0 && folder == filepath.Base(filepath.Dir(files[i-1])) {
			continue
		}
		vectors, err := testvectors.Load(folder)
		if err != nil {
			t.Fatal(err)
		}
		for _, v := range vectors {
			all = append(all, witness{"vector " + folder + ": " + v.Name, v.Section, v.Rows})
		}
	}
	cases, err := offline.Cases(offline.Own{})
	if err != nil {
		t.Fatal(err)
	}
	return slices.Concat(all, witnessesOf(cases), witnessesOf(live.Cases(nil)))
}

func witnessesOf(cases []conform.Case) (all []witness) {
	for _, c := range cases {
		all = append(all, witness{"case " + c.Name, c.Section, c.Rows})
	}
	return all
}

// TestRowsHaveEvidence: what is done is shown by a Go test that is there, a vector,
// or a conformance case.
func TestRowsHaveEvidence(t *testing.T) {
	tests, shown := testsOfModule(t), map[string]bool{}
	for _, w := range witnesses(t) {
		for _, id := range w.rows {
			shown[id] = true
		}
	}
	for _, document := range rfc.Documents() {
		rows, err := rfc.Rows(document)
		if err != nil {
			t.Fatal(err)
		}
		for _, row := range rows {
			for _, name := range row.Tests {
				if why := missing(tests, name); why != "" {
					t.Errorf("%s: %s", row.ID, why)
				}
			}
			if row.State == rfc.Done && len(row.Tests) == 0 && !shown[row.ID] {
				t.Errorf("%s is done, and nothing shows it: %s", row.ID, row.Text)
			}
		}
	}
}
