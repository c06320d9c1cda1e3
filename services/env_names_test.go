package services_test

import (
	"go/ast"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/sluice-mail/sluice/pkg/env"
)

// tagged finds the variables in the tags of all configuration structs, and where they are.
func tagged(t *testing.T) map[string]string {
	t.Helper()
	found := make(map[string]string)
	for _, s := range sources(t) {
		if s.test() || strings.HasPrefix(s.path, "scripts/") {
			continue
		}
		ast.Inspect(s.file, func(n ast.Node) bool {
			if field, ok := n.(*ast.Field); ok && field.Tag != nil {
				tag, err := strconv.Unquote(field.Tag.Value)
				if err != nil {
					t.Fatalf("%s: %v", s.path, err)
				}
				if name := reflect.StructTag(tag).Get("envconfig"); name != "" {
					found[name] = s.path
				}
			}
			return true
		})
	}
	return found
}

// TestNamesListsEveryVariable: env.Names is how one binary tells a sister's variable from a misspelt one.
func TestNamesListsEveryVariable(t *testing.T) {
	found := tagged(t)
	for _, name := range slices.Sorted(maps.Keys(found)) {
		if !slices.Contains(env.Names(), name) {
			t.Errorf("%s has the variable %s, but env.Names does not", found[name], name)
		}
	}
	for _, name := range env.Names() {
		if _, ok := found[name]; ok {
			continue
		}
		prefix, _, _ := strings.Cut(name, "_")
		if !slices.ContainsFunc(slices.Collect(maps.Keys(found)), func(n string) bool { return strings.HasPrefix(n, prefix+"_") }) {
			t.Logf("%s belongs to a part that is not there yet", name)
			continue
		}
		t.Errorf("env.Names has %s, but no configuration struct does", name)
	}
}

func TestNamesHasNoDoubles(t *testing.T) {
	names := slices.Sorted(slices.Values(env.Names()))
	if got := slices.Compact(slices.Clone(names)); len(got) != len(names) {
		t.Errorf("env.Names repeats a name: %v", names)
	}
}
