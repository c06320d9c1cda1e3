package inbucket

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/services/internal/reading"
	"github.com/sluice-mail/sluice/services/internal/token"
	"github.com/sluice-mail/sluice/services/mailbox/internal/access"
	"github.com/sluice-mail/sluice/services/mailbox/internal/requests"
)

const (
	base = "/inbucket/api/v1/mailbox/{name}"
	// timeout bounds each request.
	timeout = 30 * time.Second
	// maxPatch bounds the body of PATCH in bytes.
	maxPatch = 4 << 10
	// maxList bounds a list, which has no pages.
	maxList = 500
)

// Deps are what the handlers work with.
type Deps struct {
	Reader *reading.Reader // cache and database
	Names  reading.Names   // how an address becomes a mailbox
	Logger *slog.Logger
}

type handlers struct{ Deps }

// asked is a request for a mailbox.
type asked struct {
	name    string // as the client calls the mailbox, and shall go on calling it
	mailbox string // "" for one without mail
	id      string
}

// Mount puts the handlers on a mux.
func Mount(mux *http.ServeMux, deps Deps) {
	h := handlers{deps}
	for pattern, serve := range map[string]func(http.ResponseWriter, *http.Request, asked) error{
		"GET " + base:                  h.list,
		"GET " + base + "/{id}":        h.message,
		"GET " + base + "/{id}/source": h.source,
		"PATCH " + base + "/{id}":      h.mark,
		"DELETE " + base + "/{id}":     h.delete,
		"DELETE " + base:               h.purge,
	} {
		right := token.Read
		if strings.HasPrefix(pattern, "DELETE") {
			right = token.Delete
		}
		mux.HandleFunc(pattern, h.handler(right, serve))
	}
	for _, path := range []string{base, base + "/{id}", base + "/{id}/source"} {
		mux.HandleFunc("HEAD "+path, nothing)
	}
	mux.HandleFunc("/inbucket/", nothing) // other methods, and the monitor
}

// nothing is how Inbucket's router answers.
func nothing(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNotFound) }

func (h handlers) handler(right token.Right, serve func(http.ResponseWriter, *http.Request, asked) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		grant := access.Of(r.Context())
		if !grant.Known() {
			w.Header().Set("WWW-Authenticate", `Bearer realm="mailboxes"`)
			http.Error(w, "a token is needed in the header Authorization", http.StatusUnauthorized)
			return
		}
		a := asked{name: r.PathValue("name"), id: r.PathValue("id")}
		if mailbox, err := h.Names.Mailbox(a.name); err == nil && grant.May(right, mailbox) {
			a.mailbox = mailbox
			if strings.Contains(a.name, "@") {
				a.name = mailbox
			}
		}
		ctx, cancel := context.WithTimeout(r.Context(), timeout)
		defer cancel()
		if err := serve(w, r.WithContext(ctx), a); err != nil {
			h.failed(w, r, err)
		}
	}
}

func (h handlers) failed(w http.ResponseWriter, r *http.Request, err error) {
	switch {
	case errors.Is(err, mailstore.ErrNotFound):
		http.Error(w, "404 page not found", http.StatusNotFound)
	case errors.Is(err, errBody):
		http.Error(w, errBody.Error(), http.StatusBadRequest)
	default:
		h.Logger.Warn("a request failed", "request", requests.ID(r.Context()), "error", err)
		http.Error(w, "the mail is not available just now", http.StatusServiceUnavailable)
	}
}

func (h handlers) list(w http.ResponseWriter, r *http.Request, a asked) error {
	headers := []header{}
	if a.mailbox != "" {
		var q mailstore.Query
		for q.Limit = mailstore.MaxLimit; len(headers) < maxList; {
			entries, err := h.Reader.List(r.Context(), a.mailbox, q)
			if err != nil {
				return err
			}
			for _, e := range entries[:min(len(entries), maxList-len(headers))] {
				headers = append(headers, newHeader(a.name, e))
			}
			if len(entries) < q.Limit {
				break
			}
			q.Before = entries[len(entries)-1].ID
		}
	}
	for i, j := 0, len(headers)-1; i < j; i, j = i+1, j-1 { // oldest first
		headers[i], headers[j] = headers[j], headers[i]
	}
	return answer(w, headers)
}

// find returns the id of the mail that a request names.
func (h handlers) find(ctx context.Context, a asked) (ulid.ULID, error) {
	if a.mailbox == "" {
		return ulid.ULID{}, mailstore.ErrNotFound
	}
	if a.id != "latest" {
		id, err := ulid.ParseStrict(a.id)
		if err != nil {
			return id, mailstore.ErrNotFound
		}
		return id, nil
	}
	newest, err := h.Reader.List(ctx, a.mailbox, mailstore.Query{Limit: 1})
	if err == nil && len(newest) == 0 {
		err = mailstore.ErrNotFound
	}
	if err != nil {
		return ulid.ULID{}, err
	}
	return newest[0].ID, nil
}

func (h handlers) open(ctx context.Context, a asked) (*reading.Mail, error) {
	id, err := h.find(ctx, a)
	if err != nil {
		return nil, err
	}
	return h.Reader.Open(ctx, a.mailbox, id)
}

func (h handlers) message(w http.ResponseWriter, r *http.Request, a asked) error {
	m, err := h.open(r.Context(), a)
	if err != nil {
		return err
	}
	defer m.Close()
	msg, err := newMessage(a.name, m, partLinks(r, m))
	if err != nil {
		return err
	}
	return answer(w, msg)
}

func (h handlers) source(w http.ResponseWriter, r *http.Request, a asked) error {
	m, err := h.open(r.Context(), a)
	if err != nil {
		return err
	}
	defer m.Close()
	w.Header().Set("Content-Type", "text/plain")
	_, _ = io.Copy(w, m.Delivered()) // an error is that the client has gone
	return nil
}

var errBody = errors.New("failed to decode JSON")

// mark marks a mail as seen; a body that asks for anything else changes nothing.
func (h handlers) mark(w http.ResponseWriter, r *http.Request, a asked) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxPatch))
	if err != nil {
		return errBody
	}
	patch := struct {
		Seen *bool `json:"seen"`
	}{}
	if len(strings.TrimSpace(string(body))) > 0 {
		if err := json.Unmarshal(body, &patch); err != nil {
			return errBody
		}
	} else {
		patch.Seen = new(true)
	}
	id, err := h.find(r.Context(), a)
	if err == nil && patch.Seen != nil && *patch.Seen {
		err = h.Reader.MarkSeen(r.Context(), a.mailbox, id, true)
	}
	if err != nil && !errors.Is(err, mailstore.ErrNotFound) {
		return err
	}
	return answer(w, "OK")
}

func (h handlers) delete(w http.ResponseWriter, r *http.Request, a asked) error {
	id, err := h.find(r.Context(), a)
	if err == nil {
		_, err = h.Reader.Delete(r.Context(), a.mailbox, id)
	}
	if err != nil && !errors.Is(err, mailstore.ErrNotFound) {
		return err
	}
	return answer(w, "OK")
}

func (h handlers) purge(w http.ResponseWriter, r *http.Request, a asked) error {
	if a.mailbox != "" {
		if _, err := h.Reader.DeleteAll(r.Context(), a.mailbox); err != nil {
			return err
		}
	}
	return answer(w, "OK")
}

func answer(w http.ResponseWriter, v any) error {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Expires", "-1")
	_ = json.NewEncoder(w).Encode(v) // an error is that the client has gone
	return nil
}
