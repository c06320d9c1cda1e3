package mysql_test

import (
	"log/slog"
	"os"
	"testing"

	"go.uber.org/goleak"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/mysql"
	"github.com/sluice-mail/sluice/pkg/mailstore/mysql/mysqltest"
	"github.com/sluice-mail/sluice/pkg/mailstore/storetest"
)

func TestMain(m *testing.M) {
	code := mysqltest.Main(m)
	if err := goleak.Find(); err != nil && code == 0 {
		os.Stderr.WriteString(err.Error() + "\n")
		code = 1
	}
	os.Exit(code)
}

func TestSuite(t *testing.T) {
	storetest.Run(t, func(t *testing.T, o storetest.Options) mailstore.Store {
		dsn := mysqltest.DSN(t)
		if o.Exec != nil {
			*o.Exec = func(statement string) { exec(t, dsn, statement) }
		}
		return open(t, mysql.Config{DSN: dsn, Codec: o.Codec, Retention: o.Retention})
	})
}

func open(t *testing.T, cfg mysql.Config) *mysql.Store {
	t.Helper()
	s := openBare(t, cfg)
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	return s
}

// openBare opens a store without making its tables.
func openBare(t *testing.T, cfg mysql.Config) *mysql.Store {
	t.Helper()
	s, err := mysql.Open(cfg, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}
