package main

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailcache"
)

// trial is one kind of thing to ask of one server.
type trial struct {
	name, server string
	against      string // the name of the trial it is compared with
	requests     []request
	warm         bool         // ask once before, so that everything is known
	before       func() error // of each pass
}

// plan makes the trials. What a bare handler answers is what the inbox answers.
func (w *world) plan(ctx context.Context, bare *memcache.Client) error {
	db, err := sql.Open("mysql", w.fleet.DSN())
	if err != nil {
		return err
	}
	defer db.Close()
	c, err := dial(w.inbox.Addrs["http"])
	if err != nil {
		return err
	}
	defer c.conn.Close()
	// keep makes the bare answer of a path, and returns its name, and the tag of ours.
	keep := func(name, path string) (string, string, error) {
		body, header, err := c.ask(request{path: path})
		if err == nil {
			err = bare.Set(&memcache.Item{Key: name, Value: body})
		}
		if err == nil {
			_, err = db.ExecContext(ctx, "INSERT INTO readbench VALUES (?, ?)", name, body)
		}
		return name, header.Get("ETag"), err
	}
	var lists, sameLists, bareLists, rowLists, mails, sameMails, bareMails []request
	var names []string
	for i, b := range w.boxes {
		list, tag, err := keep("list"+strconv.Itoa(i), b.list())
		if err != nil {
			return err
		}
		names = append(names, b.name)
		lists, sameLists = append(lists, request{b.list(), ""}), append(sameLists, request{b.list(), tag})
		bareLists, rowLists = append(bareLists, request{"/" + list, ""}), append(rowLists, request{"/" + b.name, ""})
		for n := range 4 { // of all kinds
			path := b.mail(b.mails[n])
			mail, tag, err := keep(fmt.Sprintf("mail%d-%d", i, n), path)
			if err != nil {
				return err
			}
			mails, sameMails, bareMails = append(mails, request{path, ""}), append(sameMails, request{path, tag}), append(bareMails, request{"/" + mail, ""})
		}
	}
	const getList, getMail, rowList, rowMail, rows = "one get, bytes of a list", "one get, bytes of a mail", "one SELECT, bytes of a list", "one SELECT, bytes of a mail", "SELECT of 50 rows"
	first, cold, coldIDs := w.unseen()
	if len(first) < w.settings.requests || len(cold) < w.settings.requests {
		return fmt.Errorf("%d requests of each kind need more mails than there are", w.settings.requests)
	}
	w.trials = []trial{
		{name: getList, server: "get", requests: bareLists, warm: true},
		{name: "list", server: "inbox", against: getList, requests: lists, warm: true},
		{name: "list, not changed", server: "inbox", against: getList, requests: sameLists, warm: true},
		{name: getMail, server: "get", requests: bareMails, warm: true},
		{name: "mail, again", server: "inbox", against: getMail, requests: mails, warm: true},
		{name: "mail, not changed", server: "inbox", against: getMail, requests: sameMails, warm: true},
		{name: "mail, first", server: "inbox", against: getMail, requests: first},
		{name: rowList, server: "row", requests: bareLists, warm: true},
		{name: rows, server: "rows", requests: rowLists, warm: true},
		{name: "list, database", server: "inbox", against: rowList, requests: lists, before: func() error { return w.forgetPages(names) }},
		{name: rowMail, server: "row", requests: bareMails, warm: true},
		{name: "mail, database", server: "inbox", against: rowMail, requests: cold, before: func() error { return w.forgetMails(coldIDs) }},
	}
	w.trials = slices.DeleteFunc(w.trials, func(t trial) bool { return !strings.Contains(t.name, w.settings.only) })
	return nil
}

// unseen are mails that no other trial asks for: each can be shown for the first time once in a round.
func (w *world) unseen() (first, cold []request, coldIDs []ulid.ULID) {
	for n := 4; n < mailcache.PageEntries; n++ {
		for _, b := range w.boxes {
			if n >= len(b.mails) {
				continue
			}
			switch r := (request{b.mail(b.mails[n]), ""}); {
			case n%2 == 0 && len(first) < w.settings.requests:
				first = append(first, r)
			case n%2 == 1 && len(cold) < w.settings.requests:
				cold, coldIDs = append(cold, r), append(coldIDs, b.mails[n])
			}
		}
	}
	return first, cold, coldIDs
}

func (w *world) forgetPages(mailboxes []string) error {
	if n := w.cache.DeletePages(mailboxes); n > 0 {
		return fmt.Errorf("%d pages could not be deleted from memcached", n)
	}
	return nil
}

func (w *world) forgetMails(ids []ulid.ULID) error {
	if n := w.cache.DeleteMessages(ids); n > 0 {
		return fmt.Errorf("%d mails could not be deleted from memcached", n)
	}
	return nil
}
