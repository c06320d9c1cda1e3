package storer

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"

	"github.com/nats-io/nats.go"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/consume"
	"github.com/sluice-mail/sluice/services/internal/replaycmd"
)

// reindexStore refuses to rewrite the columns of one sender's mails.
type reindexStore struct {
	mailstore.Store
	refusal   error
	rewritten int
}

func (s *reindexStore) Reindex(_ context.Context, mails []mailstore.Mail) (int, error) {
	for _, m := range mails {
		if m.Sender == "bad" {
			return 0, s.refusal
		}
	}
	s.rewritten += len(mails)
	return len(mails), nil
}

func (s *reindexStore) Probe(context.Context) error { return nil }

// A mail whose columns the database refuses keeps those it has. It is stored, so neither it nor its mates become dead
// letters.
func TestReindexPassesOverARefusedMail(t *testing.T) {
	for name, refusal := range map[string]error{
		"known":   &mailstore.Error{Class: mailstore.Data, Err: errors.New("data too long")},
		"unclear": errNew,
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &reindexStore{refusal: refusal}
			cmd := replayCommand(Config{}, Deps{Conn: new(nats.Conn), Store: s, Logger: slog.New(slog.DiscardHandler)}, "")
			h := cmd.Handler(replaycmd.Options{Reindex: true})
			batch := make([]*stream.Message, 0, 21)
			for _, sender := range senders(20) {
				batch = append(batch, newMessage(sender))
			}
			for i, v := range h.Handle(t.Context(), batch) {
				if v != consume.Done() {
					t.Errorf("%s, mail %d: %+v", name, i, v)
				}
			}
			if s.rewritten != 20 {
				t.Errorf("%s: the columns of %d mails were rewritten, want 20", name, s.rewritten)
			}
		})
	}
}
