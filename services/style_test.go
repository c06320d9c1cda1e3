package services_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const (
	maxFileLines     = 500
	maxFunctionLines = 80
	maxMainLines     = 40 // of services/*/cmd/*/main.go

	// Of one package, without its tests: what one can read in an afternoon.
	maxPackageFiles = 20
	maxPackageLines = 2500
)

// source is one parsed Go file.
type source struct {
	path  string // from the top of the repository
	lines int
	fset  *token.FileSet
	file  *ast.File
}

func (s source) test() bool { return strings.HasSuffix(s.path, "_test.go") }

func (s source) dir() string { return filepath.Dir(s.path) }

// sources parses every hand-written Go file of the repository, the lab's too.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != ".." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata"):
			return filepath.SkipDir
		case d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, ".pb.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, path, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		name, err := filepath.Rel("..", path)
		all = append(all, source{path: filepath.ToSlash(name), lines: bytes.Count(text, []byte("\n")), fset: fset, file: file})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 30 {
		t.Fatalf("only %d files found: these tests would prove nothing", len(all))
	}
	return all
}

func TestFilesAreShort(t *testing.T) {
	for _, s := range sources(t) {
		limit := maxFileLines
		if strings.HasPrefix(s.path, "services/") && strings.Contains(s.path, "/cmd/") && !s.test() {
			limit = maxMainLines
		}
		if s.lines > limit {
			t.Errorf("%s has %d lines, at most %d", s.path, s.lines, limit)
		}
	}
}

func TestPackagesAreSmall(t *testing.T) {
	files, lines := make(map[string]int), make(map[string]int)
	for _, s := range sources(t) {
		if !s.test() {
			files[s.dir()]++
			lines[s.dir()] += s.lines
		}
	}
	for dir := range files {
		if files[dir] > maxPackageFiles || lines[dir] > maxPackageLines {
			t.Errorf("%s has %d files with %d lines, at most %d and %d", dir, files[dir], lines[dir], maxPackageFiles, maxPackageLines)
		}
	}
}

func TestFunctionsAreShort(t *testing.T) {
	for _, s := range sources(t) {
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || s.test() {
				continue
			}
			if n := s.fset.Position(f.End()).Line - s.fset.Position(f.Pos()).Line + 1; n > maxFunctionLines {
				t.Errorf("%s: %s has %d lines, at most %d", s.path, f.Name.Name, n, maxFunctionLines)
			}
			if f.Recv == nil && f.Name.Name == "init" {
				t.Errorf("%s has an init function: what happens should be called", s.path)
			}
		}
	}
}

func TestPackagesSayWhatTheyAre(t *testing.T) {
	documented := make(map[string]bool)
	for _, s := range sources(t) {
		if !s.test() {
			documented[s.dir()] = documented[s.dir()] || s.file.Doc.Text() != ""
		}
	}
	for dir, ok := range documented {
		if !ok {
			t.Errorf("%s has no package comment", dir)
		}
	}
}

// TestMetricsAreListed: an operator finds every metric in deploy/METRICS.md, and a developer finds it there by its whole name.
func TestMetricsAreListed(t *testing.T) {
	page, err := os.ReadFile("../deploy/METRICS.md")
	if err != nil {
		t.Fatal(err)
	}
	name := regexp.MustCompile(`^sluice_[a-z0-9_]+$`)
	others := []string{"sluice_schema", "sluice_version", "sluice_test_"} // tables of migrations, databases of tests
	seen := 0
	for _, s := range sources(t) {
		if s.test() || strings.HasPrefix(s.path, "scripts/") || strings.HasSuffix(s.path, "stream/topology.go") { // buckets
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			lit, ok := n.(*ast.BasicLit)
			if !ok || lit.Kind != token.STRING {
				return true
			}
			text, err := strconv.Unquote(lit.Value)
			if err != nil || !name.MatchString(text) || slices.Contains(others, text) {
				return true
			}
			seen++
			if !bytes.Contains(page, []byte("| `"+text+"` |")) {
				t.Errorf("%s: %s is not in deploy/METRICS.md; its name must be whole, so that a search finds it", s.path, text)
			}
			return true
		})
	}
	if seen < 30 {
		t.Errorf("only %d metrics were found: this test has looked at nothing", seen)
	}
}
