package mailbox_test

import (
	"encoding/json"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// description is /openapi.json, to hold answers against.
type description struct {
	t        *testing.T
	document map[string]any
	compiler *jsonschema.Compiler
	routes   []route
}

// route is an operation of the description.
type route struct {
	method, template string
	path             *regexp.Regexp
	operation        map[string]any
	pointer          string
}

func describe(t *testing.T, in *inbox) *description {
	t.Helper()
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(in.status(in.get("/openapi.json"), http.StatusOK).body))
	if err != nil {
		t.Fatal(err)
	}
	d := &description{t: t, document: document.(map[string]any), compiler: jsonschema.NewCompiler()}
	d.compiler.DefaultDraft(jsonschema.Draft2020)
	d.compiler.AssertFormat()
	if err := d.compiler.AddResource("openapi.json", document); err != nil {
		t.Fatal(err)
	}
	for template, item := range d.document["paths"].(map[string]any) {
		for method, operation := range item.(map[string]any) {
			pattern := regexp.MustCompile(`\{[a-z]+\}`).ReplaceAllString(template, `[^/]+`)
			d.routes = append(d.routes, route{
				strings.ToUpper(method), template, regexp.MustCompile("^" + pattern + "$"), operation.(map[string]any),
				"/paths/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(template) + "/" + method,
			})
		}
	}
	return d
}

// check holds an answer against what the description says of its operation. What no operation is for is not looked at.
func (d *description) check(a answer) {
	d.t.Helper()
	for _, r := range d.routes {
		if r.method == a.Request.Method && r.path.MatchString(a.Request.URL.EscapedPath()) {
			d.hold(r, a)
		}
	}
}

func (d *description) hold(r route, a answer) {
	d.t.Helper()
	status := strconv.Itoa(a.StatusCode)
	described, ok := r.operation["responses"].(map[string]any)[status].(map[string]any)
	switch {
	case !ok:
		d.t.Errorf("%s %s: status %s is not described: %.300s", r.method, a.Request.URL, status, a.body)
		return
	}
	media, _, _ := strings.Cut(a.Header.Get("Content-Type"), ";")
	contents, ok := described["content"].(map[string]any)
	if !ok {
		return
	}
	if contents[media] == nil {
		if contents["*/*"] == nil {
			d.t.Errorf("%s %s: %s with %s is not described", r.method, a.Request.URL, status, media)
		}
		return
	}
	if !strings.HasSuffix(media, "json") {
		return
	}
	escaped := strings.NewReplacer("~", "~0", "/", "~1").Replace(media)
	schema, err := d.compiler.Compile("openapi.json#" + r.pointer + "/responses/" + status + "/content/" + escaped + "/schema")
	if err != nil {
		d.t.Fatalf("the description has a schema that is none: %v", err)
	}
	body, err := jsonschema.UnmarshalJSON(strings.NewReader(a.body))
	if err == nil {
		err = schema.Validate(body)
	}
	if err != nil {
		d.t.Errorf("%s %s: the answer is not as described: %v\n%.1000s", r.method, a.Request.URL, err, a.body)
	}
}

func decode[T any](t *testing.T, a answer) (v T) {
	t.Helper()
	if err := json.Unmarshal([]byte(a.body), &v); err != nil {
		t.Fatalf("%v: %.500s", err, a.body)
	}
	return v
}
