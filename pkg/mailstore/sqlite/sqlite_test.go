package sqlite_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/sqlite"
	"github.com/sluice-mail/sluice/pkg/mailstore/storetest"
)

func newPath(t *testing.T) string { return filepath.Join(t.TempDir(), "mail.db") }

func mail() mailstore.Mail {
	return storetest.NewMail(time.Now(), storetest.Text(1000), "a@example.com")
}

// The command line tool looks into the file while the server writes to it, and cannot change it.
func TestReadOnlyBesideAWriter(t *testing.T) {
	path := newPath(t)
	writer := open(t, sqlite.Config{Path: path})
	reader := open(t, sqlite.Config{Path: path, ReadOnly: true})
	if err := reader.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		m := mail()
		if _, err := writer.PutBatch(t.Context(), []mailstore.Mail{m}); err != nil {
			t.Fatal(err)
		}
		entries, err := reader.Inbox(t.Context(), "a@example.com", ulid.ULID{}, 10)
		if err != nil || len(entries) != i+1 {
			t.Fatalf("%d mails (%v), want %d", len(entries), err, i+1)
		}
		var raw bytes.Buffer
		if err := reader.Raw(t.Context(), m.ID, &raw); err != nil || !bytes.Equal(raw.Bytes(), m.Raw) {
			t.Error("other bytes", err)
		}
	}
	for name, err := range map[string]error{
		"PutBatch":   second(reader.PutBatch(t.Context(), []mailstore.Mail{mail()})),
		"Reindex":    second(reader.Reindex(t.Context(), []mailstore.Mail{mail()})),
		"DropBefore": reader.DropBefore(t.Context(), 1<<20),
		"Migrate":    reader.Migrate(t.Context()),
	} {
		if mailstore.Classify(err) != mailstore.Pause {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }

// Two processes may write: storer replay beside allinone.
func TestTwoWriters(t *testing.T) {
	path := newPath(t)
	stores := []*sqlite.Store{open(t, sqlite.Config{Path: path}), open(t, sqlite.Config{Path: path})}
	var wg sync.WaitGroup
	for _, s := range stores {
		wg.Go(func() {
			for range 50 {
				if _, err := s.PutBatch(context.Background(), []mailstore.Mail{mail(), mail()}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if n, err := stores[0].Count(t.Context()); n != 200 || err != nil {
		t.Errorf("%d mails (%v), want 200", n, err)
	}
}

// Several processes start with no file at all.
func TestManyMigrateAtOnce(t *testing.T) {
	path := newPath(t)
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s, err := sqlite.Open(sqlite.Config{Path: path}, slog.New(slog.DiscardHandler), nil)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			if err := s.Migrate(context.Background()); err != nil {
				t.Error(err)
			}
			if err := s.Ping(context.Background()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestOnlyWeMayReadTheFile(t *testing.T) {
	path := newPath(t)
	s := open(t, sqlite.Config{Path: path})
	if _, err := s.PutBatch(t.Context(), []mailstore.Mail{mail()}); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(path + "*")
	if err != nil || len(files) < 2 {
		t.Fatal(files, err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v", f, info.Mode(), err)
		}
	}
}

func TestTrouble(t *testing.T) {
	logger := slog.New(slog.DiscardHandler)
	if _, err := sqlite.Open(sqlite.Config{Path: newPath(t), ReadOnly: true}, logger, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no file to read: %v", err)
	}
	if _, err := sqlite.Open(sqlite.Config{Path: filepath.Join(t.TempDir(), "absent", "mail.db")}, logger, nil); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	path := newPath(t)
	if err := os.WriteFile(path, bytes.Repeat([]byte("no database "), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := sqlite.Open(sqlite.Config{Path: path}, logger, nil); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("no database: %v", err)
	}
	empty, err := sqlite.Open(sqlite.Config{Path: newPath(t)}, logger, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer empty.Close()
	for name, err := range map[string]error{
		"Ping":     empty.Ping(t.Context()),
		"PutBatch": second(empty.PutBatch(t.Context(), []mailstore.Mail{mail()})),
		"Inbox":    second(empty.Inbox(t.Context(), "a@example.com", ulid.ULID{}, 1)),
	} {
		if mailstore.Classify(err) != mailstore.Pause || !strings.Contains(err.Error(), "storer migrate") {
			t.Errorf("%s without tables: %v", name, err)
		}
	}
}
