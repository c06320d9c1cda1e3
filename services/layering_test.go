package services_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const root = "github.com/sluice-mail/sluice/"

// listed is what these tests need to know of a package.
type listed struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

// goList runs the Go tool in one of the modules. -e: a package that does not compile is another test's failure.
func goList(t *testing.T, dir string, patterns ...string) []listed {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-e", "-json=ImportPath,Imports,Deps"}, patterns...)...)
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list in %s: %v\n%s", dir, err, &stderr)
	}
	var packages []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

// all lists the packages of the three modules.
func all(t *testing.T) []listed {
	t.Helper()
	var packages []listed
	for _, dir := range []string{"../proto", "../pkg", "."} {
		packages = append(packages, goList(t, dir, "./...")...)
	}
	if len(packages) < 10 {
		t.Fatalf("only %d packages found: these tests would prove nothing", len(packages))
	}
	return packages
}

// part splits "github.com/sluice-mail/sluice/pkg/smtpd/spool" into the layer pkg and the part smtpd. Packages of others
// have no layer.
func part(importPath string) (layer, name string) {
	inside, ours := strings.CutPrefix(importPath, root)
	if !ours {
		return "", ""
	}
	elements := strings.SplitN(inside, "/", 3)
	if len(elements) < 2 {
		return elements[0], ""
	}
	return elements[0], elements[1]
}

// isRoom says whether a package is one of the rooms of pkg/stream, which build on it. What is internal serves them all.
func isRoom(importPath string) bool {
	room, inside := strings.CutPrefix(importPath, root+"pkg/stream/")
	return inside && room != "internal" && !strings.HasPrefix(room, "internal/")
}

// broken says which rule an import breaks, or "".
func broken(from, to string) string {
	layer, name := part(from)
	toLayer, toName := part(to)
	rank := map[string]int{"proto": 1, "pkg": 2, "services": 3}
	// Which siblings these parts may import; all others are free to.
	siblings := map[string][]string{"digest": nil, "smtp": nil, "smtpd": {"smtp"}, "mailparse": nil, "env": nil, "obs": nil, "lifecycle": nil}
	allowed, bound := siblings[name]
	switch {
	case from == root+"pkg/stream" && isRoom(to):
		return "pkg/stream imports none of its rooms"
	case strings.HasPrefix(to, root+"pkg/stream/internal/streamtest") && from != to:
		return "only tests import streamtest"
	case toLayer == "" || (layer == toLayer && name == toName):
		return ""
	case rank[toLayer] == 0:
		return "nothing may be imported from there"
	case rank[toLayer] > rank[layer]:
		return "imports go from services to pkg to proto, never back"
	case layer == "pkg" && toLayer == "pkg" && bound && !slices.Contains(allowed, toName):
		return fmt.Sprintf("pkg/%s may import these siblings only: %q", name, allowed)
	case layer == "pkg" && toLayer == "pkg" && toName == "audit":
		return "pkg/audit looks at the log and the database from outside: no other part of pkg imports it"
	case layer == "services" && toLayer == "services" && name != "allinone" && toName != "internal":
		return "only allinone imports its sister services"
	case layer == "services" && toLayer == "services" && (toName == "allinone" || toName == "sluicectl"):
		return "nobody imports allinone or sluicectl"
	}
	return ""
}

func TestImportsFollowTheLayers(t *testing.T) {
	for _, p := range all(t) {
		for _, imported := range p.Imports {
			if rule := broken(p.ImportPath, imported); rule != "" {
				t.Errorf("%s imports %s: %s", p.ImportPath, imported, rule)
			}
		}
	}
}

