package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailcache"
	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/services/internal/database"
	"github.com/sluice-mail/sluice/services/internal/datadir"
	"github.com/sluice-mail/sluice/services/internal/process"
	"github.com/sluice-mail/sluice/services/internal/reading"
)

// removed is what rm --json prints.
type removed struct {
	Mailbox string `json:"mailbox"`
	Deleted int    `json:"deleted"`
	// InLogUntil is when the log may purge the newest of them; the zero time when nothing was deleted.
	InLogUntil time.Time `json:"in_log_until"`
	// Stale says that lists of the mailbox services may show them for up to a minute.
	Stale bool `json:"stale,omitempty"`
}

func (c *ctl) rm(ctx context.Context, e *process.Env) error {
	f := newFlags(e, "rm", "[flags] ADDRESS [ID]", "Deletes one mail from a mailbox, or all mails that are in it now. Other mailboxes keep their copies.")
	args, err := f.parse(e.Args, 1, 2)
	if err != nil {
		return err
	}
	mailbox, err := c.mailbox(args[0])
	if err != nil {
		return err
	}
	cache, dark := c.cache(e)
	if cache != nil {
		defer cache.Close()
	}
	store, err := database.Open(c.cfg.Database, c.cfg.Write, c.cfg.Log.Dir, false, e.Logger, e.Metrics)
	if err != nil {
		return err
	}
	defer store.Close()
	r, err := reading.New(reading.Deps{Store: store, Cache: cache, Logger: e.Logger, Metrics: e.Metrics})
	if err != nil {
		return err
	}
	defer r.Close()
	answer := removed{Mailbox: mailbox}
	newest, n, err := remove(ctx, r, mailbox, args[1:])
	if err != nil {
		return fmt.Errorf("%s: %w", mailbox, err)
	}
	if answer.Deleted = n; n > 0 {
		answer.InLogUntil, answer.Stale = ulid.Time(newest.Time()).Add(c.cfg.Shape.Keep).UTC().Truncate(time.Second), dark
	}
	if err := f.print(answer, func(w io.Writer) { answer.write(w, c.cfg.Shape.Keep) }); err != nil {
		return err
	}
	if n == 0 && len(args) == 2 {
		return process.ExitCode(1)
	}
	return nil
}

// remove deletes one mail, or all, and returns the newest of them and how many there were.
func remove(ctx context.Context, r *reading.Reader, mailbox string, ids []string) (newest ulid.ULID, n int, err error) {
	if len(ids) > 0 {
		if newest, err = parseID(ids[0]); err != nil {
			return newest, 0, err
		}
		gone, err := r.Delete(ctx, mailbox, newest)
		return newest, len(gone), err
	}
	entries, err := r.List(ctx, mailbox, mailstore.Query{Limit: 1})
	if err != nil || len(entries) == 0 {
		return newest, 0, err
	}
	n, err = r.DeleteAll(ctx, mailbox)
	return entries[0].ID, n, err
}

// cache is the cache in which the mailbox services keep their lists. dark means that it cannot be reached from here, because it is
// inside an allinone process or does not answer.
func (c *ctl) cache(e *process.Env) (cache *mailcache.Cache, dark bool) {
	if c.cfg.Log.Dir != "" && !datadir.IsSet("MEMCACHED_ADDRS") {
		return nil, true
	}
	cache = mailcache.New(mailcache.Config{Addrs: c.cfg.Cache.Addrs}, nil, e.Logger, e.Metrics)
	if cache.Ping() != nil {
		cache.Close()
		return nil, true
	}
	return cache, false
}

func (r removed) write(w io.Writer, keep time.Duration) {
	if r.Deleted == 0 {
		fmt.Fprintf(w, "nothing to delete in %s\n", r.Mailbox)
		return
	}
	fmt.Fprintf(w, "deleted from %s: %d\n", r.Mailbox, r.Deleted)
	fmt.Fprintf(w, "their bytes stay in the log until about %s (STREAM_KEEP=%s; less if the log needs the room), and in the database if another mailbox has them\n",
		r.InLogUntil.Format(time.RFC1123), keep)
	if r.Stale {
		fmt.Fprintf(w, "the cache cannot be reached from here: lists over HTTP may still show them for up to %s\n", mailcache.PageTTL)
	}
}
