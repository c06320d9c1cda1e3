package ingress

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/smtp"
	"github.com/sluice-mail/sluice/pkg/smtpd"
	"github.com/sluice-mail/sluice/pkg/smtpd/spool"
	"github.com/sluice-mail/sluice/pkg/stream/publish"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// fakeLog records what was published, or fails.
type fakeLog struct {
	err  error
	env  *mailv1.Envelope
	body []byte
}

func (f *fakeLog) Ready() error { return f.err }

func (f *fakeLog) Publish(_ context.Context, m publish.Mail) error {
	if f.err != nil {
		return f.err
	}
	f.env, f.body = m.Envelope, bytes.Clone(m.Raw)
	if m.Body != nil {
		f.body = make([]byte, m.Envelope.GetSize())
		if _, err := m.Body.ReadAt(f.body, 0); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
	}
	return nil
}

func newSink(t *testing.T, log publisher, cfg spool.Config) (*sink, *spool.Pool) {
	t.Helper()
	cfg.Dir = t.TempDir()
	pool, err := spool.New(cfg, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	return &sink{log: log, pool: pool, ids: rand.Reader, now: time.Now, logger: slog.New(slog.DiscardHandler)}, pool
}

func TestMailIsPublishedWholeWithItsEnvelope(t *testing.T) {
	for _, size := range []int{0, 1, 4 << 10, 256 << 10, 3 << 20} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			log := new(fakeLog)
			s, pool := newSink(t, log, spool.Config{Memory: 1 << 20, PerMail: 256 << 10})
			body := bytes.Repeat([]byte("0123456789abcde\n"), size/16+1)[:size]
			d, err := s.Begin(&smtpd.Transaction{Envelope: &mailv1.Envelope{MailFrom: "a@b.example"}})
			if err != nil {
				t.Fatal(err)
			}
			for chunk := range bytes.SplitSeq(body, []byte("7")) {
				if len(chunk) == len(body) {
					err = d.Write(chunk)
				} else if err = d.Write(chunk); err == nil {
					err = d.Write([]byte("7"))
				}
				if err != nil {
					t.Fatal(err)
				}
			}
			before := time.Now()
			id, err := d.Commit(t.Context(), uint64(mailv1.Flag_FLAG_NUL))
			if err != nil {
				t.Fatal(err)
			}
			parsed, err := ulid.ParseStrict(id)
			if err != nil || !bytes.Equal(log.env.GetId(), parsed[:]) {
				t.Errorf("id %s, in the envelope %x: %v", id, log.env.GetId(), err)
			}
			want := bytes.TrimSuffix(log.body, []byte("7"))
			if size > 0 && len(want) < size-1 || !bytes.HasPrefix(log.body, body) {
				t.Errorf("published %d bytes, wrote %d", len(log.body), len(body))
			}
			sum := sha256.Sum256(log.body)
			if log.env.GetSize() != uint64(len(log.body)) || !bytes.Equal(log.env.GetSha256(), sum[:]) || log.env.GetFlags() != uint64(mailv1.Flag_FLAG_NUL) {
				t.Errorf("envelope %v", log.env)
			}
			if at := time.UnixMilli(log.env.GetReceivedAt()); at.Before(before.Truncate(time.Millisecond)) || parsed.Time() != uint64(log.env.GetReceivedAt()) {
				t.Errorf("received at %s, id of %s", at, ulid.Time(parsed.Time()))
			}
			if memory, disk := pool.InUse(); memory != 0 || disk != 0 {
				t.Errorf("the spool still holds %d bytes in memory, %d in files", memory, disk)
			}
		})
	}
}

// Promise 2, and the ancestor's 554 when the database was slow: whatever keeps us from taking a mail is a 4xx.
func TestOurFaultsAre4xx(t *testing.T) {
	for _, tt := range []struct {
		err  error
		code int
		text string
	}{
		{publish.ErrFull, 452, "4.3.1"},
		{spool.ErrFull, 452, "4.3.1"},
		{spool.ErrShed, 421, "4.3.1"},
		{publish.ErrBusy, 451, "4.3.2"},
		{publish.ErrUnavailable, 451, "4.3.0"},
		{publish.ErrUnconfirmed, 451, "not confirmed, id 01"},
		{publish.ErrUnsynced, 451, "4.3.0"},
		{publish.ErrClock, 451, "clock"},
		{errors.New("anything else"), 451, "4.3.0"},
		{context.DeadlineExceeded, 451, "4.3.0"},
	} {
		log := &fakeLog{}
		s, _ := newSink(t, log, spool.Config{})
		d, err := s.Begin(&smtpd.Transaction{Envelope: new(mailv1.Envelope)})
		if err != nil {
			t.Fatal(err)
		}
		log.err = fmt.Errorf("shard 0: %w", tt.err)
		id, err := d.Commit(t.Context(), 0)
		var reply *smtp.Reply
		if id != "" || !errors.As(err, &reply) || reply.Code != tt.code || !strings.Contains(reply.Error(), tt.text) {
			t.Errorf("%v: id %q, answer %v; want %d with %q", tt.err, id, err, tt.code, tt.text)
		}
		if err := s.Ready(); !errors.As(err, &reply) || reply.Code/100 != 4 {
			t.Errorf("%v: Ready says %v", tt.err, err)
		}
	}
}

func TestFullSpoolRefusesAtMail(t *testing.T) {
	s, pool := newSink(t, new(fakeLog), spool.Config{Memory: 64 << 10, PerMail: 64 << 10, MaxDisk: 64 << 10})
	d, err := s.Begin(&smtpd.Transaction{Envelope: new(mailv1.Envelope)})
	if err != nil {
		t.Fatal(err)
	}
	var reply *smtp.Reply
	for range 100 {
		if err = d.Write(make([]byte, 16<<10)); err != nil {
			break
		}
	}
	if !errors.As(err, &reply) || reply.Code != 452 {
		t.Errorf("a mail over the spool's bound: %v, want 452", err)
	}
	d.Abort()
	if memory, disk := pool.InUse(); memory != 0 || disk != 0 {
		t.Errorf("the spool still holds %d bytes in memory, %d in files", memory, disk)
	}
	if err := s.Ready(); err != nil {
		t.Errorf("with room again: %v", err)
	}
}
