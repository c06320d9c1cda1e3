package e2e

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "github.com/go-sql-driver/mysql"

	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

func newFleet(t *testing.T, ingresses int, extra ...string) *fleet.Fleet {
	t.Helper()
	need(t, "mariadbd", "memcached")
	f, err := fleet.New(t.TempDir(), binaries, ingresses, extra...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			for _, p := range f.Processes() {
				log := p.Log()
				t.Logf("%s said, at the end:\n%s", p.Name, log[max(0, len(log)-2000):])
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// load runs sluicectl load in the background and returns its record and what waits for its end.
func load(t *testing.T, ctx context.Context, f *fleet.Fleet, args ...string) (acks string, wait func()) {
	t.Helper()
	acks = filepath.Join(t.TempDir(), "acks.jsonl")
	args = append([]string{"load", "-to", f.Ingresses[0].Addrs["smtp"], "-conns", "8", "-record", acks}, args...)
	done := make(chan error, 1)
	go func() {
		_, err := f.Ctl(ctx, args...)
		done <- err
	}()
	return acks, func() {
		t.Helper()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// pour runs a load that goes on until stop, so that it lasts as long as what is tested beside it, however slow the machine is.
func pour(t *testing.T, ctx context.Context, f *fleet.Fleet, args ...string) (acks string, stop func()) {
	t.Helper()
	acks = filepath.Join(t.TempDir(), "acks.jsonl")
	args = append([]string{"load", "-to", f.Ingresses[0].Addrs["smtp"], "-conns", "8", "-duration", "9m", "-record", acks}, args...)
	p := f.NewCommand("load", f.Env(), "sluicectl", args...)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Kill() })
	return acks, func() {
		t.Helper()
		if err := p.Signal(syscall.SIGINT); err != nil {
			t.Fatal(err)
		}
		finish(t, ctx, p, 0)
	}
}

// more waits until so many mails more are accepted.
func more(t *testing.T, acks string, mails int, what string) {
	t.Helper()
	before := acked(acks)
	within(t, time.Minute, what, func() bool { return acked(acks) >= before+mails })
}

func acked(acks string) int {
	raw, _ := os.ReadFile(acks)
	return bytes.Count(raw, []byte(`"acked"`))
}

// Services of their own, started and stopped in any order; each says once what it waits for.
func TestServicesStartInAnyOrder(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	f := newFleet(t, 1)
	if err := f.MariaDB.Stop(); err != nil {
		t.Fatal(err)
	}
	// What consumes first, what it consumes last.
	for _, p := range []*fleet.Process{f.Ingresses[0], f.Warmer, f.Storer} {
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range []*fleet.Process{f.Ingresses[0], f.Warmer, f.Storer} {
		within(t, time.Minute, p.Name+" says that it waits for the log", func() bool {
			return strings.Contains(p.Log(), "waiting for the log")
		})
	}
	within(t, time.Minute, "the ingress listens", func() bool {
		return strings.Contains(f.Ingresses[0].Log(), "accepting mail")
	})
	if reply := dialogue(t, f.Ingresses[0].Addrs["smtp"]); !strings.HasPrefix(reply, "451 ") {
		t.Errorf("without a log the ingress answers MAIL with %q, want 451", reply)
	}
	if err := f.NATS.Start(); err != nil {
		t.Fatal(err)
	}
	within(t, time.Minute, "the storer says that it waits for the database", func() bool {
		return strings.Contains(f.Storer.Log(), "waiting for the database")
	})
	if err := f.MariaDB.Start(); err != nil {
		t.Fatal(err)
	}
	if err := f.Memcached.Start(); err != nil {
		t.Fatal(err)
	}
	if err := f.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	for _, p := range []*fleet.Process{f.Ingresses[0], f.Warmer, f.Storer} {
		if n := strings.Count(p.Log(), "waiting for the log (NATS)"); n > 1 {
			t.Errorf("%s says %d times that it waits for the log:\n%s", p.Name, n, p.Log())
		}
	}
	acks, wait := load(t, ctx, f, "-count", "300", "-sizes", "1KB-60KB", "-rcpts", "1-3")
	wait()
	settled(t, ctx, f.Env())
	r := audit(t, ctx, f.Env(), "--acks", acks, "--deep")
	if r.Acks.Stored != 300 || r.Acks.Recorded != 300 || r.Acks.Unexplained != 0 {
		t.Errorf("%+v", *r.Acks)
	}
	cached(t, ctx, f, acks)
	// And stopped in the order in which they are needed most.
	for _, p := range []*fleet.Process{f.NATS, f.Memcached, f.Storer, f.Warmer, f.Ingresses[0]} {
		if err := p.Stop(45 * time.Second); err != nil {
			t.Error(err)
		}
	}
}

// cached checks that a recorded mail is in Memcached, through sluicectl trace.
func cached(t *testing.T, ctx context.Context, f *fleet.Fleet, acks string) {
	t.Helper()
	raw, err := os.ReadFile(acks)
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := bytes.Cut(raw, []byte("\n"))
	var ack struct{ ID string }
	if err := json.Unmarshal(line, &ack); err != nil {
		t.Fatal(err)
	}
	within(t, time.Minute, "mail "+ack.ID+" is in the cache", func() bool {
		out, err := f.Ctl(ctx, "trace", "--json", ack.ID)
		var traced struct {
			Cached bool
			Stored *time.Time
			Log    []any
		}
		return err == nil && json.Unmarshal([]byte(out), &traced) == nil && traced.Cached && traced.Stored != nil && len(traced.Log) == 1
	})
}

// dialogue asks for a mail transaction and returns the answer to MAIL.
func dialogue(t *testing.T, addr string) string {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(90 * time.Second)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 4096)
	var reply string
	for _, line := range []string{"", "EHLO client.example\r\n", "MAIL FROM:<a@b.example>\r\n"} {
		if _, err := fmt.Fprint(conn, line); err != nil {
			t.Fatal(err)
		}
		n, err := conn.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		reply = string(buf[:n])
	}
	return reply
}

// Promise 3: The database is away, the ingress goes on, nothing is lost, doubled, or given
// up, and no delivery attempts are burnt.
func TestDatabaseAwayUnderLoad(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	f := newFleet(t, 1)
	if err := f.Start(ctx); err != nil {
		t.Fatal(err)
	}
	acks, stop := pour(t, ctx, f, "-rate", "100", "-sizes", "1KB-30KB", "-rcpts", "1-2")
	more(t, acks, 100, "mail is accepted")
	if err := f.MariaDB.Stop(); err != nil {
		t.Fatal(err)
	}
	more(t, acks, 500, "the ingress says 250 without the database")
	if err := f.MariaDB.Start(); err != nil {
		t.Fatal(err)
	}
	more(t, acks, 500, "the ingress says 250 with the database again")
	stop()
	settled(t, ctx, f.Env())
	r := audit(t, ctx, f.Env(), "--acks", acks)
	t.Logf("%+v", *r.Acks)
	if r.Acks.Stored != r.Acks.Recorded || r.Acks.Duplicates != 0 || r.Acks.Unexplained != 0 || r.Acks.Unsure != 0 {
		t.Errorf("accepted %d, stored %d, duplicates %d", r.Acks.Recorded, r.Acks.Stored, r.Acks.Duplicates)
	}
	if r.Dead != 0 {
		t.Errorf("%d dead letters because the database was away", r.Dead)
	}
	out, err := f.Ctl(ctx, "streams", "info", "--json")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, `"redelivered": 0`) {
		t.Errorf("deliveries were burnt while the database was away:\n%s", out)
	}
	rows(t, f.DSN(), "SELECT COUNT(*) FROM mail", r.Acks.Stored)
}

// Promise 2: Without the log the ingress says 4xx, never 250, and recovers by itself.
func TestLogAwayUnderLoad(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	f := newFleet(t, 1)
	if err := f.Start(ctx); err != nil {
		t.Fatal(err)
	}
	acks, stop := pour(t, ctx, f, "-rate", "100", "-sizes", "1KB-30KB")
	more(t, acks, 100, "mail is accepted")
	if err := f.NATS.Kill(); err != nil {
		t.Fatal(err)
	}
	within(t, time.Minute, "the ingress refuses for now", func() bool {
		return strings.HasPrefix(dialogue(t, f.Ingresses[0].Addrs["smtp"]), "451 ")
	})
	if err := f.NATS.Start(); err != nil {
		t.Fatal(err)
	}
	within(t, time.Minute, "the ingress accepts again", func() bool {
		return strings.HasPrefix(dialogue(t, f.Ingresses[0].Addrs["smtp"]), "250 ")
	})
	more(t, acks, 200, "the load goes on")
	stop()
	settled(t, ctx, f.Env())
	r := audit(t, ctx, f.Env(), "--acks", acks)
	t.Logf("%+v", *r.Acks)
	if r.Acks.Stored != r.Acks.Recorded || r.Acks.Duplicates != 0 {
		t.Errorf("accepted %d, stored %d, duplicates %d", r.Acks.Recorded, r.Acks.Stored, r.Acks.Duplicates)
	}
	raw, err := os.ReadFile(acks)
	if err != nil {
		t.Fatal(err)
	}
	if i := bytes.Index(raw, []byte(`"reply":"5`)); i >= 0 {
		t.Errorf("our fault was told as a permanent one: %.200s", raw[i:])
	}
}

func rows(t *testing.T, dsn, query string, want int64) {
	t.Helper()
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var n int64
	if err := db.QueryRow(query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	if n != want {
		t.Errorf("%s: %d, want %d", query, n, want)
	}
}
