package settle

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// TestNoClockGoroutineOrConnection: what a Settler does depends on what it is told and on nothing else. It cannot be
// otherwise, because the package has nothing to reach the world with: of a mail it uses what is in memory.
func TestNoClockGoroutineOrConnection(t *testing.T) {
	allowed := []string{"errors", "fmt", "log/slog", "maps", "slices", "strconv", "strings", "time", "github.com/sluice-mail/sluice/pkg/stream"}
	restricted := map[string][]string{
		"time": {"Time", "Duration"}, "slog": {"Level", "LevelInfo", "LevelWarn", "LevelError"}, "stream": {"Message"},
	}
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		checked++
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, spec := range file.Imports {
			if path, _ := strconv.Unquote(spec.Path.Value); !slices.Contains(allowed, path) || spec.Name != nil {
				t.Errorf("%s imports %s", name, spec.Path.Value)
			}
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.GoStmt, *ast.ChanType, *ast.SelectStmt, *ast.SendStmt:
				t.Errorf("%s: goroutine or channel", fset.Position(n.Pos()))
			case *ast.SelectorExpr:
				x, ok := n.X.(*ast.Ident)
				if !ok {
					break
				}
				if names, ok := restricted[x.Name]; ok && !slices.Contains(names, n.Sel.Name) {
					t.Errorf("%s: uses %s.%s", fset.Position(n.Pos()), x.Name, n.Sel.Name)
				}
			}
			return true
		})
	}
	if checked < 7 {
		t.Errorf("only %d files checked: this test has looked at nothing", checked)
	}
}
