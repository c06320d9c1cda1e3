package api

import (
	"context"
	"errors"
	"net/http"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/services/internal/reading"
	"github.com/sluice-mail/sluice/services/mailbox/internal/requests"
)

// ErrCrowded is the error of a Waiter when too many readers are waiting.
var ErrCrowded = errors.New("too many readers are waiting")

func notFound() error { return huma.Error404NotFound("There is no such mail here.") }

// failed makes the answer for an error. Internal details go to the log only.
func (a *API) failed(ctx context.Context, err error) error {
	switch {
	case errors.Is(err, mailstore.ErrNotFound):
		return notFound()
	case errors.Is(err, ErrCrowded):
		return later(huma.Error429TooManyRequests("Too many readers are waiting; ask again without wait, or a little later."))
	case errors.Is(err, reading.ErrBusy):
		return later(huma.Error503ServiceUnavailable("Too many large mails are being read just now; try again in a moment."))
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		return huma.Error503ServiceUnavailable("The request was cancelled.") // nobody reads it
	}
	a.deps.Logger.Warn("a request failed", "request", requests.ID(ctx), "error", err)
	if errors.Is(err, mailstore.ErrDamaged) {
		return huma.Error500InternalServerError("The stored bytes of this mail are damaged.")
	}
	return later(huma.Error503ServiceUnavailable("The mail is not available just now; try again in a moment."))
}

func later(err error) error {
	return huma.ErrorWithHeaders(err, http.Header{"Retry-After": {"1"}})
}
