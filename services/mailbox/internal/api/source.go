package api

import (
	"context"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/sluice-mail/sluice/pkg/mailparse"
	"github.com/sluice-mail/sluice/services/internal/reading"
	"github.com/sluice-mail/sluice/services/mailbox/internal/problem"
)

const (
	rfc822 = "message/rfc822"
	// slowest is the rate in bytes per second below which a download is given up.
	slowest = 64 << 10
)

type rawInput struct {
	Address
	ID
	As string `query:"as" enum:"delivered,sent" default:"delivered" doc:"sent: the bytes as they were sent; delivered: the same, preceded by the header fields of the delivery to this mailbox."`
}

type partInput struct {
	Address
	ID
	Part int `path:"n" minimum:"0" maximum:"999" doc:"The part's number."`
}

func (a *API) sources() {
	errs := []int{http.StatusUnauthorized, http.StatusNotFound, http.StatusTooManyRequests, http.StatusServiceUnavailable}
	binary := func(media, what string) map[string]*huma.Response {
		responses := unchanged()
		responses["200"] = &huma.Response{Description: what, Content: map[string]*huma.MediaType{
			media: {Schema: &huma.Schema{Type: huma.TypeString, Format: "binary"}},
		}}
		return responses
	}
	ranges := binary(rfc822, "The source.")
	ranges["206"] = &huma.Response{Description: "The range that was asked for.", Content: ranges["200"].Content}
	huma.Register(a.huma, huma.Operation{
		OperationID: "get-source", Method: http.MethodGet, Path: "/api/v1/mailboxes/{address}/messages/{id}/raw",
		Summary: "Download a mail's source", Description: "Ranges and conditions work as in RFC 9110.",
		Errors: append(slices.Clone(errs), http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable), Responses: ranges,
	}, a.raw)
	huma.Register(a.huma, huma.Operation{
		OperationID: "get-part", Method: http.MethodGet, Path: "/api/v1/mailboxes/{address}/messages/{id}/parts/{n}",
		Summary: "Download a part", Description: "The decoded body, always as a download. Its Content-Type is the one that the sender gave only if that is harmless.",
		Errors: errs, Responses: binary("*/*", "The part."),
	}, a.part)
}

func (a *API) raw(ctx context.Context, in *rawInput) (*huma.StreamResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	m, err := a.open(ctx, in.Address, in.ID)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		defer m.Close()
		r, w := humago.Unwrap(hctx)
		content, tag := m.Delivered(), m.DeliveredTag()
		if in.As == "sent" {
			content, tag = m.Sent(), m.SentTag()
		}
		h := w.Header()
		download(w, m.Entry.Size, rfc822, m.Entry.ID.String()+".eml")
		h.Set("ETag", `"`+tag+`"`)
		http.ServeContent(&asProblem{ResponseWriter: w}, r, "", time.Time{}, content)
	}}, nil
}

func (a *API) part(ctx context.Context, in *partInput) (*huma.StreamResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	m, err := a.open(ctx, in.Address, in.ID)
	if err != nil {
		return nil, err
	}
	p, ok := m.Part(in.Part)
	if !ok || p.Role == mailparse.RoleStructure { // a multipart has no content of its own
		m.Close()
		return nil, notFound()
	}
	return &huma.StreamResponse{Body: func(hctx huma.Context) {
		defer m.Close()
		r, w := humago.Unwrap(hctx)
		ServePart(w, r, m, p)
	}}, nil
}

// ServePart answers with the content of a part, as a download. A browser must never show it within Sluice's origin, because its
// content is the sender's.
func ServePart(w http.ResponseWriter, r *http.Request, m *reading.Mail, p reading.Part) {
	tag := fmt.Sprintf(`"%s-%d"`, m.SentTag(), p.Number)
	h := w.Header()
	h.Set("ETag", tag)
	if matches(r.Header.Get("If-None-Match"), tag) {
		h.Set("Cache-Control", private)
		w.WriteHeader(http.StatusNotModified)
		return
	}
	download(w, p.Size, harmless(p.Type), fileName(p))
	// There is no Content-Length, because in a damaged mail the size that was counted and the bytes that are decoded could differ.
	if r.Method != http.MethodHead {
		_, _ = io.Copy(w, m.Content(p.Number)) // an error is that the client has gone
	}
}

// download sets the header fields that make an answer a download and nothing else.
func download(w http.ResponseWriter, size int64, mediaType, name string) {
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writeTime + time.Duration(size/slowest)*time.Second))
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Disposition", Disposition(name))
	h.Set("Cache-Control", private)
	h.Set("Vary", varyAuth)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
}

// harmless is the sender's type of a part where no browser runs anything in it.
func harmless(mediaType string) string {
	switch mediaType {
	case "image/png", "image/jpeg", "image/gif", "image/webp", "application/pdf":
		return mediaType
	case "text/plain":
		return "text/plain"
	}
	return "application/octet-stream"
}

// fileName is the part's safe name, or one made up from its type.
func fileName(p reading.Part) string {
	if p.Name != "" {
		return p.Name
	}
	ending := ".bin"
	switch p.Type {
	case rfc822, "message/global":
		ending = ".eml"
	case "text/plain":
		ending = ".txt"
	default:
		if known, err := mime.ExtensionsByType(harmless(p.Type)); err == nil && len(known) > 0 && harmless(p.Type) == p.Type {
			ending = known[0]
		}
	}
	return fmt.Sprintf("part-%d%s", p.Number, ending)
}

// Disposition is a Content-Disposition that saves under a name, in both forms of RFC 6266: programs that do not know the
// second get an ASCII name.
func Disposition(name string) string {
	ascii := strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || strings.ContainsRune(`"\%;`, r) {
			return '_'
		}
		return r
	}, name)
	plain := `attachment; filename="` + ascii + `"`
	if ascii == name {
		return plain
	}
	return plain + "; filename*=UTF-8''" + strings.ReplaceAll(url.QueryEscape(name), "+", "%20")
}

// asProblem turns the errors of http.ServeContent, which are plain text, into problems.
type asProblem struct {
	http.ResponseWriter
	failed bool
}

// Unwrap lets http.ResponseController reach the connection.
func (w *asProblem) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader implements http.ResponseWriter.
func (w *asProblem) WriteHeader(status int) {
	switch {
	case status < http.StatusBadRequest:
		w.ResponseWriter.WriteHeader(status)
	case !w.failed:
		w.failed = true
		w.Header().Del("Content-Disposition")
		problem.Write(w.ResponseWriter, status, "A condition of the request is not met, or the mail has no such range.")
	}
}

// Write implements http.ResponseWriter.
func (w *asProblem) Write(p []byte) (int, error) {
	if w.failed {
		return len(p), nil
	}
	return w.ResponseWriter.Write(p)
}
