package api

import (
	"context"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/sluice-mail/sluice/services/internal/token"
)

// deleteTimeout bounds emptying a mailbox; what is left after it is deleted by asking again.
const deleteTimeout = 25 * time.Second

// Deleted says how many mails have been deleted.
type Deleted struct {
	Deleted int `json:"deleted"`
}

type deletedOutput struct{ Body Deleted }

type deleteInput struct {
	Address
	ID
}

type emptyInput struct{ Address }

func (a *API) deletions() {
	errs := []int{http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound, http.StatusTooManyRequests, http.StatusServiceUnavailable}
	huma.Register(a.huma, huma.Operation{
		OperationID: "delete-message", Method: http.MethodDelete, Path: "/api/v1/mailboxes/{address}/messages/{id}",
		Summary: "Delete a mail from a mailbox", Description: "Other mailboxes that it was sent to keep it.", Errors: errs,
	}, a.delete)
	huma.Register(a.huma, huma.Operation{
		OperationID: "empty-mailbox", Method: http.MethodDelete, Path: "/api/v1/mailboxes/{address}/messages",
		Summary: "Delete all mail of a mailbox", Description: "Mail that arrives meanwhile stays.", Errors: errs,
	}, a.empty)
}

func (a *API) delete(ctx context.Context, in *deleteInput) (*deletedOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	mailbox, err := a.mailbox(ctx, in.Address.Address, token.Delete)
	if err != nil {
		return nil, err
	}
	id, err := a.find(ctx, mailbox, in.ID.ID)
	if err != nil {
		return nil, err
	}
	gone, err := a.deps.Reader.Delete(ctx, mailbox, id)
	if err != nil {
		return nil, a.failed(ctx, err)
	}
	if len(gone) == 0 {
		return nil, notFound()
	}
	return &deletedOutput{Deleted{len(gone)}}, nil
}

func (a *API) empty(ctx context.Context, in *emptyInput) (*deletedOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, deleteTimeout)
	defer cancel()
	mailbox, err := a.mailbox(ctx, in.Address.Address, token.Delete)
	if err != nil {
		return nil, err
	}
	n, err := a.deps.Reader.DeleteAll(ctx, mailbox)
	if err != nil {
		return nil, a.failed(ctx, err)
	}
	return &deletedOutput{Deleted{n}}, nil
}
