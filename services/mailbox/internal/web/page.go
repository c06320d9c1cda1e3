package web

import (
	"bytes"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/services/internal/reading"
	"github.com/sluice-mail/sluice/services/internal/token"
	"github.com/sluice-mail/sluice/services/mailbox/internal/access"
	"github.com/sluice-mail/sluice/services/mailbox/internal/requests"
)

// policy lets a page load only the inbox's own assets, and show the mail in a frame, which has another policy.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"frame-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"

//go:embed templates
var templateFiles embed.FS

//go:embed english.json
var english []byte

// words are the texts of the pages, by name. %s is replaced.
type words map[string]string

func readWords() (words, error) {
	var w words
	if err := json.Unmarshal(english, &w); err != nil {
		return nil, fmt.Errorf("reading the pages' words: %w", err)
	}
	return w, nil
}

func (w words) say(name string, args ...any) (string, error) {
	text, ok := w[name]
	if !ok {
		return "", fmt.Errorf("english.json has no %q", name)
	}
	if len(args) == 0 {
		return text, nil
	}
	return fmt.Sprintf(text, args...), nil
}

// forModule are the texts that the JavaScript module uses, as JSON.
func (w words) forModule() (string, error) {
	chosen := make(words)
	for name, text := range w {
		if rest, ours := strings.CutPrefix(name, "js."); ours {
			chosen[rest] = text
		}
	}
	text, err := json.Marshal(chosen)
	return string(text), err
}

func readTemplates(w words, assets map[string]asset) (map[string]*template.Template, error) {
	spoken, err := w.forModule()
	if err != nil {
		return nil, err
	}
	base, err := template.New("layout.html").Funcs(template.FuncMap{
		"t":     w.say,
		"words": func() string { return spoken },
		"asset": func(name string) string { return "/assets/" + name + "?v=" + assets[name].tag },
		"size":  size, "when": when, "full": full, "initial": initial, "text": linked, "shell": quoted,
	}).ParseFS(templateFiles, "templates/layout.html", "templates/icons.html", "templates/rows.html")
	if err != nil {
		return nil, err
	}
	all := make(map[string]*template.Template)
	for _, name := range []string{"home", "inbox", "empty", "login", "error", "frame"} {
		t, err := base.Clone()
		if err != nil {
			return nil, err
		}
		if all[name], err = t.ParseFS(templateFiles, "templates/"+name+".html"); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// page is what every template gets.
type page struct {
	Title   string
	Address string // of the mailbox, "" outside of one
	Tokens  bool
	Kind    string // for the style sheet
	Notice  string // the name of something that has just happened
	Data    any
}

// Path is the mailbox's.
func (p page) Path() string { return inboxPath(p.Address) }

// API is the path of the mailbox below the API.
func (p page) API() string { return "/api/v1/mailboxes/" + url.PathEscape(p.Address) }

func inboxPath(mailbox string) string { return "/inbox/" + url.PathEscape(mailbox) }

func (p *Pages) show(w http.ResponseWriter, r *http.Request, status int, name string, content page) {
	content.Tokens = p.Tokens && access.Of(r.Context()).Known()
	content.Kind = name
	var out bytes.Buffer
	if err := p.templates[name].ExecuteTemplate(&out, "layout.html", content); err != nil {
		p.Logger.Error("making a page", "page", name, "request", requests.ID(r.Context()), "error", err)
		http.Error(w, "This page cannot be made.", http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("Cache-Control", "private, no-cache")
	h.Set("Vary", "Authorization, Cookie")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin") // a form's Origin would be null with less
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	w.WriteHeader(status)
	_, _ = w.Write(out.Bytes()) // an error is that the client has gone
}

// fail shows what is wrong and what to do about it.
func (p *Pages) fail(w http.ResponseWriter, r *http.Request, status int, what string) {
	title, err := p.words.say("error." + what)
	if err != nil {
		title = http.StatusText(status)
	}
	address := ""
	if mailbox, err := p.Names.Mailbox(r.PathValue("address")); err == nil && what == "gone" {
		address = mailbox
	}
	p.show(w, r, status, "error", page{Title: title, Address: address, Data: what})
}

// failed shows the page for an error of reading.
func (p *Pages) failed(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, mailstore.ErrNotFound):
		p.fail(w, r, http.StatusNotFound, "gone")
		return
	case errors.Is(err, context.Canceled):
	case errors.Is(err, reading.ErrBusy):
	default:
		p.Logger.Warn("a page failed", "request", requests.ID(r.Context()), "error", err)
	}
	w.Header().Set("Retry-After", "2")
	p.fail(w, r, http.StatusServiceUnavailable, "away")
}

// mailbox returns the mailbox that a path names. If it returns false, it has answered: with the login page, with a redirect to
// the normal form of the address, or with "not found".
func (p *Pages) mailbox(w http.ResponseWriter, r *http.Request, right token.Right) (string, bool) {
	if !access.Of(r.Context()).Known() {
		p.login(w, r)
		return "", false
	}
	asked := r.PathValue("address")
	mailbox, err := p.Names.Mailbox(asked)
	switch {
	case err != nil:
		p.fail(w, r, http.StatusNotFound, "address")
	case !access.Of(r.Context()).May(right, mailbox):
		p.fail(w, r, http.StatusNotFound, "lost")
	case mailbox != asked && r.Method == http.MethodGet && r.PathValue("id") == "":
		http.Redirect(w, r, inboxPath(mailbox), http.StatusFound)
	default:
		return mailbox, true
	}
	return "", false
}

const pageTimeout = 15 * time.Second
