package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-mail/sluice/pkg/mailparse"
	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/mysql"
	"github.com/sluice-mail/sluice/pkg/mailstore/mysql/mysqltest"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// world is the servers, filled.
type world struct {
	maria     *mysqltest.Server
	memcached *exec.Cmd
	children  map[string]*child
	trials    []trial
}

func (s settings) prepare(ctx context.Context) (w *world, err error) {
	w = &world{children: make(map[string]*child)}
	defer func() {
		if err != nil {
			w.close()
		}
	}()
	if w.maria, err = mysqltest.New(); err != nil {
		return w, err
	}
	cacheAddr, err := w.startMemcached(ctx)
	if err != nil {
		return w, err
	}
	dsn, ids, err := s.fill(ctx, w.maria)
	if err != nil {
		return w, err
	}
	for name, args := range map[string][]string{
		"mailbox": {"mailbox", dsn, cacheAddr}, "uncached": {"mailbox", dsn, ""}, "get": {"get", dsn, cacheAddr}, "select": {"select", dsn, ""},
	} {
		if w.children[name], err = startChild(ctx, args...); err != nil {
			return w, err
		}
	}
	return w, w.plan(s, ids, memcache.New(cacheAddr))
}

// plan makes the trials. What a bare handler gets from memcached is what Sluice answers.
func (w *world) plan(s settings, ids []ulid.ULID, cache *memcache.Client) error {
	var lists, mails, selects []string
	for i := range s.mailboxes {
		lists = append(lists, "/api/v1/mailboxes/"+mailbox(i)+"/messages")
		mails = append(mails, lists[i]+"/"+ids[i].String())
		mbox := mailstore.Mbox(mailbox(i))
		selects = append(selects, fmt.Sprintf("/?mbox=%x", mbox))
	}
	for key, path := range map[string]string{"list": lists[0], "mail": mails[0]} {
		answer, err := http.Get("http://" + w.children["uncached"].addr + path)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(answer.Body)
		answer.Body.Close()
		if err != nil || answer.StatusCode != http.StatusOK {
			return fmt.Errorf("%s: %d %s %w", path, answer.StatusCode, body, err)
		}
		if err := cache.Set(&memcache.Item{Key: key, Value: body}); err != nil {
			return err
		}
	}
	w.trials = []trial{
		{"bare handler, get of a list", "get", []string{"/list"}, ""},
		{"list from the cache", "mailbox", lists, "bare handler, get of a list"},
		{"bare handler, get of a mail", "get", []string{"/mail"}, ""},
		{"mail from the cache", "mailbox", mails, "bare handler, get of a mail"},
		{"bare handler, SELECT of a list", "select", selects, ""},
		{"list from the database", "uncached", lists, "bare handler, SELECT of a list"},
		{"mail from the database", "uncached", mails, "bare handler, SELECT of a list"},
	}
	return nil
}

func mailbox(i int) string { return fmt.Sprintf("user%d@example.com", i) }

// fill stores the mails, and returns the newest of each mailbox.
func (s settings) fill(ctx context.Context, maria *mysqltest.Server) (dsn string, newest []ulid.ULID, err error) {
	dsn = maria.DSN("readbench")
	if out, err := exec.CommandContext(ctx, "true").CombinedOutput(); err != nil {
		return "", nil, fmt.Errorf("%s: %w", out, err)
	}
	store, err := mysql.Open(mysql.Config{DSN: dsn, Conns: 4}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	if err != nil {
		return "", nil, err
	}
	defer store.Close()
	if err := store.Migrate(ctx); err != nil {
		return "", nil, err
	}
	bench := make([]mailstore.Mail, 0, 256)
	flush := func() error {
		_, err := store.PutBatch(ctx, bench)
		bench = bench[:0]
		return err
	}
	for i := range s.mailboxes {
		for n := range s.mails {
			m := s.mail(mailbox(i), n)
			if bench = append(bench, m); len(bench) == cap(bench) {
				if err := flush(); err != nil {
					return "", nil, err
				}
			}
			if n == s.mails-1 {
				newest = append(newest, m.ID)
			}
		}
	}
	return dsn, newest, flush()
}

func (s settings) mail(mailbox string, n int) mailstore.Mail {
	id, now := ulid.Make(), time.Now().UTC()
	raw := fmt.Sprintf("From: Somebody Or Other <somebody@example.org>\r\nTo: <%s>\r\nSubject: number %d, about what people write about\r\nMessage-ID: <%s@example.org>\r\n"+
		"MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n", mailbox, n, id)
	for len(raw) < s.size {
		raw += rand.Text() + " and some more words on this line\r\n"
	}
	sum := sha256.Sum256([]byte(raw))
	env, err := proto.Marshal(&mailv1.Envelope{
		Id: id[:], ReceivedAt: now.UnixMilli(), Ingress: "mx.example.com", Helo: "client.example.org", Protocol: "ESMTPS", MailFrom: "somebody@example.org",
		Client: &mailv1.Endpoint{Ip: []byte{192, 0, 2, 1}}, Recipients: []*mailv1.Recipient{{Mailbox: mailbox}}, Size: uint64(len(raw)), Sha256: sum[:],
	})
	if err != nil {
		panic(err) // of a message made here
	}
	return mailstore.Mail{
		ID: id, Envelope: env, Size: int64(len(raw)), SHA256: sum, Raw: []byte(raw), Verified: true, Sender: "somebody@example.org",
		Mailboxes: []string{mailbox}, IP: netip.MustParseAddr("192.0.2.1"), Received: now, Derived: mailstore.DerivedOf(mailparse.Summarise([]byte(raw))),
	}
}

func (w *world) startMemcached(ctx context.Context) (addr string, err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	addr = l.Addr().String()
	if err := l.Close(); err != nil {
		return "", err
	}
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", err
	}
	w.memcached = exec.CommandContext(ctx, "memcached", "-l", "127.0.0.1", "-p", port, "-U", "0", "-m", "256", "-u", "root")
	if err := w.memcached.Start(); err != nil {
		return "", fmt.Errorf("starting memcached: %w", err)
	}
	for deadline := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			return addr, conn.Close()
		}
		if time.Now().After(deadline) {
			return "", fmt.Errorf("memcached does not answer: %w", err)
		}
	}
}

func (w *world) close() {
	var problems []error
	for _, c := range w.children {
		if c != nil {
			problems = append(problems, c.stop())
		}
	}
	if w.memcached != nil && w.memcached.Process != nil {
		_ = w.memcached.Process.Kill()
		_ = w.memcached.Wait() // says that it was killed
	}
	if w.maria != nil {
		problems = append(problems, w.maria.Remove())
	}
	if err := errors.Join(problems...); err != nil && !strings.Contains(err.Error(), "killed") {
		fmt.Fprintln(os.Stderr, "readbench: stopping:", err)
	}
}
