package mysql_test

import (
	"bytes"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	store "github.com/sluice-mail/sluice/pkg/mailstore/mysql"
	"github.com/sluice-mail/sluice/pkg/mailstore/mysql/mysqltest"
)

// address is one that leads to one server after another, as that of a failover pair does.
type address struct {
	net.Listener
	mu    sync.Mutex
	to    string
	conns []net.Conn
	cuts  atomic.Int32 // how many of the next answers to COMMIT are lost, and their connections with them
}

func newAddress(t *testing.T, to string) *address {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	a := &address{Listener: l, to: to}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { a.pass(in) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		a.lead("")
		serving.Wait()
	})
	return a
}

func (a *address) pass(in net.Conn) {
	defer in.Close()
	a.mu.Lock()
	out, err := net.Dial("tcp", a.to)
	if err == nil {
		a.conns = append(a.conns, in, out)
	}
	a.mu.Unlock()
	if err != nil {
		return
	}
	defer out.Close()
	var both sync.WaitGroup
	var cut atomic.Bool
	both.Go(func() {
		defer out.Close()
		pump(out, in, func(sent []byte) bool {
			if bytes.HasSuffix(sent, []byte("COMMIT")) && a.cuts.Add(-1) >= 0 {
				cut.Store(true)
			}
			return true
		})
	})
	both.Go(func() {
		defer in.Close()
		pump(in, out, func([]byte) bool { return !cut.Load() })
	})
	both.Wait()
}

// pump copies until either side ends, or until it is told that something is not to be passed on.
func pump(to io.Writer, from io.Reader, pass func([]byte) bool) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil || !pass(buf[:n]) {
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// lead lets the address lead to another server; connections to the old one are cut.
func (a *address) lead(to string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.to = to
	for _, c := range a.conns {
		c.Close()
	}
	a.conns = nil
}

// addr is where a DSN leads.
func addr(t *testing.T, dsn string) string {
	t.Helper()
	cfg, err := mysql.ParseDSN(dsn)
	if err != nil {
		t.Fatal(err)
	}
	return cfg.Addr
}

// A failover is followed: while the new server is still a replica the storer pauses, then it stores there.
func TestFailover(t *testing.T) {
	_, first := mysqltest.Start(t)
	promoted, second := mysqltest.Start(t)
	for _, dsn := range []string{first, second} {
		open(t, store.Config{DSN: dsn})
		exec(t, dsn, "CREATE USER plain@'%' IDENTIFIED BY 'plain'")
		exec(t, dsn, "GRANT ALL ON test.* TO plain@'%'")
	}
	shared := newAddress(t, addr(t, first))
	s := openBare(t, store.Config{DSN: change(t, first, func(c *mysql.Config) {
		c.Addr, c.User, c.Passwd = shared.Addr().String(), "plain", "plain"
	})})
	before, after := mail("before@example.com"), mail("after@example.com")
	if err := putOne(t, s, before); err != nil {
		t.Fatal(err)
	}
	exec(t, promoted.DSN(""), "SET GLOBAL read_only = 1")
	shared.lead(addr(t, second))
	expectClass(t, putOne(t, s, after), mailstore.Pause, "read-only")
	exec(t, promoted.DSN(""), "SET GLOBAL read_only = 0")
	// What the old server took last may not have reached the new one: it is stored again from the log.
	for range 2 {
		if _, err := s.PutBatch(t.Context(), []mailstore.Mail{before, after}); err != nil {
			t.Fatal(err)
		}
	}
	stored(t, s, before, "before@example.com")
	stored(t, s, after, "after@example.com")
}

// Whoever deletes is told what he has deleted, also when the connection breaks after the server's commit and before its answer.
func TestDeletingWhenTheAnswerToTheCommitIsLost(t *testing.T) {
	dsn := mysqltest.DSN(t)
	open(t, store.Config{DSN: dsn})
	lossy := newAddress(t, addr(t, dsn))
	s := openBare(t, store.Config{DSN: change(t, dsn, func(c *mysql.Config) { c.Addr = lossy.Addr().String() })})
	var mails []mailstore.Mail
	var ids []ulid.ULID
	for range 300 {
		m := mail("b@example.com")
		mails, ids = append(mails, m), append(ids, m.ID)
	}
	if _, err := s.PutBatch(t.Context(), mails); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Delete(t.Context(), "a@example.com", ids[0]); err != nil { // by another deletion: it does not count
		t.Fatal(err)
	}
	lossy.cuts.Store(1)
	gone, err := s.Delete(t.Context(), "a@example.com", ids[:3]...)
	if err != nil || len(gone) != 2 || lossy.cuts.Load() > 0 {
		t.Errorf("%d deleted, want 2: %v", len(gone), err)
	}
	told := 0
	lossy.cuts.Store(1)
	n, err := s.DeleteAll(t.Context(), "a@example.com", mailstore.LastID(), func(ids []ulid.ULID) { told += len(ids) })
	if err != nil || n != 297 || told != 297 || lossy.cuts.Load() > 0 {
		t.Errorf("%d deleted, %d told of, want 297: %v", n, told, err)
	}
	var raw bytes.Buffer // the other mailbox still lists it: it was counted down once
	if err := s.Raw(t.Context(), ids[1], &raw); err != nil || !bytes.Equal(raw.Bytes(), mails[1].Raw) {
		t.Errorf("the bytes of a mail that the other mailbox lists: %v", err)
	}
	// Without an answer to the second attempt either it is not known, and said so.
	lossy.cuts.Store(2)
	_, err = s.Delete(t.Context(), "b@example.com", ids[0])
	expectClass(t, err, mailstore.Reconnect, "deleting mail")
}
