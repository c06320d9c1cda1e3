package mysql_test

import (
	"io"
	"net"
	"sync"
	"testing"

	"github.com/go-sql-driver/mysql"

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
	for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1]) // ends when either side does
			way[0].Close()
		})
	}
	both.Wait()
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

// A failover is followed: while the new server is still a replica the storer pauses, then it stores there.
func TestFailover(t *testing.T) {
	_, first := mysqltest.Start(t)
	promoted, second := mysqltest.Start(t)
	addr := func(dsn string) string {
		cfg, err := mysql.ParseDSN(dsn)
		if err != nil {
			t.Fatal(err)
		}
		return cfg.Addr
	}
	for _, dsn := range []string{first, second} {
		open(t, store.Config{DSN: dsn})
		exec(t, dsn, "CREATE USER plain@'%' IDENTIFIED BY 'plain'")
		exec(t, dsn, "GRANT ALL ON test.* TO plain@'%'")
	}
	shared := newAddress(t, addr(first))
	s := openBare(t, store.Config{DSN: change(t, first, func(c *mysql.Config) {
		c.Addr, c.User, c.Passwd = shared.Addr().String(), "plain", "plain"
	})})
	before, after := mail("before@example.com"), mail("after@example.com")
	if err := putOne(t, s, before); err != nil {
		t.Fatal(err)
	}
	exec(t, promoted.DSN(""), "SET GLOBAL read_only = 1")
	shared.lead(addr(second))
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
