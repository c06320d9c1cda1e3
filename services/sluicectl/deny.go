package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/policy"
	"github.com/sluice-mail/sluice/services/internal/process"
)

const aboutLists = `Clients, senders and recipients that every ingress refuses (deny) or accepts nevertheless (allow). Changes take effect within
a second. An allow entry takes precedence over every deny entry.

  net:192.0.2.0/24         the client's address; also one address, also IPv6
  helo:*.example.com       its HELO name; *. matches all names below
  from:ann@example.com     the sender; from:<> is the sender of bounces
  domain:*.example.com     the sender's domain
  rcpt:ann@example.com     the recipient: the mailbox in which the mail is stored

  sluicectl deny add net:192.0.2.0/24 -text "Ask postmaster@example.com why" -for 72h
  sluicectl deny add rcpt:ann@example.com -code 450
  sluicectl allow add domain:partner.example`

// entryFlags are what an entry has beside its name.
type entryFlags struct {
	*flags
	allow bool
	code  int
	text  string
	ttl   time.Duration
	over  bool
}

func (c *ctl) deny(ctx context.Context, e *process.Env) error { return c.lists(ctx, e, "deny", false) }

func (c *ctl) allow(ctx context.Context, e *process.Env) error { return c.lists(ctx, e, "allow", true) }

func (c *ctl) lists(ctx context.Context, e *process.Env, name string, allow bool) error {
	f := &entryFlags{flags: newFlags(e, name, "ls | add ENTRY… | rm ENTRY… | rm -expired", aboutLists), allow: allow}
	if !allow {
		f.IntVar(&f.code, "code", 550, "add: code of the reply: 550 or 554 (the sender gives up), 450, 451 or 421 (it tries again)")
	}
	f.StringVar(&f.text, "text", "", "add: text of the reply; with allow, a note")
	f.DurationVar(&f.ttl, "for", 0, "add: how long the entry holds, such as 72h; 0: until it is removed")
	f.BoolVar(&f.over, "expired", false, "rm: remove all expired entries")
	args, err := f.parse(e.Args, 1, 10_000)
	if err != nil {
		return err
	}
	bucket, done, err := c.bucket(ctx, e)
	if err != nil {
		return err
	}
	defer done()
	switch {
	case args[0] == "ls" && len(args) == 1:
		return f.list(ctx, bucket)
	case args[0] == "add" && len(args) > 1 && f.ttl >= 0:
		return f.add(ctx, e, bucket, args[1:])
	case args[0] == "rm" && f.over != (len(args) > 1):
		return f.remove(ctx, e, bucket, args[1:])
	}
	return fmt.Errorf("%w: see sluicectl %s -help", process.ErrUsage, name)
}

func (f *entryFlags) add(ctx context.Context, e *process.Env, bucket jetstream.KeyValue, names []string) error {
	entry := policy.ListEntry{Code: f.code, Text: f.text}
	if f.ttl > 0 {
		entry.Expires = time.Now().Add(f.ttl).UTC().Truncate(time.Millisecond)
	}
	for _, entry.Name = range names {
		name, err := policy.SetEntry(ctx, bucket, f.allow, entry)
		if err != nil {
			return fmt.Errorf("%s add %s: %w", f.Name(), entry.Name, err)
		}
		fmt.Fprintf(e.Stdout, "add %s\n", name)
	}
	return nil
}

func (f *entryFlags) remove(ctx context.Context, e *process.Env, bucket jetstream.KeyValue, names []string) error {
	if f.over {
		list, err := policy.ListEntries(ctx, bucket, f.allow)
		if err != nil {
			return err
		}
		for _, entry := range list {
			if expired(entry) {
				names = append(names, entry.Name)
			}
		}
	}
	for _, name := range names {
		removed, err := policy.RemoveEntry(ctx, bucket, f.allow, name)
		if f.over && errors.Is(err, policy.ErrNotListed) {
			continue // somebody else was faster
		}
		if err != nil {
			return fmt.Errorf("%s rm %s: %w", f.Name(), name, err)
		}
		fmt.Fprintf(e.Stdout, "rm %s\n", removed)
	}
	return nil
}

func (f *entryFlags) list(ctx context.Context, bucket jetstream.KeyValue) error {
	list, err := policy.ListEntries(ctx, bucket, f.allow)
	if err != nil {
		return err
	}
	return f.print(list, func(w io.Writer) {
		for _, entry := range list {
			reply := ""
			if !f.allow {
				reply = fmt.Sprint(entry.Code)
			}
			fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", entry.Name, reply, until(entry), entry.Text)
		}
	})
}

func expired(e policy.ListEntry) bool { return !e.Expires.IsZero() && !time.Now().Before(e.Expires) }

// until says how long an entry counts.
func until(e policy.ListEntry) string {
	switch {
	case e.Expires.IsZero():
		return "for good"
	case expired(e):
		return "expired " + e.Expires.Format(time.RFC3339)
	}
	return "until " + e.Expires.Format(time.RFC3339)
}
