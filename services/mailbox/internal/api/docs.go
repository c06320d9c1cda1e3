package api

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html/template"
	"net/http"
)

var (
	//go:embed docs.html
	docsPage string
	//go:embed docs.css
	docsStyle string
)

// Docs serves the description, once everything is described: for programs at /openapi.json, for people at /docs. The
// page is made here and needs no script.
func (a *API) Docs(mux *http.ServeMux) error {
	document, err := json.Marshal(a.huma.OpenAPI())
	if err != nil {
		return fmt.Errorf("writing the description of the API: %w", err)
	}
	page, err := a.page()
	if err != nil {
		return fmt.Errorf("writing the page about the API: %w", err)
	}
	style := sha256.Sum256([]byte(docsStyle))
	policy := "default-src 'none'; style-src 'sha256-" + base64.StdEncoding.EncodeToString(style[:]) +
		"'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
	mux.HandleFunc("GET /openapi.json", fixed("application/openapi+json", "default-src 'none'", document))
	mux.HandleFunc("GET /docs", fixed("text/html; charset=utf-8", policy, page))
	return nil
}

func (a *API) page() ([]byte, error) {
	t, err := template.New("docs").Parse(docsPage)
	if err != nil {
		return nil, err
	}
	var page bytes.Buffer
	err = t.Execute(&page, newManual(a.huma.OpenAPI()))
	return page.Bytes(), err
}

// fixed serves what does not change while the process runs.
func fixed(mediaType, policy string, content []byte) http.HandlerFunc {
	sum := sha256.Sum256(content)
	tag := `"` + hex.EncodeToString(sum[:16]) + `"`
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", mediaType)
		h.Set("Content-Security-Policy", policy)
		h.Set("ETag", tag)
		h.Set("Cache-Control", "no-cache")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		if matches(r.Header.Get("If-None-Match"), tag) {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = w.Write(content) // an error is that the client has gone
	}
}
