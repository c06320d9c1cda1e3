package api

import (
	"context"
	"log/slog"
	"net/http"
	"reflect"
	"strconv"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/services/internal/reading"
	"github.com/sluice-mail/sluice/services/internal/token"
	"github.com/sluice-mail/sluice/services/mailbox/internal/access"
)

// Waiter waits for mail. The push package has one.
type Waiter interface {
	// Wait calls look at once, and again whenever mail may have come into the mailbox, until it says that it has found
	// something or fails, or ctx ends. Its error is look's, the context's, or ErrCrowded when too many wait already.
	Wait(ctx context.Context, mailbox string, look func(context.Context) (found bool, err error)) error
}

// Deps are what the API works with.
type Deps struct {
	Reader *reading.Reader // cache and database
	Names  reading.Names   // how an address becomes a mailbox
	// Waiter may be nil: then the parameter wait has no effect.
	Waiter Waiter
	// Sanitise makes HTML harmless; nil: no HTML is returned.
	Sanitise func(html string) string
	Logger   *slog.Logger
}

// API is the API on a mux.
type API struct {
	deps Deps
	huma huma.API
}

// New puts the operations on a mux.
func New(mux *http.ServeMux, deps Deps) *API {
	cfg := huma.DefaultConfig("Sluice inbox", "1")
	cfg.Info.Description = "Reads and deletes the mail of mailboxes. Times are RFC 3339 in UTC. Ids sort by time of arrival."
	// Their handlers fill a variable at the first request without a lock, and their pages load scripts from elsewhere.
	cfg.OpenAPIPath, cfg.DocsPath, cfg.SchemasPath = "", "", ""
	cfg.CreateHooks = nil // it would write a URL made of the client's Host header into every answer
	cfg.Formats = map[string]huma.Format{"application/json": jsonFormat(), "json": jsonFormat()}
	cfg.RejectUnknownQueryParameters = true
	cfg.Components.SecuritySchemes = map[string]*huma.SecurityScheme{
		"token": {Type: "http", Scheme: "bearer", BearerFormat: "JWT", Description: "Made by `sluicectl token`. Not needed when MAILBOX_ACCESS is open."},
	}
	cfg.Security = []map[string][]string{{}, {"token": {}}}
	a := &API{deps: deps, huma: humago.New(mux, cfg)}
	a.lists()
	a.messages()
	a.sources()
	a.deletions()
	return a
}

// Describe adds an operation that another package serves to the description, with the answers for its Errors.
func (a *API) Describe(op *huma.Operation) {
	document := a.huma.OpenAPI()
	problem := document.Components.Schemas.Schema(reflect.TypeFor[huma.ErrorModel](), true, "")
	for _, status := range op.Errors {
		op.Responses[strconv.Itoa(status)] = &huma.Response{
			Description: http.StatusText(status),
			Content:     map[string]*huma.MediaType{"application/problem+json": {Schema: problem}},
		}
	}
	document.AddOperation(op)
}

// AddressParam describes the path parameter that names a mailbox.
func AddressParam() *huma.Param {
	field, _ := reflect.TypeFor[Address]().FieldByName("Address")
	return &huma.Param{
		Name: "address", In: "path", Required: true, Description: field.Tag.Get("doc"), Example: field.Tag.Get("example"),
		Schema: huma.SchemaFromField(huma.NewMapRegistry("", huma.DefaultSchemaNamer), field, ""),
	}
}

// unchanged describes the answer to If-None-Match.
func unchanged() map[string]*huma.Response {
	return map[string]*huma.Response{"304": {Description: "Not changed since."}}
}

// Address is the path parameter that names a mailbox.
type Address struct {
	Address string `path:"address" minLength:"1" maxLength:"320" doc:"The mailbox's mail address." example:"ann@example.com"`
}

// ID is the path parameter that names a mail.
type ID struct {
	ID string `path:"id" pattern:"^([0-7][0-9A-HJKMNP-TV-Z]{25}|latest)$" patternDescription:"a mail's id" doc:"The mail's id, or latest for the newest." example:"01JDFQ4Z2K8V3T6N5R7M9P0ABC"`
}

// mailbox returns the mailbox that an address names, if the request has the right there.
func (a *API) mailbox(ctx context.Context, address string, right token.Right) (string, error) {
	grant := access.Of(ctx)
	if !grant.Known() {
		return "", huma.ErrorWithHeaders(huma.Error401Unauthorized("A token is needed: send it in the header Authorization, or log in."),
			http.Header{"WWW-Authenticate": {`Bearer realm="mailboxes"`}})
	}
	mailbox, err := a.deps.Names.Mailbox(address)
	if err != nil {
		return "", huma.Error422UnprocessableEntity("The address is not a mail address.")
	}
	if !grant.May(right, mailbox) {
		return "", notFound()
	}
	return mailbox, nil
}

// find returns the id that a path names.
func (a *API) find(ctx context.Context, mailbox, text string) (ulid.ULID, error) {
	if text != "latest" {
		id, err := ulid.ParseStrict(text)
		if err != nil {
			return id, notFound()
		}
		return id, nil
	}
	newest, err := a.deps.Reader.List(ctx, mailbox, one())
	switch {
	case err != nil:
		return ulid.ULID{}, a.failed(ctx, err)
	case len(newest) == 0:
		return ulid.ULID{}, notFound()
	}
	return newest[0].ID, nil
}