// TestBrokenKnowsTheRules keeps the test above from passing because it sees nothing.
func TestBrokenKnowsTheRules(t *testing.T) {
	for _, tc := range []struct {
		from, to string
		ok       bool
	}{
		{"services/ingress", "pkg/smtpd", true},
		{"services/ingress/cmd/ingress", "services/ingress", true},
		{"services/ingress/cmd/ingress", "services/internal/process", true},
		{"services/allinone", "services/storer", true},
		{"services/sluicectl", "services/storer", false},
		{"services/storer", "services/ingress", false},
		{"services/internal/process", "services/ingress", false},
		{"services/internal/e2e", "services/allinone", false},
		{"pkg/smtpd", "pkg/smtpd/spool", true},
		{"pkg/smtpd/spool", "pkg/smtpd", true},
		{"pkg/smtpd", "pkg/smtp", true},
		{"pkg/smtpd", "pkg/policy", false},
		{"pkg/smtpd/spool", "pkg/obs", false},
		{"pkg/smtp", "pkg/smtpd", false},
		{"pkg/smtp", "pkg/env", false},
		{"pkg/policy", "pkg/smtp", true},
		{"pkg/env", "pkg/obs", false},
		{"pkg/smtp", "proto/mail/v1", true},
		{"pkg/stream", "pkg/natsd", true},
		{"pkg/stream", "services/ingress", false},
		{"pkg/stream", "pkg/stream/publish", false},
		{"pkg/stream", "pkg/stream/retain", false},
		{"pkg/stream", "pkg/stream/internal/record", true},
		{"pkg/stream/dead", "pkg/stream", true},
		{"pkg/stream/dead", "pkg/stream/publish", true},
		{"pkg/stream/consume", "pkg/stream/internal/pace", true},
		{"pkg/stream/consume", "pkg/stream/internal/streamtest", false},
		{"pkg/audit", "pkg/stream", true},
		{"pkg/audit", "pkg/mailstore", true},
		{"pkg/stream", "pkg/audit", false},
		{"services/storer", "pkg/audit", true},
		{"proto/mail/v1", "pkg/env", false},
		{"pkg/stream", "scripts/lab", false},
	} {
		if rule := broken(root+tc.from, root+tc.to); (rule == "") != tc.ok {
			t.Errorf("%s imports %s: allowed %v, want %v (%q)", tc.from, tc.to, rule == "", tc.ok, rule)
		}
	}
}

// TestIngressStaysThin: the process that faces the internet links no database, no cache, no broker and no MIME parser.
func TestIngressStaysThin(t *testing.T) {
	forbidden := []string{
		"github.com/go-sql-driver/mysql", "modernc.org/sqlite", "github.com/pressly/goose",
		"github.com/bradfitz/gomemcache", "github.com/nats-io/nats-server",
		root + "pkg/mailstore", root + "pkg/mailcache", root + "pkg/mailparse", root + "pkg/natsd",
		root + "pkg/stream/consume", root + "pkg/stream/retain", root + "pkg/stream/dead",
	}
	linksEngine := false
	for _, p := range goList(t, ".", "./ingress/...") {
		linksEngine = linksEngine || slices.Contains(p.Deps, root+"pkg/smtpd")
		for _, dep := range p.Deps {
			if slices.ContainsFunc(forbidden, func(f string) bool { return dep == f || strings.HasPrefix(dep, f+"/") }) {
				t.Errorf("%s links %s", p.ImportPath, dep)
			}
		}
	}
	if !linksEngine {
		t.Error("no package of the ingress links pkg/smtpd: this test has looked at nothing")
	}
}

// TestTopLevel: a newcomer sees the whole project in the first listing.
func TestTopLevel(t *testing.T) {
	allowed := []string{"services", "pkg", "proto", "deploy", "scripts", "docker-compose.yml", "go.work", "README.md", "LICENSE"}
	// What the Go tool and the programs write there.
	written := []string{"go.work.sum", "bin", "data"}
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		name := e.Name()
		if !strings.HasPrefix(name, ".") && !slices.Contains(allowed, name) && !slices.Contains(written, name) {
			t.Errorf("%s does not belong at the top level: there is only %s", name, strings.Join(allowed, " "))
		}
	}
}
