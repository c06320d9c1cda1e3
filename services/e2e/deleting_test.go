package e2e

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/stream/publish"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
	"github.com/sluice-mail/sluice/services/e2e/fleet"
	"github.com/sluice-mail/sluice/services/internal/datadir"
)

// listOf asks the inbox what a mailbox lists.
func (a *allinone) listOf(t *testing.T, ctx context.Context, mailbox string) (ids []string) {
	t.Helper()
	var list struct{ Messages []struct{ ID string } }
	resp := a.http(t, ctx, http.MethodGet, "/api/v1/mailboxes/"+mailbox+"/messages")
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		t.Fatal(err)
	}
	for _, m := range list.Messages {
		ids = append(ids, m.ID)
	}
	return ids
}

func (a *allinone) http(t *testing.T, ctx context.Context, method, path string) *http.Response {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+a.Addrs["http"]+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return resp
}

// publish writes a mail into the log as an ingress did at that time.
func (a *allinone) publish(t *testing.T, ctx context.Context, at time.Time, mailbox string) {
	t.Helper()
	url, err := datadir.Dir(a.dir).NATSURL()
	if err != nil {
		t.Fatal(err)
	}
	conn, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	publisher := publish.New(conn, publish.Config{}, slog.New(slog.DiscardHandler), prometheus.NewRegistry())
	running, stop := context.WithCancel(ctx)
	ran := make(chan error, 1)
	go func() { ran <- publisher.Run(running) }()
	defer func() {
		stop()
		if err := <-ran; err != nil {
			t.Error(err)
		}
	}()
	within(t, 30*time.Second, "the log takes mail", func() bool { return publisher.Ready() == nil })
	raw := []byte("Subject: old\r\n\r\nx\r\n")
	id, sum := ulid.MustNew(ulid.Timestamp(at), rand.Reader), sha256.Sum256(raw)
	if err := publisher.Publish(ctx, publish.Mail{Raw: raw, Envelope: &mailv1.Envelope{
		Id: id[:], ReceivedAt: at.UnixMilli(), MailFrom: "a@sender.example", Size: uint64(len(raw)), Sha256: sum[:],
		Recipients: []*mailv1.Recipient{{Mailbox: mailbox}},
	}}); err != nil {
		t.Fatal(err)
	}
}

// TestDeletedMailStaysDeleted: delivered, listed, deleted, replayed: it is still gone, others keep their copies, and the audit
// calls erased what nobody lists any more, and expired what is too old for the database.
func TestDeletedMailStaysDeleted(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	defer cancel()
	a := startAllinone(t, ctx)
	const ann, ben = "ann@example.com", "ben@example.com"
	need(t, "curl")
	mail := filepath.Join(t.TempDir(), "mail")
	if err := os.WriteFile(mail, []byte("Subject: x\r\n\r\nx\r\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, rcpts := range [][]string{{"--mail-rcpt", ann}, {"--mail-rcpt", ann, "--mail-rcpt", ben}} {
		command(t, ctx, "curl", append([]string{"-sS", "smtp://" + a.smtp, "--mail-from", "a@sender.example", "-T", mail}, rcpts...)...)
	}
	within(t, 30*time.Second, "both mails are listed", func() bool { return len(a.listOf(t, ctx, ann)) == 2 && len(a.listOf(t, ctx, ben)) == 1 })
	for _, id := range a.listOf(t, ctx, ann) {
		resp := a.http(t, ctx, http.MethodDelete, "/api/v1/mailboxes/"+ann+"/messages/"+id)
		resp.Body.Close()
		if resp.StatusCode >= 300 {
			t.Fatalf("deleting %s: %s", id, resp.Status)
		}
	}
	check := func(when string) {
		t.Helper()
		if left, others := a.listOf(t, ctx, ann), a.listOf(t, ctx, ben); len(left) != 0 || len(others) != 1 {
			t.Errorf("%s: ann has %d mails, ben %d; want 0 and 1", when, len(left), len(others))
		}
		if n := a.count(t, "SELECT count(*) FROM mail_raw"); n != 1 {
			t.Errorf("%s: the bytes of %d mails are there, want 1", when, n)
		}
		if r := audit(t, ctx, a.env(), "--deep"); r.Stored != 1 || r.Erased != 1 || r.Missing != 0 {
			t.Errorf("%s: %+v", when, r)
		}
	}
	check("deleted")
	if out, err := (&fleet.Fleet{Binaries: binaries}).Command(ctx, a.env(), "storer", "replay", "--since", "1h"); err != nil {
		t.Fatalf("replay: %v\n%s", err, out)
	}
	check("replayed")
	if out := a.ctl(t, ctx, "rm", ben); out == "" {
		t.Error("rm says nothing")
	}
	if r := audit(t, ctx, a.env()); r.Stored != 0 || r.Erased != 2 {
		t.Errorf("removed: %+v", r)
	}

	// A mail of three days ago, and then a retention of one day.
	const old = "old@example.com"
	a.publish(t, ctx, time.Now().Add(-72*time.Hour), old)
	within(t, 30*time.Second, "the old mail is listed", func() bool { return len(a.listOf(t, ctx, old)) == 1 })
	http.DefaultClient.CloseIdleConnections()
	if err := a.Stop(time.Minute); err != nil {
		t.Fatal(err)
	}
	b := startAllinoneIn(t, ctx, a.dir, "STORER_RETENTION=24h")
	within(t, 30*time.Second, "the old mail has expired", func() bool { return len(b.listOf(t, ctx, old)) == 0 })
	if r := audit(t, ctx, append(b.env(), "STORER_RETENTION=24h")); r.Stored != 0 || r.Erased != 2 || r.Expired != 1 || r.Missing != 0 {
		t.Errorf("expired: %+v", r)
	}
	http.DefaultClient.CloseIdleConnections()
}
