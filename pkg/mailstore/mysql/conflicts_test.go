package mysql_test

import (
	"context"
	"database/sql"
	"fmt"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	store "github.com/sluice-mail/sluice/pkg/mailstore/mysql"
	"github.com/sluice-mail/sluice/pkg/mailstore/mysql/mysqltest"
)

// holder is another client with a transaction of its own.
type holder struct {
	t  *testing.T
	db *sql.DB
	tx *sql.Tx
}

func hold(t *testing.T, dsn string) *holder {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	tx, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback() }) // in vain when the test did it
	return &holder{t, db, tx}
}

// lock takes the place in inbox where the line of a mail will go.
func (h *holder) lock(m mailstore.Mail, mailbox string) {
	h.t.Helper()
	mbox := mailstore.Mbox(mailbox)
	h.query("SELECT COUNT(*) FROM inbox WHERE mbox = ? AND id = ? AND day = ? FOR UPDATE", mbox[:], m.ID[:], mailstore.Day(m.ID))
}

func (h *holder) query(statement string, args ...any) {
	h.t.Helper()
	var n int
	if err := h.tx.QueryRow(statement, args...).Scan(&n); err != nil {
		h.t.Fatalf("%s: %v", statement, err)
	}
}

// until waits for a number that the server tells.
func until(t *testing.T, db *sql.DB, what, statement string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for n := 0; n == 0; {
		if err := db.QueryRowContext(ctx, statement).Scan(&n); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// stored wants a mail in its mailbox exactly once.
func stored(t *testing.T, s *store.Store, m mailstore.Mail, mailbox string) {
	t.Helper()
	entries, err := s.Inbox(t.Context(), mailbox, [16]byte{}, 10)
	if err != nil || len(entries) != 1 || entries[0].ID != m.ID {
		t.Errorf("%d mails in %s (%v), want the one", len(entries), mailbox, err)
	}
}

// A storer that is the victim of a deadlock does it again.
func TestDeadlock(t *testing.T) {
	_, dsn := mysqltest.Start(t)
	s, m := open(t, store.Config{DSN: dsn}), mail()
	exec(t, dsn, "CREATE TABLE scratch (n INT PRIMARY KEY)")
	h := hold(t, dsn)
	// The victim is who has changed less.
	if _, err := h.tx.Exec("INSERT INTO scratch SELECT seq FROM seq_1_to_5000"); err != nil {
		t.Fatal(err)
	}
	h.lock(m, "a@example.com")
	done := make(chan error, 1)
	go func() { done <- putOne(t, s, m) }()
	until(t, h.db, "the storer waits", "SELECT VARIABLE_VALUE FROM information_schema.GLOBAL_STATUS WHERE VARIABLE_NAME = 'INNODB_ROW_LOCK_CURRENT_WAITS'")
	// The storer has this lock, and waits for ours.
	h.query("SELECT COUNT(*) FROM mail WHERE day = ? AND id = ? FOR UPDATE", mailstore.Day(m.ID), m.ID[:])
	until(t, h.db, "the deadlock", "SELECT COUNT FROM information_schema.INNODB_METRICS WHERE NAME = 'lock_deadlocks'")
	if err := h.tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	stored(t, s, m, "a@example.com")
}

// A lock that is held longer than the server lets others wait is waited for again.
func TestLockWaitTimeout(t *testing.T) {
	server, dsn := mysqltest.Start(t)
	exec(t, server.DSN(""), "SET GLOBAL innodb_lock_wait_timeout = 1")
	s, m := open(t, store.Config{DSN: dsn}), mail()
	h := hold(t, dsn)
	h.lock(m, "a@example.com")
	done := make(chan error, 1)
	go func() { done <- putOne(t, s, m) }()
	until(t, h.db, "the time-out", "SELECT COUNT FROM information_schema.INNODB_METRICS WHERE NAME = 'lock_timeouts'")
	if err := h.tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	stored(t, s, m, "a@example.com")
}

// A server without a connection to spare says what to raise.
func TestTooManyConnections(t *testing.T) {
	server, dsn := mysqltest.Start(t)
	exec(t, dsn, "CREATE USER plain@'%' IDENTIFIED BY 'plain'")
	exec(t, dsn, "GRANT ALL ON test.* TO plain@'%'")
	plain := change(t, dsn, func(c *mysql.Config) { c.User, c.Passwd = "plain", "plain" })
	open(t, store.Config{DSN: dsn})
	exec(t, server.DSN(""), "SET GLOBAL max_connections = 10")
	others, err := sql.Open("mysql", plain)
	if err != nil {
		t.Fatal(err)
	}
	defer others.Close()
	var taken []*sql.Conn
	for range 20 {
		c, err := others.Conn(t.Context())
		if err != nil {
			break
		}
		taken = append(taken, c)
	}
	s, m := openBare(t, store.Config{DSN: plain}), mail()
	expectClass(t, putOne(t, s, m), mailstore.Pause, "raise max_connections")
	expectClass(t, s.Ping(t.Context()), mailstore.Pause, "raise max_connections")
	for _, c := range taken {
		_ = c.Close()
	}
	if err := others.Close(); err != nil {
		t.Fatal(err)
	}
	// The server counts a connection for a moment after it has ended.
	var again error
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if again = putOne(t, s, m); again == nil {
			break
		}
	}
	if again != nil {
		t.Error(again)
	}
	stored(t, s, m, "a@example.com")
}

// Tables that are not ours any more are no reason to drop mail.
func TestTablesThatAreNotAsTheyShouldBe(t *testing.T) {
	for name, c := range map[string]struct{ spoil, mend, hint string }{
		"missing table":  {"RENAME TABLE inbox TO elsewhere", "RENAME TABLE elsewhere TO inbox", "storer migrate"},
		"missing column": {"ALTER TABLE inbox RENAME COLUMN subject TO title", "ALTER TABLE inbox RENAME COLUMN title TO subject", "storer migrate"},
		"revoked right":  {"REVOKE INSERT ON %s.* FROM plain@'%%'", "GRANT INSERT ON %s.* TO plain@'%%'", "user, password and rights"},
	} {
		t.Run(name, func(t *testing.T) {
			dsn := mysqltest.DSN(t)
			cfg, err := mysql.ParseDSN(dsn)
			if err != nil {
				t.Fatal(err)
			}
			open(t, store.Config{DSN: dsn})
			exec(t, dsn, "CREATE OR REPLACE USER plain@'%' IDENTIFIED BY 'plain'")
			exec(t, dsn, fmt.Sprintf("GRANT SELECT, INSERT, UPDATE, DELETE ON %s.* TO plain@'%%'", cfg.DBName))
			plain := store.Config{DSN: change(t, dsn, func(c *mysql.Config) { c.User, c.Passwd = "plain", "plain" })}
			s := openBare(t, plain)
			first, second := mail("b@example.com"), mail()
			if err := putOne(t, s, first); err != nil {
				t.Fatal(err)
			}
			if name == "revoked right" {
				c.spoil, c.mend = fmt.Sprintf(c.spoil, cfg.DBName), fmt.Sprintf(c.mend, cfg.DBName)
			}
			exec(t, dsn, c.spoil)
			s = openBare(t, plain) // a connection keeps the rights it had when it chose the database
			expectClass(t, putOne(t, s, second), mailstore.Pause, c.hint)
			exec(t, dsn, c.mend)
			s = openBare(t, plain)
			if err := putOne(t, s, second); err != nil {
				t.Error(err)
			}
			if _, err := s.PutBatch(t.Context(), []mailstore.Mail{first, second}); err != nil {
				t.Error(err)
			}
			stored(t, s, first, "b@example.com")
		})
	}
}

// A missing partition is made, or at least waited for.
func TestMissingPartition(t *testing.T) {
	dsn := mysqltest.DSN(t)
	s, m := open(t, store.Config{DSN: dsn}), mail()
	db := hold(t, dsn).db
	// A table whose partitions end before today; a partition cannot be dropped when it is the only one.
	exec(t, dsn, "ALTER TABLE inbox REMOVE PARTITIONING")
	exec(t, dsn, "ALTER TABLE inbox PARTITION BY RANGE (day) (PARTITION p0 VALUES LESS THAN (1))")
	expectClass(t, putOne(t, s, m), mailstore.Pause, "storer migrate")
	if _, err := db.ExecContext(t.Context(), "ALTER TABLE inbox ADD PARTITION (PARTITION pmax VALUES LESS THAN MAXVALUE)"); err != nil {
		t.Fatal(err)
	}
	if err := putOne(t, s, m); err != nil {
		t.Error(err)
	}
	stored(t, s, m, "a@example.com")
}
