package main

import (
	"context"
	"database/sql"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/scripts/lab/internal/bench"
)

// explain tells what the optimiser makes of each statement that reads: those of the store are taken from the server's log while
// each of its methods is called once.
func (w *world) explain(ctx context.Context, t *targets) error {
	ids, err := w.someIDs(ctx)
	if err != nil {
		return err
	}
	id, mailbox := ids[len(ids)/2], w.user()
	line, err := w.store.List(ctx, mailbox, mailstore.Query{Limit: 1})
	if err != nil || len(line) == 0 {
		return fmt.Errorf("%s lists nothing: %w", mailbox, err)
	}
	t.plans.Row("", "table", "p", "type", "key", "key_len", "rows", "")
	for _, call := range []struct {
		name string
		run  func() error
	}{
		{"List", func() error { _, err := w.store.List(ctx, w.user(), mailstore.Query{}); return err }},
		{"List, further", func() error {
			_, err := w.store.List(ctx, busy, mailstore.Query{Before: id, After: ids[0], Contains: "order"})
			return err
		}},
		{"StoredSince", func() error {
			_, err := w.store.StoredSince(ctx, w.user(), time.Now().Add(-time.Minute), 50)
			return err
		}},
		{"StoredSince, busy", func() error {
			_, err := w.store.StoredSince(ctx, busy, time.Now().Add(-time.Minute), 50)
			return err
		}},
		{"Mail", func() error { _, err := w.store.Mail(ctx, id); return err }},
		{"Raw", func() error { _ = w.store.Raw(ctx, id, io.Discard); return nil }}, // the bodies are made up
		{"Find", func() error { _, err := w.store.Find(ctx, mailbox, line[0].ID); return err }},
		{"IDs", func() error {
			stop := fmt.Errorf("enough")
			if err := w.store.IDs(ctx, id, mailstore.LastID(), func(mailstore.Row) error { return stop }); err != stop {
				return err
			}
			return nil
		}},
		{"Sum", func() error { _, err := w.store.Sum(ctx, id, mailstore.LastID()); return err }},
		{"SumLines", func() error { _, err := w.store.SumLines(ctx, id, mailstore.LastID()); return err }},
		{"SumOf", func() error { _, err := w.store.SumOf(ctx, ids[len(ids)-150:]); return err }},
		{"Lines", func() error { _, err := w.store.Lines(ctx, lines(ids[len(ids)-150:])); return err }},
		{"Count", func() error { _, err := w.store.Count(ctx); return err }},
		{"new_mail by hash", func() error { return w.ask(ctx, "hash", fmt.Sprintf("%x", id[:])) }},
		{"new_mail by mail_id", func() error { return w.ask(ctx, "mail_id", mailID(id)) }},
		{"new_mail by recipient", func() error { return w.ask(ctx, "recipient", w.user()) }},
	} {
		statements, err := w.logged(ctx, call.run)
		if err != nil {
			return fmt.Errorf("%s: %w", call.name, err)
		}
		for _, statement := range statements {
			if err := w.plan(ctx, &t.plans, call.name, statement); err != nil {
				return fmt.Errorf("%s: %.200s: %w", call.name, statement, err)
			}
		}
	}
	return nil
}

func lines(ids []ulid.ULID) (lines []mailstore.Line) {
	for _, id := range ids {
		lines = append(lines, mailstore.Line{Mbox: mailstore.Mbox(busy), ID: id})
	}
	return lines
}

// entry is how each entry of the server's log begins; what follows may have several lines.
var entry = regexp.MustCompile(`(?m)^(?:\d{6}\s+[\d:]+)?\t+\s*\d+ \w+\t`)

// logged is the SELECTs that the server gets while fn runs.
func (w *world) logged(ctx context.Context, fn func() error) (statements []string, err error) {
	if _, err := w.root.ExecContext(ctx, "SET GLOBAL general_log=1"); err != nil {
		return nil, err
	}
	file := filepath.Join(w.dir, "data", "queries")
	before, err := os.ReadFile(file)
	if err == nil {
		err = fn()
	}
	if _, off := w.root.ExecContext(ctx, "SET GLOBAL general_log=0"); err == nil {
		err = off
	}
	if err != nil {
		return nil, err
	}
	after, err := os.ReadFile(file)
	for _, text := range entry.Split(string(after[min(len(before), len(after)):]), -1) {
		if strings.HasPrefix(text, "SELECT") && !strings.HasPrefix(text, "SELECT @@") {
			statements = append(statements, strings.TrimSpace(text))
		}
	}
	return statements, err
}

// plan adds what EXPLAIN says of a statement.
func (w *world) plan(ctx context.Context, table *bench.Table, name string, statement string) error {
	found, err := w.db.QueryContext(ctx, "EXPLAIN PARTITIONS "+statement)
	if err != nil {
		return err
	}
	defer found.Close()
	columns, err := found.Columns()
	if err != nil {
		return err
	}
	for found.Next() {
		values, targets := make([]sql.NullString, len(columns)), make([]any, len(columns))
		for i := range values {
			targets[i] = &values[i]
		}
		if err := found.Scan(targets...); err != nil {
			return err
		}
		of := map[string]string{}
		for i, column := range columns {
			of[column] = values[i].String
		}
		partitions := 0
		if of["partitions"] != "" {
			partitions = strings.Count(of["partitions"], ",") + 1
		}
		table.Row(name, of["table"], fmt.Sprint(partitions), of["type"], of["key"], of["key_len"], of["rows"], of["Extra"])
		name = ""
	}
	return found.Err()
}
