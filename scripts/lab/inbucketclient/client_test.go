package inbucketclient

import (
	"context"
	"crypto/sha256"
	"log/slog"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/inbucket/inbucket/v3/pkg/rest/client"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-mail/sluice/pkg/mailparse"
	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/mailstore/sqlite"
	"github.com/sluice-mail/sluice/pkg/obs"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
	"github.com/sluice-mail/sluice/services/mailbox"
)

const raw = "From: Ann <ann@example.org>\r\nTo: u@example.com\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=\r\nMIME-Version: 1.0\r\n" +
	"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n" +
	"--b\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Disposition: attachment; filename=a.pdf\r\n\r\n%PDF\r\n--b--\r\n"

// start runs a mailbox service on an empty database, and returns Inbucket's client of it.
func start(t *testing.T) (*client.Client, *sqlite.Store) {
	t.Helper()
	quiet := slog.New(slog.DiscardHandler)
	store, err := sqlite.Open(sqlite.Config{Path: filepath.Join(t.TempDir(), "mail.db")}, quiet, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	cfg := mailbox.Config{Addr: "127.0.0.1:0", Access: "open"}
	cfg.Naming.Primary = "example.com"
	s, err := mailbox.New(cfg, mailbox.Deps{Store: store, Logger: quiet, Metrics: prometheus.NewRegistry(), Health: obs.NewHealth()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ran := make(chan error, 1)
	go func() { ran <- s.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	})
	c, err := client.New("http://" + s.Addr().String() + "/inbucket")
	if err != nil {
		t.Fatal(err)
	}
	return c, store
}

func put(t *testing.T, store *sqlite.Store, mailboxes ...string) {
	t.Helper()
	id, now, sum := ulid.Make(), time.Now().UTC(), sha256.Sum256([]byte(raw))
	env := &mailv1.Envelope{Id: id[:], ReceivedAt: now.UnixMilli(), MailFrom: "ann@example.org", Size: uint64(len(raw)), Sha256: sum[:]}
	for _, m := range mailboxes {
		env.Recipients = append(env.Recipients, &mailv1.Recipient{Mailbox: m})
	}
	packed, err := proto.Marshal(env)
	if err != nil {
		t.Fatal(err)
	}
	_, err = store.PutBatch(t.Context(), []mailstore.Mail{{
		ID: id, Envelope: packed, Size: int64(len(raw)), SHA256: sum, Raw: []byte(raw), Sender: "ann@example.org", Mailboxes: mailboxes,
		IP: netip.MustParseAddr("192.0.2.1"), Received: now, Derived: mailstore.DerivedOf(mailparse.Summarise([]byte(raw))),
	}})
	if err != nil {
		t.Fatal(err)
	}
}

// TestWholeSurface calls every method of the client, by the bare name that its users mostly have, and by an address.
func TestWholeSurface(t *testing.T) {
	c, store := start(t)
	for _, name := range []string{"u", "u@example.com", "U@Example.com"} {
		t.Run(name, func(t *testing.T) {
			for range 4 {
				put(t, store, "u@example.com", "other@example.com")
			}
			headers, err := c.ListMailbox(name)
			if err != nil || len(headers) != 4 {
				t.Fatalf("%v %v", headers, err)
			}
			first := headers[0]
			if first.From != "Ann <ann@example.org>" || first.Subject != "Grüße" || len(first.To) != 1 || first.To[0] != "<u@example.com>" ||
				first.Seen || first.Size == 0 || time.Since(first.Date) > time.Hour || first.ID >= headers[3].ID {
				t.Errorf("%+v", first)
			}
			message, err := c.GetMessage(name, first.ID)
			if err != nil || message.Body.Text != "hello" || message.Header["To"][0] != "u@example.com" {
				t.Fatalf("%+v %v", message, err)
			}
			if len(message.Attachments) != 1 || message.Attachments[0].FileName != "a.pdf" || message.Attachments[0].ContentType != "application/pdf" || len(message.Attachments[0].MD5) != 32 {
				t.Errorf("%+v", message.Attachments)
			}
			if latest, err := c.GetMessage(name, "latest"); err != nil || latest.ID != headers[3].ID {
				t.Errorf("latest: %+v %v", latest, err)
			}
			source, err := c.GetMessageSource(name, first.ID)
			if err != nil || !strings.HasSuffix(source.String(), raw) || strings.Contains(source.String(), "other@") {
				t.Errorf("%v %v", source, err)
			}
			if err := c.MarkSeen(name, first.ID); err != nil {
				t.Error(err)
			}
			if err := c.DeleteMessage(name, headers[1].ID); err != nil {
				t.Error(err)
			}
			onMessages(t, first, message)
			left, err := c.ListMailbox(name)
			if err != nil || len(left) != 2 || left[0].ID != headers[2].ID || left[1].ID != headers[3].ID {
				t.Errorf("left: %v %v", left, err)
			}
			if err := c.PurgeMailbox(name); err != nil {
				t.Error(err)
			}
			if left, err := c.ListMailbox(name); err != nil || len(left) != 0 {
				t.Errorf("after the purge: %v %v", left, err)
			}
			if _, err := c.GetMessage(name, first.ID); err == nil {
				t.Error("a deleted mail is there")
			}
		})
	}
	if others, err := c.ListMailbox("other"); err != nil || len(others) != 12 {
		t.Errorf("the other mailbox has %d mails (%v), want 12", len(others), err)
	}
}

// onMessages calls the methods of what lists and mails return, which name their mailbox themselves, and deletes the mail.
func onMessages(t *testing.T, header *client.MessageHeader, message *client.Message) {
	t.Helper()
	again, err := header.GetMessage()
	if err != nil || again.ID != header.ID || !again.Seen {
		t.Errorf("%+v %v; want it seen", again, err)
	}
	for what, get := range map[string]func() (interface{ Len() int }, error){
		"header":  func() (interface{ Len() int }, error) { return header.GetSource() },
		"message": func() (interface{ Len() int }, error) { return message.GetSource() },
	} {
		if source, err := get(); err != nil || source.Len() < len(raw) {
			t.Errorf("source of a %s: %v", what, err)
		}
	}
	if err := header.Delete(); err != nil {
		t.Error(err)
	}
	if err := message.Delete(); err != nil {
		t.Errorf("deleting what is gone: %v", err)
	}
}
