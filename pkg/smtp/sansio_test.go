package smtp

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

// allowedImports is all that the protocol may import. The packages that could reach the outside world are given with the
// few names of them that cannot; nil allows every name.
func allowedImports() map[string][]string {
	return map[string][]string{
		"bytes": nil, "encoding/binary": nil, "errors": nil, "strconv": nil, "strings": nil, "unicode": nil, "unicode/utf8": nil,
		"net/netip": nil, // addresses as values, without a resolver or a socket
		"time":      {"Time", "Duration", "UnixMilli"},

		"github.com/oklog/ulid/v2":                      {"ULID"},
		"google.golang.org/protobuf/encoding/protowire": nil,
		"google.golang.org/protobuf/proto":              nil,
		"github.com/sluice-mail/sluice/proto/mail/v1":   nil,
	}
}

// TestNoSocketClockOrGoroutine: what a Session does depends on the bytes it is fed and on nothing else. It cannot be
// otherwise, because the package has nothing to reach the world with.
func TestNoSocketClockOrGoroutine(t *testing.T) {
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	checked := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		checked++
		for _, offence := range impure(fset, file) {
			t.Error(offence)
		}
	}
	if checked < 10 {
		t.Errorf("only %d files checked: this test has looked at nothing", checked)
	}
}

// impure lists what in a file reaches out of the bytes: imports and names beyond allowedImports, goroutines, channels.
func impure(fset *token.FileSet, file *ast.File) (offences []string) {
	offend := func(at token.Pos, what string) {
		offences = append(offences, fset.Position(at).String()+": "+what)
	}
	restricted := make(map[string][]string) // by the name the file uses
	for _, spec := range file.Imports {
		path, _ := strconv.Unquote(spec.Path.Value) // the parser has done it before
		names, ok := allowedImports()[path]
		name := importName(path)
		if spec.Name != nil {
			name = spec.Name.Name
		}
		switch {
		case !ok:
			offend(spec.Pos(), "imports "+path)
		case names != nil && (name == "." || name == "_"):
			offend(spec.Pos(), "hides what it uses of "+path)
		case names != nil:
			restricted[name] = names
		}
	}
	ast.Inspect(file, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.GoStmt:
			offend(n.Pos(), "starts a goroutine")
		case *ast.ChanType, *ast.SelectStmt, *ast.SendStmt:
			offend(n.Pos(), "uses a channel")
		case *ast.SelectorExpr:
			x, ok := n.X.(*ast.Ident)
			if !ok {
				break
			}
			if names, ok := restricted[x.Name]; ok && !slices.Contains(names, n.Sel.Name) {
				offend(n.Pos(), "uses "+x.Name+"."+n.Sel.Name)
			}
		}
		return true
	})
	return offences
}

// importName is the last element of a path that is not a version.
func importName(path string) string {
	elements := strings.Split(path, "/")
	last := elements[len(elements)-1]
	if len(elements) > 1 && len(last) == 2 && last[0] == 'v' {
		return elements[len(elements)-2]
	}
	return last
}

// TestImpureSees keeps the test above from passing because it sees nothing.
func TestImpureSees(t *testing.T) {
	for text, want := range map[string]int{
		`import "net/netip"; var a netip.Addr`:                                  0,
		`import "time"; func f() time.Time { return time.UnixMilli(1) }`:        0,
		`import "time"; func f() time.Time { return time.Now() }`:               1,
		`import "time"; var now = time.Now`:                                     1,
		`import clock "time"; func f() { clock.Sleep(1); <-clock.After(1) }`:    2,
		`import . "time"; func f() { Sleep(1) }`:                                1,
		`import "github.com/oklog/ulid/v2"; var id = ulid.Make()`:               1,
		`import "net"; var l net.Listener`:                                      1,
		`import "os"; import "sync"; var mu sync.Mutex; var f *os.File`:         2,
		`func f() { go f() }`:                                                   1,
		`func f() { select {} }`:                                                1,
		`var c chan int`:                                                        1,
		`import "github.com/sluice-mail/sluice/pkg/env"; var a env.Addr`:        1,
		`import v1 "github.com/sluice-mail/sluice/proto/mail/v1"; var e v1.TLS`: 0,
	} {
		fset := token.NewFileSet()
		file, err := parser.ParseFile(fset, "x.go", "package smtp; "+text, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		if got := impure(fset, file); len(got) != want {
			t.Errorf("%s: got %q, want %d", text, got, want)
		}
	}
}
