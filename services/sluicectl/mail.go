package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-mail/sluice/pkg/policy"
	"github.com/sluice-mail/sluice/pkg/smtp"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
	"github.com/sluice-mail/sluice/services/internal/process"
)

// listed is one line of ls --json.
type listed struct {
	ID         ulid.ULID `json:"id"`
	Received   time.Time `json:"received"`
	Sender     string    `json:"sender"`
	From       string    `json:"from"`
	To         string    `json:"to"`
	Subject    string    `json:"subject"`
	Size       int64     `json:"size"`
	Attachment bool      `json:"attachment"`
}

func (c *ctl) ls(ctx context.Context, e *process.Env) error {
	f := newFlags(e, "ls", "[flags] ADDRESS", "Lists the mails of a mailbox, newest first, from the database.")
	limit := f.Int("n", 50, "at most this many mails")
	before := f.String("before", "", "only mails older than this `id`: the next page")
	args, err := f.parse(e.Args, 1, 1)
	if err != nil {
		return err
	}
	mailbox, err := policy.Normalise(args[0])
	if err != nil {
		return fmt.Errorf("%w: %q is not a mail address", process.ErrUsage, args[0])
	}
	var from ulid.ULID
	if *before != "" {
		if from, err = parseID(*before); err != nil {
			return err
		}
	}
	store, err := c.store(e)
	if err != nil {
		return err
	}
	defer store.Close()
	entries, err := store.Inbox(ctx, mailbox, from, *limit)
	if err != nil {
		return fmt.Errorf("listing %s: %w", mailbox, err)
	}
	list := make([]listed, len(entries))
	for i, m := range entries {
		list[i] = listed{m.ID, m.Received, m.Sender, m.HdrFrom, m.HdrTo, m.Subject, m.Size, m.HasAttachment}
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
	f := newFlags(e, "cat", "[flags] ID", "Prints a mail from the database, with the trace headers of its delivery before it.")
	raw := f.Bool("raw", false, "only the bytes that were received")
	rcpt := f.String("rcpt", "", "the `recipient` whose copy it is (default: the first)")
	args, err := f.parse(e.Args, 1, 1)
	if err != nil {
		return err
	}
	id, err := parseID(args[0])
	if err != nil {
		return err
	}
	store, err := c.store(e)
	if err != nil {
		return err
	}
	defer store.Close()
	if !*raw {
		stored, err := store.Mail(ctx, id)
		if err != nil {
			return fmt.Errorf("mail %s: %w", id, err)
		}
		env := new(mailv1.Envelope)
		if err := proto.Unmarshal(stored.Envelope, env); err != nil {
			return fmt.Errorf("decoding the envelope of mail %s: %w", id, err)
		}
		if *rcpt == "" && len(env.GetRecipients()) > 0 {
			*rcpt = env.GetRecipients()[0].GetMailbox()
		}
		if _, err := e.Stdout.Write(smtp.TraceHeaders(env, *rcpt)); err != nil {
			return err
		}
	}
	if err := store.Raw(ctx, id, e.Stdout); err != nil {
		return fmt.Errorf("mail %s: %w", id, err)
	}
	return nil
}
