package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"fmt"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

// allinone is one such process with a data directory of its own.
type allinone struct {
	*fleet.Process
	dir, smtp string
}

func startAllinone(t *testing.T, ctx context.Context, extra ...string) *allinone {
	t.Helper()
	return startAllinoneIn(t, ctx, filepath.Join(t.TempDir(), "data"), extra...)
}

func startAllinoneIn(t *testing.T, ctx context.Context, dir string, extra ...string) *allinone {
	t.Helper()
	p := fleet.NewAllinone(binaries, dir, extra...)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Kill(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("allinone said:\n%s", p.Log())
		}
	})
	if err := p.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	return &allinone{Process: p, dir: dir, smtp: p.Addrs["smtp"]}
}

func (a *allinone) env() []string { return []string{"SLUICE_DATA=" + a.dir} }

func (a *allinone) ctl(t *testing.T, ctx context.Context, args ...string) string {
	t.Helper()
	out, err := (&fleet.Fleet{Binaries: binaries}).Command(ctx, a.env(), "sluicectl", args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// count asks the SQLite file itself.
func (a *allinone) count(t *testing.T, query string) (n int) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(a.dir, "sluice.db")+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow(query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// Real clients, decoded subject, equal bytes, sluicectl.
func TestAllinoneTakesMailFromRealClients(t *testing.T) {
	need(t, "smtp-source", "swaks", "curl")
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	a := startAllinone(t, ctx)
	if log := a.Log(); !strings.Contains(log, a.smtp) || !strings.Contains(log, a.dir) {
		t.Errorf("it does not say where it listens and where its data is:\n%s", log)
	}

	mail := []byte("Subject: by curl\r\n\r\n.one dot\r\n..two\r\nend\r\n")
	file := filepath.Join(t.TempDir(), "mail.eml")
	if err := os.WriteFile(file, mail, 0o600); err != nil {
		t.Fatal(err)
	}
	command(t, ctx, "curl", "-sS", "smtp://"+a.smtp, "--mail-from", "a@b.example", "--mail-rcpt", "u@example.com", "-T", file)
	command(t, ctx, "smtp-source", "-s", "20", "-m", "2000", "-N", "-l", "4000", a.smtp)
	command(t, ctx, "swaks", "--server", a.smtp, "--from", "a@b.example", "--to", "u@example.com",
		"--header", "Subject: =?UTF-8?B?w4TDtsO8?= =?ISO-8859-1?Q?_gr=FC=DFe?=", "--attach", "@"+file)
	settled(t, ctx, a.env())

	if n := a.count(t, "SELECT count(*) FROM mail"); n != 2002 {
		t.Errorf("%d rows in mail, want 2002", n)
	}
	if n := a.count(t, "SELECT count(*) FROM inbox"); n != 2002 {
		t.Errorf("%d rows in inbox, want 2002", n)
	}
	ls := a.ctl(t, ctx, "ls", "u@example.com")
	if !strings.Contains(ls, "Äöü grüße") || !strings.Contains(ls, "by curl") {
		t.Errorf("the subjects are not decoded:\n%s", ls)
	}
	for line := range strings.SplitSeq(ls, "\n") {
		if strings.HasSuffix(line, "by curl") {
			id, _, _ := strings.Cut(line, " ")
			if got := a.ctl(t, ctx, "cat", "--raw", id); got != string(mail) {
				t.Errorf("stored %q, sent %q", got, mail)
			}
			if whole := a.ctl(t, ctx, "cat", id); !strings.HasPrefix(whole, "Return-Path: <a@b.example>\r\n") || !strings.HasSuffix(whole, string(mail)) {
				t.Errorf("cat prints %q", whole)
			}
		}
	}
	if r := audit(t, ctx, a.env(), "--deep"); r.Stored != 2002 || r.Mails != 2002 {
		t.Errorf("the audit says %+v", r)
	}
}

// What got 250 survives a crash, once; Ctrl-C ends within 5 s.
func TestAllinoneKilledUnderLoadLosesNothing(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	a := startAllinone(t, ctx)
	acks := filepath.Join(t.TempDir(), "acks.jsonl")
	loaded := make(chan error, 1)
	go func() {
		_, err := (&fleet.Fleet{Binaries: binaries}).Command(ctx, nil, "sluicectl", "load", "-to", a.smtp, "-conns", "16",
			"-duration", "6s", "-sizes", "1KB-100KB", "-rcpts", "1-3", "-record", acks)
		loaded <- err
	}()
	within(t, 30*time.Second, "some mails are acknowledged", func() bool {
		raw, _ := os.ReadFile(acks)
		return bytes.Count(raw, []byte(`"acked"`)) > 100
	})
	if err := a.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := a.Start(); err != nil {
		t.Fatal(err)
	}
	if err := <-loaded; err != nil {
		t.Fatal(err)
	}
	if err := a.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	settled(t, ctx, a.env())
	r := audit(t, ctx, a.env(), "--acks", acks)
	t.Logf("%+v", *r.Acks)
	if r.Acks.Stored != r.Acks.Recorded || r.Acks.Recorded < 100 || r.Acks.Duplicates != 0 {
		t.Errorf("accepted %d, stored %d, duplicates %d", r.Acks.Recorded, r.Acks.Stored, r.Acks.Duplicates)
	}

	begun := time.Now()
	if err := a.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case <-a.Done():
	case <-time.After(5 * time.Second):
		t.Fatal("still there 5 s after Ctrl-C")
	}
	if code := a.ExitCode(); code != 0 {
		t.Errorf("exit code %d after Ctrl-C, %s later", code, time.Since(begun))
	}
}

// Too large, cut off, and the second mail on a connection.
func TestAllinoneRefusesAndGoesOn(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a := startAllinone(t, ctx, "INGRESS_MAX_MESSAGE_BYTES=64KiB")
	c, err := smtp.Dial(a.smtp)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	send := func(body []byte) error {
		for _, step := range []error{c.Mail("a@b.example"), c.Rcpt("u@example.com")} {
			if step != nil {
				return step
			}
		}
		w, err := c.Data()
		if err != nil {
			return err
		}
		if _, err := w.Write(body); err != nil {
			return err
		}
		return w.Close()
	}
	if err := c.Hello("client.example"); err != nil {
		t.Fatal(err)
	}
	// Not declared with SIZE: the limit is found while it is sent.
	if err := send(bytes.Repeat([]byte("QUIT\r\n"), 12_000)); err == nil || !strings.Contains(err.Error(), "552 ") {
		t.Errorf("a mail over the limit: %v, want 552", err)
	}
	body := []byte("Subject: second\r\n\r\nstored\r\n")
	if err := send(body); err != nil {
		t.Errorf("the mail after it: %v", err)
	}
	if err := send([]byte("Subject: third\r\n\r\nstored\r\n")); err != nil {
		t.Errorf("the third mail on the connection: %v", err)
	}
	cut, err := smtp.Dial(a.smtp)
	if err != nil {
		t.Fatal(err)
	}
	for _, step := range []error{cut.Mail("a@b.example"), cut.Rcpt("u@example.com")} {
		if step != nil {
			t.Fatal(step)
		}
	}
	w, err := cut.Data()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprint(w, "Subject: cut\r\n\r\nhalf a "); err != nil {
		t.Fatal(err)
	}
	if err := cut.Text.W.Flush(); err != nil {
		t.Fatal(err)
	}
	cut.Close()
	settled(t, ctx, a.env())
	within(t, 10*time.Second, "two mails are stored", func() bool { return a.count(t, "SELECT count(*) FROM mail") == 2 })
	if r := audit(t, ctx, a.env(), "--deep"); r.Mails != 2 || r.Stored != 2 {
		t.Errorf("the log has %d mails and the database %d, want 2 and 2", r.Mails, r.Stored)
	}
	var sha string
	db, err := sql.Open("sqlite", "file:"+filepath.Join(a.dir, "sluice.db")+"?mode=ro")
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := db.QueryRow("SELECT lower(hex(sha256)) FROM mail ORDER BY id LIMIT 1").Scan(&sha); err != nil {
		t.Fatal(err)
	}
	if want := sha256.Sum256(body); sha != hex.EncodeToString(want[:]) {
		t.Errorf("stored SHA-256 %s, sent %x", sha, want)
	}
}

// A second allinone on the same data would destroy it.
func TestAllinoneRefusesADirectoryInUse(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	a := startAllinone(t, ctx)
	second := fleet.NewAllinone(binaries, a.dir)
	if err := second.Start(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-second.Done():
	case <-ctx.Done():
		t.Fatal("it runs")
	}
	if second.ExitCode() != 1 || !strings.Contains(second.Log(), "another allinone uses the data directory") {
		t.Errorf("exit code %d:\n%s", second.ExitCode(), second.Log())
	}
}
