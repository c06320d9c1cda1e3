package api

import (
	"context"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/services/internal/reading"
	"github.com/sluice-mail/sluice/services/internal/token"
	"github.com/sluice-mail/sluice/services/mailbox/internal/problem"
	"github.com/sluice-mail/sluice/services/mailbox/internal/requests"
)

// What is asked for most is answered before the framework takes the request apart, which would cost a fifth of such an
// answer: the newest mails of a mailbox, and a mail by its id. Whatever else a request has goes the whole way, also what is
// wrong with it, so that all of that is said in one place.

// maxAddress and maxMatch are what the description allows.
const (
	maxAddress = 320
	maxMatch   = 1000
)

// shortList answers requests for the newest mails.
func (a *API) shortList(hctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(hctx)
	limit, ok := onlyLimit(r.URL.RawQuery)
	mailbox, known := a.shortMailbox(r)
	if !ok || !known {
		next(hctx)
		return
	}
	q := mailstore.Query{Limit: limit}
	answer, err := a.deps.Reader.ListAnswer(r.Context(), mailbox, q, composeList(mailbox, q))
	a.send(w, r, answer, err)
}

// onlyLimit reads a query that has nothing but a limit. No query is one, too.
func onlyLimit(query string) (int, bool) {
	if query == "" {
		return mailstore.DefaultLimit, true
	}
	number, ok := strings.CutPrefix(query, "limit=")
	limit, err := strconv.ParseUint(number, 10, 8)
	return int(limit), ok && err == nil && limit >= 1 && limit <= mailstore.MaxLimit
}

// shortMail answers requests for a mail by its id.
func (a *API) shortMail(hctx huma.Context, next func(huma.Context)) {
	r, w := humago.Unwrap(hctx)
	id, err := ulid.ParseStrict(r.PathValue("id"))
	mailbox, known := a.shortMailbox(r)
	if err != nil || !known || r.URL.RawQuery != "" || id.String() != r.PathValue("id") { // a small letter is not described
		next(hctx)
		return
	}
	answer, err := a.deps.Reader.MailAnswer(r.Context(), mailbox, id, a.compose)
	a.send(w, r, answer, err)
}

// shortMailbox is the mailbox that a request may read, if everything about that is right.
func (a *API) shortMailbox(r *http.Request) (string, bool) {
	address := r.PathValue("address")
	if len(address) > maxAddress || len(r.Header.Get("If-None-Match")) > maxMatch {
		return "", false
	}
	mailbox, err := a.mailbox(r.Context(), address, token.Read)
	return mailbox, err == nil
}

// send sends an answer, packed when the client takes that, or what went wrong.
func (a *API) send(w http.ResponseWriter, r *http.Request, answer *reading.Answer, err error) {
	h := w.Header()
	if err != nil {
		a.sendError(r.Context(), w, a.failed(r.Context(), err))
		return
	}
	tag, body := answer.Tag, answer.Body
	h["Cache-Control"], h["Vary"] = []string{private}, append(h["Vary"], varyAuth)
	if match := r.Header.Get("If-None-Match"); match != "" && matches(match, tag) {
		h["Etag"] = []string{tag}
		w.WriteHeader(http.StatusNotModified)
		return
	}
	if requests.Compresses(w, len(body)) {
		if body, err = answer.Packed(); err != nil {
			a.sendError(r.Context(), w, a.failed(r.Context(), err))
			return
		}
		tag = requests.CompressedTag(tag)
		h["Content-Encoding"] = []string{"gzip"}
	}
	h["Etag"], h["Content-Type"], h["Content-Length"] = []string{tag}, []string{"application/json"}, []string{strconv.Itoa(len(body))}
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // an error is that the client has gone
	}
}

// sendError sends an error of ours as the framework would.
func (a *API) sendError(ctx context.Context, w http.ResponseWriter, err error) {
	if with, ok := errors.AsType[huma.HeadersError](err); ok {
		for name, values := range with.GetHeaders() {
			w.Header()[name] = values
		}
	}
	status := http.StatusInternalServerError
	said, ok := errors.AsType[huma.StatusError](err)
	if !ok {
		a.deps.Logger.Error("an error without a status", "request", requests.ID(ctx), "error", err)
		problem.Write(w, status, "")
		return
	}
	problem.Write(w, said.GetStatus(), said.Error())
}
