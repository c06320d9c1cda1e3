package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/services/internal/process"
	"github.com/sluice-mail/sluice/services/internal/reading"
)

// listed is one line of ls --json.
type listed struct {
	ID         ulid.ULID `json:"id"`
	Received   time.Time `json:"received"`
	Stored     time.Time `json:"stored"`
	Sender     string    `json:"sender"`
	From       string    `json:"from"`
	To         string    `json:"to"`
	Subject    string    `json:"subject"`
	Size       int64     `json:"size"`
	Attachment bool      `json:"attachment"`
}

// reader reads mail as the mailbox service does, from the database itself: an operator wants to know what is there.
func (c *ctl) reader(e *process.Env) (*reading.Reader, mailstore.Store, func(), error) {
	store, err := c.store(e)
	if err != nil {
		return nil, nil, nil, err
	}
	r, err := reading.New(reading.Deps{Store: store, Logger: e.Logger, Metrics: e.Metrics})
	if err != nil {
		store.Close()
		return nil, nil, nil, err
	}
	return r, store, func() {
		r.Close()
		store.Close()
	}, nil
}

func (c *ctl) ls(ctx context.Context, e *process.Env) error {
	f := newFlags(e, "ls", "[flags] ADDRESS", "Lists the mails of a mailbox, newest first, from the database.")
	limit := f.Int("n", mailstore.DefaultLimit, fmt.Sprintf("at most this many mails, up to %d", mailstore.MaxLimit))
	before := f.String("before", "", "only mails older than this `id`: the next page")
	contains := f.String("q", "", "only mails with this `text` in the subject or the sender")
	args, err := f.parse(e.Args, 1, 1)
	if err != nil {
		return err
	}
	mailbox, err := c.mailbox(args[0])
	if err != nil {
		return err
	}
	q := mailstore.Query{Limit: *limit, Contains: *contains}
	if *before != "" {
		if q.Before, err = parseID(*before); err != nil {
			return err
		}
	}
	r, _, done, err := c.reader(e)
	if err != nil {
		return err
	}
	defer done()
	entries, err := r.List(ctx, mailbox, q)
	if err != nil {
		return fmt.Errorf("%s: %w", mailbox, err)
	}
	list := make([]listed, len(entries))
	for i, m := range entries {
		list[i] = listed{m.ID, m.Received, m.Stored, m.Sender, m.HdrFrom, m.HdrTo, m.Subject, m.Size, m.HasAttachment}
	}
	return f.print(list, func(w io.Writer) {
		if len(list) == 0 {
			fmt.Fprintf(w, "no mail for %s\n", mailbox)
			return
		}
		fmt.Fprintln(w, "ID\tRECEIVED\tSIZE\tFROM\tSUBJECT")
		for _, m := range list {
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\n", m.ID, m.Received.Format(time.DateTime), size(m.Size), m.Sender, m.Subject)
		}
	})
}

func (c *ctl) cat(ctx context.Context, e *process.Env) error {
	f := newFlags(e, "cat", "[flags] ID", "Prints a mail from the database, preceded by the trace headers of its delivery.")
	raw := f.Bool("raw", false, "only the bytes as received")
	rcpt := f.String("rcpt", "", "the `recipient` whose copy to print (default: the first that still has it)")
	args, err := f.parse(e.Args, 1, 1)
	if err != nil {
		return err
	}
	id, err := parseID(args[0])
	if err != nil {
		return err
	}
	r, store, done, err := c.reader(e)
	if err != nil {
		return err
	}
	defer done()
	m, err := c.open(ctx, r, store, id, *rcpt)
	if err != nil {
		return fmt.Errorf("mail %s: %w", id, err)
	}
	defer m.Close()
	content := m.Delivered()
	if *raw {
		content = m.Sent()
	}
	if _, err := io.Copy(e.Stdout, content); err != nil {
		return fmt.Errorf("printing mail %s: %w", id, err)
	}
	return nil
}

// open opens the copy of a recipient, or of the first who has not deleted it.
func (c *ctl) open(ctx context.Context, r *reading.Reader, store mailstore.Reader, id ulid.ULID, rcpt string) (*reading.Mail, error) {
	if rcpt != "" {
		mailbox, err := c.mailbox(rcpt)
		if err != nil {
			return nil, err
		}
		return r.Open(ctx, mailbox, id)
	}
	stored, err := store.Mail(ctx, id)
	if err != nil {
		return nil, err
	}
	for _, entry := range stored.Entries {
		m, err := r.Open(ctx, entry.Mailbox, id)
		if !errors.Is(err, mailstore.ErrNotFound) {
			return m, err
		}
	}
	return nil, mailstore.ErrNotFound
}
