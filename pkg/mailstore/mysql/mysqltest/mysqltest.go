package mysqltest

import (
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// shared is the server of this test program, started by the first test that asks for it.
var shared struct {
	sync.Mutex
	server *Server
	err    error
}

func sharedServer() (*Server, error) {
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil && shared.err == nil {
		shared.server, shared.err = New()
	}
	return shared.server, shared.err
}

// Stop ends the shared server, if there is one.
func Stop() error {
	shared.Lock()
	defer shared.Unlock()
	if shared.server == nil {
		return nil
	}
	err := shared.server.Remove()
	shared.server = nil
	return err
}

// DSN returns the DSN of a new, empty database for this test, dropped afterwards. The server is MYSQL_TEST_DSN's when
// that is set; else it is a private one shared by all tests of the program, to be ended by Main. Without mariadbd the
// test is skipped.
func DSN(t testing.TB) string {
	t.Helper()
	if dsn := os.Getenv("MYSQL_TEST_DSN"); dsn != "" {
		return database(t, dsn)
	}
	server, err := sharedServer()
	fail(t, err)
	return database(t, server.DSN(""))
}

// Start starts a server of its own for this test, which may stop, kill and pause it, and returns the DSN of an empty
// database as well.
func Start(t testing.TB, args ...string) (*Server, string) {
	t.Helper()
	server, err := New(args...)
	fail(t, err)
	t.Cleanup(func() {
		if err := server.Remove(); err != nil {
			t.Error(err)
		}
	})
	name := "test"
	create(t, server.DSN(""), name)
	return server, server.DSN(name)
}

// Main runs the tests of a program and ends the shared server. Use: func TestMain(m *testing.M) { os.Exit(mysqltest.Main(m)) }
func Main(m *testing.M) int {
	code := m.Run()
	if err := Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "mysqltest:", err)
		return 1
	}
	return code
}

func fail(t testing.TB, err error) {
	t.Helper()
	if errors.Is(err, ErrAbsent) {
		t.Skip("skipped:", err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// database makes a database with a name of its own on the server of dsn.
func database(t testing.TB, dsn string) string {
	t.Helper()
	cfg, err := mysql.ParseDSN(dsn)
	fail(t, err)
	name := "sluice_test_" + strings.ToLower(rand.Text())
	cfg.DBName = ""
	create(t, cfg.FormatDSN(), name)
	t.Cleanup(func() { run(t, cfg.FormatDSN(), "DROP DATABASE "+name) })
	cfg.DBName = name
	return cfg.FormatDSN()
}

func create(t testing.TB, dsn, name string) {
	t.Helper()
	run(t, dsn, "CREATE DATABASE "+name)
}

func run(t testing.TB, dsn, statement string) {
	t.Helper()
	db, err := openQuiet(dsn)
	fail(t, err)
	defer db.Close()
	if _, err := db.Exec(statement); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}
