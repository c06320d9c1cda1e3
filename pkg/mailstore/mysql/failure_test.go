package mysql_test

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	store "github.com/sluice-mail/sluice/pkg/mailstore/mysql"
	"github.com/sluice-mail/sluice/pkg/mailstore/mysql/mysqltest"
	"github.com/sluice-mail/sluice/pkg/mailstore/storetest"
)

func expectClass(t *testing.T, err error, class mailstore.Class, hint string) {
	t.Helper()
	if mailstore.Classify(err) != class || !strings.Contains(fmt.Sprint(err), hint) {
		t.Errorf("got %v: %v; want %v with %q", mailstore.Classify(err), err, class, hint)
	}
}

func mail(mailboxes ...string) mailstore.Mail {
	return storetest.NewMail(time.Now(), storetest.Text(1000), append(mailboxes, "a@example.com")...)
}

func putOne(t *testing.T, s *store.Store, m mailstore.Mail) error {
	t.Helper()
	_, err := s.PutBatch(t.Context(), []mailstore.Mail{m})
	return err
}

func exec(t *testing.T, dsn, statement string) {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec(statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// change returns a DSN that differs.
func change(t *testing.T, dsn string, fn func(*mysql.Config)) string {
	t.Helper()
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	fn(cfg)
	return cfg.FormatDSN()
}

// The server may be away at the start and at any time later; the store comes back by itself.
func TestServerAwayAndBack(t *testing.T) {
	server, dsn := mysqltest.Start(t)
	if err := server.Stop(); err != nil {
		t.Fatal(err)
	}
	s := openBare(t, store.Config{DSN: dsn})
	expectClass(t, s.Ping(t.Context()), mailstore.Pause, "is the MySQL server running")
	expectClass(t, s.Migrate(t.Context()), mailstore.Pause, "is the MySQL server running")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	expectClass(t, s.Ping(t.Context()), mailstore.Pause, "storer migrate")
	if err := s.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	first := mail()
	if err := putOne(t, s, first); err != nil {
		t.Fatal(err)
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	second := mail()
	expectClass(t, putOne(t, s, second), mailstore.Pause, "is the MySQL server running")
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	if err := putOne(t, s, second); err != nil {
		t.Fatal(err)
	}
	entries, err := s.Inbox(t.Context(), "a@example.com", [16]byte{}, 10)
	if err != nil || len(entries) != 2 {
		t.Errorf("%d mails after a crash (%v), want 2", len(entries), err)
	}
}

// A connection killed in the middle of a statement is tried again inside; what reaches the caller says reconnect.
func TestConnectionKilledInStatement(t *testing.T) {
	dsn := mysqltest.DSN(t)
	s := open(t, store.Config{DSN: dsn, Conns: 1})
	m := mail()
	// Another transaction holds the mail's row, so that the statement waits where it can be killed.
	holder, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Close()
	tx, err := holder.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.Exec("INSERT INTO mail VALUES (?,?,0,'',1,1,NOW(),'')", mailstore.Day(m.ID), m.ID[:]); err != nil {
		t.Fatal(err)
	}
	var held int64
	if err := tx.QueryRow("SELECT CONNECTION_ID()").Scan(&held); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- putOne(t, s, m) }()
	for range 2 { // as often as the store tries by itself
		killWaiting(t, holder, held)
	}
	select {
	case err := <-done:
		expectClass(t, err, mailstore.Reconnect, "")
	case <-time.After(30 * time.Second):
		t.Fatal("still waiting")
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := putOne(t, s, m); err != nil {
		t.Fatal(err)
	}
}

// killWaiting kills the connection that is waiting in an INSERT into mail. It is not the one that holds the
// row, which the list may still show in its own INSERT for a moment after that was answered.
func killWaiting(t *testing.T, db *sql.DB, holder int64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		var id int64
		err := db.QueryRowContext(ctx, "SELECT ID FROM information_schema.PROCESSLIST WHERE DB=DATABASE() AND COMMAND='Execute' AND INFO LIKE 'INSERT INTO mail %' AND ID<>?", holder).Scan(&id)
		if err == nil {
			if _, err := db.ExecContext(ctx, fmt.Sprintf("KILL %d", id)); err != nil {
				t.Fatal(err)
			}
			return
		}
		if ctx.Err() != nil {
			t.Fatal("no INSERT is waiting")
		}
	}
}

func TestReadOnlyServerPauses(t *testing.T) {
	server, dsn := mysqltest.Start(t)
	s := open(t, store.Config{DSN: dsn})
	// Without the right to write to a read-only server, which the user of the tests has.
	exec(t, dsn, "CREATE USER plain@'%' IDENTIFIED BY 'plain'")
	exec(t, dsn, "GRANT ALL ON test.* TO plain@'%'")
	plain := open(t, store.Config{DSN: change(t, dsn, func(c *mysql.Config) { c.User, c.Passwd = "plain", "plain" })})
	exec(t, server.DSN(""), "SET GLOBAL read_only=1")
	expectClass(t, putOne(t, plain, mail()), mailstore.Pause, "read-only")
	expectClass(t, plain.Probe(t.Context()), mailstore.Pause, "read-only")
	expectClass(t, plain.Ping(t.Context()), mailstore.Pause, "read-only")
	exec(t, server.DSN(""), "SET GLOBAL read_only=0")
	if err := putOne(t, plain, mail()); err != nil {
		t.Error(err)
	}
	if err := putOne(t, s, mail()); err != nil {
		t.Error(err)
	}
}

func TestWrongSettingsPause(t *testing.T) {
	dsn := mysqltest.DSN(t)
	good := open(t, store.Config{DSN: dsn})
	for name, c := range map[string]struct {
		dsn  string
		hint string
	}{
		"password":     {change(t, dsn, func(c *mysql.Config) { c.Passwd = "wrong" }), "user, password and rights"},
		"user":         {change(t, dsn, func(c *mysql.Config) { c.User = "nobody" }), "user, password and rights"},
		"database":     {change(t, dsn, func(c *mysql.Config) { c.DBName = "sluice_absent" }), "create the database"},
		"no tables":    {mysqltest.DSN(t), "storer migrate"},
		"port":         {change(t, dsn, func(c *mysql.Config) { c.Addr = "127.0.0.1:1" }), "is the MySQL server running"},
		"unknown name": {change(t, dsn, func(c *mysql.Config) { c.Addr = "mysql.invalid:3306" }), "MYSQL_DSN"},
	} {
		s := openBare(t, store.Config{DSN: c.dsn})
		t.Run(name, func(t *testing.T) {
			expectClass(t, putOne(t, s, mail()), mailstore.Pause, c.hint)
			expectClass(t, s.Ping(t.Context()), mailstore.Pause, c.hint)
		})
	}
	exec(t, dsn, "ALTER TABLE inbox DROP COLUMN subject")
	expectClass(t, putOne(t, good, mail()), mailstore.Pause, "storer migrate")
	for _, dsn := range []string{"nonsense", "user@tcp(host:1)/", ""} {
		if _, err := store.Open(store.Config{DSN: dsn}, nil, nil); err == nil || !strings.Contains(err.Error(), "MYSQL_DSN") {
			t.Errorf("%q: %v", dsn, err)
		}
	}
}

func TestSmallPacketIsRefused(t *testing.T) {
	server, dsn := mysqltest.Start(t)
	s := open(t, store.Config{DSN: dsn})
	if err := putOne(t, s, mail()); err != nil {
		t.Fatal(err)
	}
	exec(t, server.DSN(""), "SET GLOBAL max_allowed_packet=4194304")
	small := openBare(t, store.Config{DSN: dsn})
	expectClass(t, putOne(t, small, mail()), mailstore.Pause, "max_allowed_packet")
	expectClass(t, small.Ping(t.Context()), mailstore.Pause, "max_allowed_packet=64M")
	// Connections from before still have the old value.
	if err := putOne(t, s, mail()); err != nil {
		t.Error(err)
	}
}

// A mail the server refuses is told from its batch-mates, and can be stored without what it is refused for.
func TestRefusedMailIsData(t *testing.T) {
	dsn := mysqltest.DSN(t)
	s := open(t, store.Config{DSN: dsn})
	exec(t, dsn, "ALTER TABLE inbox MODIFY subject VARCHAR(3) NOT NULL")
	bad, good := mail(), mail()
	bad.Derived.Subject, good.Derived.Subject = "long", "ok"
	_, err := s.PutBatch(t.Context(), []mailstore.Mail{good, bad})
	expectClass(t, err, mailstore.Data, "1406")
	if n, err := s.Count(t.Context()); n != 0 || err != nil {
		t.Errorf("%d mails of a refused batch stored (%v)", n, err)
	}
	if err := putOne(t, s, good); err != nil {
		t.Error(err)
	}
	if _, err := s.PutOne(t.Context(), bad); err != nil {
		t.Error(err)
	}
}

// The user's DSN cannot switch off what keeps mail safe.
func TestOurParametersWin(t *testing.T) {
	dsn := mysqltest.DSN(t) + "?sql_mode=''&autocommit=0&clientFoundRows=true&parseTime=false&loc=Local&maxAllowedPacket=1000&interpolateParams=true&time_zone='%2B05:00'&innodb_lock_wait_timeout=9999&collation=latin1_swedish_ci"
	s := open(t, store.Config{DSN: dsn})
	m := mail()
	m.Derived.Subject = "\U0001F4EC"
	for _, want := range []mailstore.Result{{New: 1}, {Existing: 1}} {
		if got, err := s.PutBatch(t.Context(), []mailstore.Mail{m}); err != nil || got != want {
			t.Fatalf("got %+v (%v), want %+v", got, err, want)
		}
	}
	e, err := s.Inbox(t.Context(), "a@example.com", [16]byte{}, 10)
	if err != nil || len(e) != 1 || e[0].Subject != m.Derived.Subject || !e[0].Received.Equal(m.Received) {
		t.Errorf("%+v (%v)", e, err)
	}
}

// A frozen server must not hold a reader for longer than its context.
func TestFrozenServer(t *testing.T) {
	server, dsn := mysqltest.Start(t)
	s := open(t, store.Config{DSN: dsn})
	if err := server.Pause(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := s.Inbox(ctx, "a@example.com", [16]byte{}, 10)
	if err == nil || time.Since(start) > 10*time.Second {
		t.Errorf("after %v: %v", time.Since(start), err)
	}
	if err := server.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := putOne(t, s, mail()); err != nil {
		t.Error(err)
	}
}
