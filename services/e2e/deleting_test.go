package e2e

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sluice-mail/sluice/services/e2e/fleet"
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

// TestDeletedMailStaysDeleted: delivered, listed, deleted, replayed: it is still gone, others keep their copies, and the audit
// calls erased what nobody lists any more.
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
	http.DefaultClient.CloseIdleConnections()
}
