package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"net/http"
	"net/smtp"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

// told is what a reader of an event stream has heard.
type told struct {
	mu    sync.Mutex
	times map[string]int           // by id of the mail
	after map[string]time.Duration // between the moment of storing and the event
}

func (h *told) hear(data string, now time.Time) {
	var mail struct {
		ID     string
		Stored time.Time
	}
	if json.Unmarshal([]byte(data), &mail) != nil {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.times[mail.ID]++
	h.after[mail.ID] = now.Sub(mail.Stored)
}

func (h *told) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.times)
}

// listen follows the event stream of a mailbox, and resumes when it ends, until ctx ends.
func listen(ctx context.Context, p *fleet.Process, mailbox string) (h *told, ready chan struct{}) {
	h, ready = &told{times: map[string]int{}, after: map[string]time.Duration{}}, make(chan struct{})
	go func() {
		last, once := "", sync.OnceFunc(func() { close(ready) })
		for ctx.Err() == nil {
			r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+p.Addrs["http"]+"/api/v1/mailboxes/"+mailbox+"/events", nil)
			if err != nil {
				return
			}
			r.Header.Set("Last-Event-ID", last)
			resp, err := http.DefaultClient.Do(r)
			if err != nil {
				continue
			}
			for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
				switch line := lines.Text(); {
				case strings.HasPrefix(line, ": connected"):
					once()
				case strings.HasPrefix(line, "id: "):
					last = line[4:]
				case strings.HasPrefix(line, "data: "):
					h.hear(line[6:], time.Now())
				}
			}
			resp.Body.Close()
		}
	}()
	return h, ready
}

// storerAway is how long the storer stays away while mail comes in; SLUICE_E2E_AWAY=60s is for a run by hand on a quiet machine,
// and then readers are to be told within 2 s.
func storerAway(t *testing.T) time.Duration {
	value := os.Getenv("SLUICE_E2E_AWAY")
	if value == "" {
		return 0
	}
	away, err := time.ParseDuration(value)
	if err != nil || away <= 0 || away > 10*time.Minute {
		t.Fatalf("SLUICE_E2E_AWAY=%s: want a duration of at most 10m, as 60s", value)
	}
	return away
}

// TestReadersMissNothing: while the storer is away readers wait; when it is back they are told of every mail, soon. A replica
// that is restarted, or that hears no announcements, costs them no mail either.
func TestReadersMissNothing(t *testing.T) {
	away := storerAway(t)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute+away)
	defer cancel()
	f := newFleet(t, 1)
	if err := f.UseAccounts(); err != nil {
		t.Fatal(err)
	}
	if err := f.Start(ctx); err != nil {
		t.Fatal(err)
	}
	root, err := fleet.Root()
	if err != nil {
		t.Fatal(err)
	}
	inbox := f.NewMailbox("mailbox", "NATS_CREDS="+filepath.Join(root, fleet.Seed("mailbox")))
	// One whose seed the log does not know hears nothing.
	deaf := f.NewMailbox("deaf", "NATS_URL=nats://127.0.0.1:1")
	for _, p := range []*fleet.Process{inbox, deaf} {
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Kill() })
		if err := p.Ready(ctx); err != nil {
			t.Fatal(err)
		}
	}
	listening, stop := context.WithCancel(ctx)
	defer stop()
	const mailbox = "reader@example.com"
	heard, ready := listen(listening, inbox, mailbox)
	heardToo, readyToo := listen(listening, deaf, mailbox)
	<-ready
	<-readyToo
	send := func(n int) {
		for range n {
			if err := smtp.SendMail(f.Ingresses[0].Addrs["smtp"], nil, "a@sender.example", []string{mailbox}, []byte("Subject: x\r\n\r\nx\r\n")); err != nil {
				t.Fatal(err)
			}
		}
	}
	send(20)
	within(t, time.Minute, "the first mails are told", func() bool { return heard.count() == 20 && heardToo.count() == 20 })
	if err := f.Storer.Stop(45 * time.Second); err != nil {
		t.Fatal(err)
	}
	for range 30 {
		send(1)
		time.Sleep(away / 30)
	}
	if err := f.Storer.Start(); err != nil {
		t.Fatal(err)
	}
	within(t, time.Minute, "what came while the storer was away is told", func() bool { return heard.count() == 50 && heardToo.count() == 50 })
	if err := inbox.Stop(30 * time.Second); err != nil {
		t.Fatal(err)
	}
	send(10)
	if err := inbox.Start(); err != nil {
		t.Fatal(err)
	}
	within(t, time.Minute, "what came while the replica was away is told", func() bool { return heard.count() == 60 && heardToo.count() == 60 })
	for name, h := range map[string]*told{"announced": heard, "not announced": heardToo} {
		slowest := time.Duration(0)
		for _, after := range h.after {
			slowest = max(slowest, after)
		}
		t.Logf("%s: told at most %v after the moment of storing", name, slowest)
		if away > 0 && slowest > 2*time.Second && name == "announced" {
			t.Error("that is more than 2 s")
		}
	}
}
