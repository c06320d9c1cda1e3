package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/services/internal/reading"
	"github.com/sluice-mail/sluice/services/internal/token"
)

type messageInput struct {
	Address
	ID
	Match string `header:"If-None-Match" maxLength:"1000"`
}

type messageOutput struct {
	Status  int
	ETag    string `header:"ETag"`
	Control string `header:"Cache-Control"`
	Vary    string `header:"Vary"`
	Body    *Message
}

func (a *API) messages() {
	huma.Register(a.huma, huma.Operation{
		OperationID: "get-message", Method: http.MethodGet, Path: "/api/v1/mailboxes/{address}/messages/{id}",
		Summary: "Read a mail", Description: "Decoded to UTF-8, even if it is malformed. Reading does not mark it as seen.",
		Errors:    []int{http.StatusUnauthorized, http.StatusNotFound, http.StatusTooManyRequests, http.StatusServiceUnavailable},
		Responses: unchanged(), Middlewares: huma.Middlewares{a.shortMail},
	}, a.message)
}

func (a *API) message(ctx context.Context, in *messageInput) (*messageOutput, error) {
	mailbox, id, err := a.named(ctx, in.Address, in.ID)
	if err != nil {
		return nil, err
	}
	answer, err := a.deps.Reader.MailAnswer(ctx, mailbox, id, a.compose)
	if err != nil {
		return nil, a.failed(ctx, err)
	}
	out := &messageOutput{Status: http.StatusOK, ETag: answer.Tag, Control: private, Vary: varyAuth}
	if matches(in.Match, out.ETag) {
		out.Status = http.StatusNotModified
		return out, nil
	}
	out.Body = &Message{json: answer.Body}
	return out, nil
}

// named finds out which mail of which mailbox a path names.
func (a *API) named(ctx context.Context, address Address, named ID) (mailbox string, id ulid.ULID, err error) {
	if mailbox, err = a.mailbox(ctx, address.Address, token.Read); err == nil {
		id, err = a.find(ctx, mailbox, named.ID)
	}
	return mailbox, id, err
}

// open opens the mail that a path names; the caller closes it.
func (a *API) open(ctx context.Context, address Address, named ID) (*reading.Mail, error) {
	mailbox, id, err := a.named(ctx, address, named)
	if err != nil {
		return nil, err
	}
	m, err := a.deps.Reader.Open(ctx, mailbox, id)
	if err != nil {
		return nil, a.failed(ctx, err)
	}
	return m, nil
}

func (a *API) compose(m *reading.Mail) (*reading.Answer, error) {
	msg, err := a.describe(m)
	if err != nil {
		return nil, err
	}
	var body bytes.Buffer
	if err := huma.DefaultJSONFormat.Marshal(&body, msg); err != nil {
		return nil, fmt.Errorf("writing a mail as JSON: %w", err)
	}
	return &reading.Answer{Tag: messageTag(m), Body: body.Bytes()}, nil
}

func (a *API) describe(m *reading.Mail) (*Message, error) {
	text, html, cut, err := m.Bodies()
	if err != nil {
		return nil, err
	}
	fields, cutFields := m.Fields()
	path := MessagePath(m.Entry.Mailbox, m.Entry.ID.String())
	msg := &Message{
		Summary: NewSummary(m.Entry), Fields: make([]Field, len(fields)), Text: text, Truncated: cut || cutFields,
		Parts: []Part{}, Unusual: []string{}, Source: path + "/raw",
	}
	for i, f := range fields {
		msg.Fields[i] = Field{f.Name, f.Value}
	}
	if a.deps.Sanitise != nil && html != "" {
		msg.HTML = a.deps.Sanitise(html)
	}
	for _, p := range m.Parts() {
		msg.Parts = append(msg.Parts, newPart(p, path))
	}
	if flags := m.Flags().String(); flags != "" {
		msg.Unusual = strings.Split(flags, ",")
	}
	return msg, nil
}

func messageTag(m *reading.Mail) string {
	seen := ""
	if m.Entry.Seen {
		seen = "seen"
	}
	sum := sha256.Sum256([]byte(m.DeliveredTag() + seen))
	return `"` + hex.EncodeToString(sum[:16]) + `"`
}
