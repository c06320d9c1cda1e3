package web

import (
	"bytes"
	"context"
	"html/template"
	"io"
	"net/http"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/services/internal/reading"
	"github.com/sluice-mail/sluice/services/internal/token"
	"github.com/sluice-mail/sluice/services/mailbox/internal/requests"
	"github.com/sluice-mail/sluice/services/mailbox/internal/safehtml"
)

// Sandbox are the flags of the mail's frame: links may open a window, no script runs, and the frame has an opaque origin.
const (
	sandbox        = "allow-popups allow-popups-to-escape-sandbox"
	framePolicy    = "sandbox " + sandbox + "; default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
	picturesPolicy = "sandbox " + sandbox + "; default-src 'none'; img-src data: https: http:; style-src 'unsafe-inline'; "
	frameLimits    = "form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
)

// frame answers with the mail's HTML, made harmless.
func (p *Pages) frame(w http.ResponseWriter, r *http.Request) {
	mailbox, ok := p.mailbox(w, r, token.Read)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), pageTimeout)
	defer cancel()
	m, err := p.openMail(ctx, mailbox, r.PathValue("id"))
	if err != nil {
		p.failed(w, r, err)
		return
	}
	defer m.Close()
	_, html, _, err := m.Bodies()
	if err == nil && html == "" {
		err = mailstore.ErrNotFound
	}
	if err != nil {
		p.failed(w, r, err)
		return
	}
	pictures := r.URL.Query().Get("images") == "1"
	shown, err := p.Sanitiser.Clean(ctx, html, safehtml.Options{Remote: pictures, Inline: inline(m)})
	if err != nil {
		p.failed(w, r, err)
		return
	}
	var out bytes.Buffer
	// This is the only place where HTML from a mail is not escaped: safehtml has sanitised it, and the frame runs no script.
	err = p.templates["frame"].ExecuteTemplate(&out, "frame.html", template.HTML(shown.HTML))
	if err != nil {
		p.Logger.Error("making a mail's frame", "request", requests.ID(r.Context()), "error", err)
		p.fail(w, r, http.StatusInternalServerError, "away")
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", framePolicy+frameLimits)
	if pictures {
		h.Set("Content-Security-Policy", picturesPolicy+frameLimits)
	}
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-DNS-Prefetch-Control", "off")
	h.Set("Cache-Control", "private, no-cache")
	h.Set("Vary", "Authorization, Cookie")
	_, _ = w.Write(out.Bytes()) // an error is that the client has gone
}

// inline reads the parts that a mail's page shows by Content-ID.
func inline(m *reading.Mail) func(string, int64) ([]byte, bool) {
	parts := m.Inline()
	return func(id string, limit int64) ([]byte, bool) {
		part, ok := parts[id]
		if !ok {
			return nil, false
		}
		content, err := io.ReadAll(io.LimitReader(m.Content(part.Number), limit+1))
		return content, err == nil && int64(len(content)) <= limit
	}
}
