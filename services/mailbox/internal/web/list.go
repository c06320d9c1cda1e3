package web

import (
	"context"
	"fmt"
	"net/http"
	"net/mail"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/services/internal/token"
)

const (
	// perPage is the length of a list.
	perPage = 50
	// maxSearch bounds what is searched for, in characters.
	maxSearch = 200
)

// row is a line of the list.
type row struct {
	mailstore.Entry
	Open bool // it is the mail that is shown
	// back keeps the list what it is while a mail of it is read: the query of its URL.
	back string
}

// ID is the mail's id as text.
func (r row) ID() string { return r.Entry.ID.String() }

// Path is the mail's page.
func (r row) Path() string { return inboxPath(r.Mailbox) + "/" + r.ID() + r.back }

// From is the name of who wrote it, or the address when there is none.
func (r row) From() string { return from(r.Entry) }

func from(e mailstore.Entry) string {
	name := e.HdrFrom
	if parsed, err := mail.ParseAddress(e.HdrFrom); err == nil {
		name = parsed.Name
		if strings.TrimSpace(name) == "" {
			name = parsed.Address
		}
	} else if at := strings.LastIndexByte(name, '<'); at > 0 {
		name = strings.Trim(name[:at], ` "`)
	}
	if strings.TrimSpace(name) == "" {
		return e.Sender
	}
	return name
}

// inboxData is a mailbox, and perhaps one of its mails.
type inboxData struct {
	Rows   []row
	Query  string
	Older  string // before of the next page
	Newest bool   // the list begins with the newest mail
	Mail   *mailView
	Host   string
}

func (p *Pages) list(w http.ResponseWriter, r *http.Request) {
	mailbox, ok := p.mailbox(w, r, token.Read)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), pageTimeout)
	defer cancel()
	data, err := p.rows(ctx, mailbox, r)
	if err != nil {
		p.failed(w, r, err)
		return
	}
	notice := r.URL.Query().Get("done")
	if notice != "deleted" && notice != "emptied" {
		notice = ""
	}
	p.show(w, r, http.StatusOK, "inbox", page{Title: mailbox, Address: mailbox, Notice: notice, Data: data})
}

func (p *Pages) rows(ctx context.Context, mailbox string, r *http.Request) (*inboxData, error) {
	search := []rune(strings.ToValidUTF8(strings.TrimSpace(r.URL.Query().Get("q")), ""))
	data := &inboxData{Query: string(search[:min(len(search), maxSearch)]), Host: hostname(r)}
	q := mailstore.Query{Limit: perPage + 1, Contains: data.Query}
	q.Before, _ = ulid.ParseStrict(r.URL.Query().Get("before")) // anything else is none
	data.Newest = q.Before == ulid.ULID{}
	entries, err := p.Reader.List(ctx, mailbox, q)
	if err != nil {
		return nil, err
	}
	if len(entries) > perPage {
		entries = entries[:perPage]
		data.Older = entries[perPage-1].ID.String()
	}
	back := ""
	if kept := (url.Values{"q": {data.Query}, "before": {r.URL.Query().Get("before")}}); data.Query != "" || !data.Newest {
		back = "?" + kept.Encode()
	}
	for _, e := range entries {
		data.Rows = append(data.Rows, row{Entry: e, back: back})
	}
	return data, nil
}

// when is a short time; the module makes it the reader's own.
func when(t time.Time) string {
	if now := time.Now().UTC(); t.Year() == now.Year() && t.YearDay() == now.YearDay() {
		return t.UTC().Format("15:04")
	}
	return t.UTC().Format("2 Jan")
}

func full(t time.Time) string { return t.UTC().Format("Monday, 2 January 2006, 15:04 MST") }

// size is a number of bytes for people.
func size(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1_000_000:
		return fmt.Sprintf("%d kB", (n+500)/1000)
	}
	return fmt.Sprintf("%.1f MB", float64(n)/1e6)
}

// initial is the first letter of a name.
func initial(name string) string {
	for _, r := range name {
		if r > ' ' && !strings.ContainsRune(`"'<(`, r) && r != utf8.RuneError {
			return strings.ToUpper(string(r))
		}
	}
	return "?"
}
