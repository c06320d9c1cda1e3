package web

import (
	"fmt"
	"html/template"
	"log/slog"
	"net/http"
	"strings"

	"github.com/sluice-mail/sluice/services/internal/reading"
	"github.com/sluice-mail/sluice/services/mailbox/internal/safehtml"
)

// Deps are what the pages are made from.
type Deps struct {
	Reader    *reading.Reader     // cache and database
	Names     reading.Names       // how an address becomes a mailbox
	Sanitiser *safehtml.Sanitiser // for the HTML of mails
	Logger    *slog.Logger
	// Tokens says that readers must log in.
	Tokens bool
	// Domain is the domain of suggested addresses; "" means the host name of the request, if mail could go there.
	Domain string
}

// Pages are the pages.
type Pages struct {
	Deps
	templates map[string]*template.Template
	words     words
	assets    map[string]asset
}

// New prepares the pages.
func New(deps Deps) (*Pages, error) {
	p := &Pages{Deps: deps}
	var err error
	if p.words, err = readWords(); err != nil {
		return nil, err
	}
	if p.assets, err = readAssets(); err != nil {
		return nil, err
	}
	if p.templates, err = readTemplates(p.words, p.assets); err != nil {
		return nil, fmt.Errorf("reading the pages' templates: %w", err)
	}
	return p, nil
}

// Mount puts the pages on a mux.
func (p *Pages) Mount(mux *http.ServeMux) {
	mux.HandleFunc("GET /{$}", p.home)
	mux.HandleFunc("GET /open", p.open)
	mux.HandleFunc("GET /inbox/{address}", p.list)
	mux.HandleFunc("GET /inbox/{address}/empty", p.askEmpty)
	mux.HandleFunc("POST /inbox/{address}/empty", p.empty)
	mux.HandleFunc("GET /inbox/{address}/{id}", p.message)
	mux.HandleFunc("GET /inbox/{address}/{id}/html", p.frame)
	mux.HandleFunc("POST /inbox/{address}/{id}/delete", p.delete)
	mux.HandleFunc("GET /assets/{name}", p.asset)
}

// Lost shows a page to a person who asks for something that is not there. It says whether it has: programs are to be answered
// otherwise.
func (p *Pages) Lost(w http.ResponseWriter, r *http.Request) bool {
	if r.Method != http.MethodGet || !strings.Contains(r.Header.Get("Accept"), "text/html") {
		return false
	}
	p.fail(w, r, http.StatusNotFound, "lost")
	return true
}
