package api

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"hash/fnv"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/services/internal/token"
)

const (
	// listTimeout bounds a list without waiting.
	listTimeout = 10 * time.Second
	// writeTime is how long an answer may take to be written after waiting.
	writeTime = 30 * time.Second
)

type listInput struct {
	Address
	Before string `query:"before" pattern:"^[0-7][0-9A-HJKMNP-TV-Z]{25}$" doc:"Only mails older than this id."`
	After  string `query:"after" pattern:"^[0-7][0-9A-HJKMNP-TV-Z]{25}$" doc:"Only mails with a later id. A mail that is stored late has an earlier id than some that were seen: who must miss none follows the events."`
	Limit  int    `query:"limit" minimum:"1" maximum:"200" default:"50" doc:"Largest number of mails in the answer."`
	Q      string `query:"q" maxLength:"200" doc:"Only mails with this text in the subject or the sender; case does not matter."`
	Wait   string `query:"wait" pattern:"^([0-9]|[1-5][0-9]|60)s$" doc:"If there is no mail newer than after, wait this long for one, or for one that is stored meanwhile. Only together with after."`
	Match  string `header:"If-None-Match" maxLength:"1000"`
}

type listOutput struct {
	Status  int
	ETag    string `header:"ETag"`
	Control string `header:"Cache-Control"`
	Vary    string `header:"Vary"`
	Body    *List
}

// private: only the client itself may cache an answer, and must revalidate it each time.
const (
	private  = "private, no-cache"
	varyAuth = "Authorization, Cookie"
)

func (a *API) lists() {
	huma.Register(a.huma, huma.Operation{
		OperationID: "list-messages", Method: http.MethodGet, Path: "/api/v1/mailboxes/{address}/messages",
		Summary: "List a mailbox", Description: "Newest first. For a mailbox without mail, whether it exists or not, the list is empty.",
		Errors:      []int{http.StatusUnauthorized, http.StatusNotFound, http.StatusTooManyRequests, http.StatusServiceUnavailable},
		Responses:   unchanged(),
		Middlewares: huma.Middlewares{waitLonger},
	}, a.list)
}

// waitLonger extends the write deadline of an answer by the time it waits.
func waitLonger(ctx huma.Context, next func(huma.Context)) {
	if wait, err := time.ParseDuration(ctx.Query("wait")); err == nil {
		_, w := humago.Unwrap(ctx)
		_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(min(wait, time.Minute) + writeTime))
	}
	next(ctx)
}

func one() mailstore.Query { return mailstore.Query{Limit: 1} }

func (a *API) list(ctx context.Context, in *listInput) (*listOutput, error) {
	mailbox, err := a.mailbox(ctx, in.Address.Address, token.Read)
	if err != nil {
		return nil, err
	}
	q := mailstore.Query{Limit: in.Limit, Contains: in.Q}
	q.Before, _ = ulid.ParseStrict(in.Before) // none, or an id: the pattern says so
	q.After, _ = ulid.ParseStrict(in.After)
	wait, _ := time.ParseDuration(in.Wait)
	ctx, cancel := context.WithTimeout(ctx, listTimeout+wait)
	defer cancel()
	var entries []mailstore.Entry
	if wait > 0 && in.After != "" && a.deps.Waiter != nil {
		entries, err = a.wait(ctx, mailbox, q, wait)
	} else {
		entries, err = a.deps.Reader.List(ctx, mailbox, q)
	}
	if err != nil {
		return nil, a.failed(ctx, err)
	}
	out := &listOutput{Status: http.StatusOK, ETag: listTag(entries, q.Limit), Control: private, Vary: varyAuth}
	if matches(in.Match, out.ETag) {
		out.Status = http.StatusNotModified
		return out, nil
	}
	out.Body = newList(mailbox, entries, q)
	return out, nil
}

func newList(mailbox string, entries []mailstore.Entry, q mailstore.Query) *List {
	list := &List{Mailbox: mailbox, Messages: make([]Summary, len(entries))}
	for i, e := range entries {
		list.Messages[i] = NewSummary(e)
	}
	if len(entries) == q.Limit {
		list.Next = entries[len(entries)-1].ID.String()
	}
	return list
}

// wait lists what is newer than q.After as soon as there is something. A mail that became visible meanwhile counts, also
// when its id is older: mails do not become visible in the order of their ids.
func (a *API) wait(ctx context.Context, mailbox string, q mailstore.Query, wait time.Duration) (entries []mailstore.Entry, err error) {
	began := time.Now()
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	first := true
	err = a.deps.Waiter.Wait(waiting, mailbox, func(ctx context.Context) (bool, error) {
		if entries, err = a.deps.Reader.List(ctx, mailbox, q); err != nil || len(entries) > 0 {
			return true, err
		}
		if !first && q.Contains == "" {
			entries, err = a.deps.Reader.StoredSince(ctx, mailbox, began, q.Limit)
		}
		first = false
		return len(entries) > 0, err
	})
	if err != nil && waiting.Err() != nil && ctx.Err() == nil {
		return nil, nil // the time is up, and there is nothing
	}
	return entries, err
}

// listTag changes with what a list shows of its mails.
func listTag(entries []mailstore.Entry, limit int) string {
	h := fnv.New128a()
	var room [8]byte
	add := func(n uint64) { _, _ = h.Write(binary.BigEndian.AppendUint64(room[:0], n)) }
	add(uint64(limit))
	for _, e := range entries {
		_, _ = h.Write(e.ID[:])
		if e.Seen {
			add(1)
		} else {
			add(0)
		}
	}
	return `"` + hex.EncodeToString(h.Sum(nil)) + `"`
}
