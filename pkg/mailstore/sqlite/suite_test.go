package sqlite_test

import (
	"database/sql"
	"log/slog"
	"net/url"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/sqlite"
	"github.com/sluice-mail/sluice/pkg/mailstore/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestSuite(t *testing.T) {
	storetest.Run(t, func(t *testing.T, o storetest.Options) mailstore.Store {
		path := filepath.Join(t.TempDir(), "mail ?#%.db")
		if o.Exec != nil {
			*o.Exec = func(statement string) { exec(t, path, statement) }
		}
		return open(t, sqlite.Config{Path: path, Codec: o.Codec, Retention: o.Retention})
	})
}

// exec runs a statement beside the store.
func exec(t *testing.T, path, statement string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+(&url.URL{Path: path}).EscapedPath())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

func open(t *testing.T, cfg sqlite.Config) *sqlite.Store {
	t.Helper()
	s, err := sqlite.Open(cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if !cfg.ReadOnly {
		if err := s.Migrate(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	return s
}
