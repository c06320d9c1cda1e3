package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"time"

	"github.com/oklog/ulid/v2"
	"google.golang.org/protobuf/proto"

	"github.com/sluice-mail/sluice/pkg/audit"
	"github.com/sluice-mail/sluice/pkg/mailcache"
	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/dead"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
	"github.com/sluice-mail/sluice/services/internal/process"
)

// traced is what is known of one mail.
type traced struct {
	ID         ulid.ULID  `json:"id"`
	Accepted   time.Time  `json:"accepted"`
	Ingress    string     `json:"ingress,omitempty"`
	Client     string     `json:"client,omitempty"`
	Session    string     `json:"session,omitempty"`
	From       string     `json:"from"`
	Recipients []string   `json:"recipients,omitempty"`
	Size       uint64     `json:"size"`
	Log        []position `json:"log"`
	Stored     *time.Time `json:"stored,omitempty"`
	Dead       *letter    `json:"dead,omitempty"`
	Cached     bool       `json:"cached"`
}

// position is where the log has a mail.
type position struct {
	Stream   string    `json:"stream"`
	Sequence uint64    `json:"sequence"`
	Time     time.Time `json:"time"`
	Settled  bool      `json:"settled"`
}

func (c *ctl) trace(ctx context.Context, e *process.Env) error {
	f := newFlags(e, "trace", "[flags] ID", "Shows where a mail is: which ingress accepted it and from whom; log, database, dead letters, cache.")
	args, err := f.parse(e.Args, 1, 1)
	if err != nil {
		return err
	}
	id, err := parseID(args[0])
	if err != nil {
		return err
	}
	conn, err := c.connect(ctx, e)
	if err != nil {
		return err
	}
	defer conn.Close()
	store, err := c.store(e)
	if err != nil {
		return err
	}
	defer store.Close()
	t := traced{ID: id, Accepted: ulid.Time(id.Time()).UTC(), Log: []position{}}
	if err := t.findInLog(ctx, stream.NewReader(conn)); err != nil {
		return err
	}
	if err := t.findStored(ctx, store); err != nil {
		return err
	}
	letter, err := dead.New(conn).Get(ctx, id.String())
	switch {
	case err == nil:
		l := newLetter(letter)
		t.Dead = &l
		t.describe(letter.Message.Envelope)
	case !errors.Is(err, dead.ErrNotFound):
		return fmt.Errorf("looking among the dead letters: %w", err)
	}
	cache := mailcache.New(mailcache.Config{Addrs: c.cfg.Cache.Addrs}, nil, e.Logger, e.Metrics)
	defer cache.Close()
	_, t.Cached = cache.Message(id)
	if err := f.print(t, t.write); err != nil {
		return err
	}
	if len(t.Log) == 0 && t.Stored == nil && t.Dead == nil {
		return process.ExitCode(1)
	}
	return nil
}

// findInLog reads the range of every shard in which a mail accepted at the id's time must be.
func (t *traced) findInLog(ctx context.Context, reader *stream.Reader) error {
	bounds, err := reader.Snapshot(ctx, t.Accepted.Add(-audit.Slack))
	if err != nil {
		return fmt.Errorf("looking at the log: %w", err)
	}
	past := errors.New("past it")
	for _, b := range bounds {
		settled, err := reader.SettledUpTo(ctx, b.Shard, stream.Storer)
		if err != nil {
			return fmt.Errorf("looking up what the storer has settled: %w", err)
		}
		err = reader.Heads(ctx, b, func(h stream.Head) error {
			if h.Time.After(t.Accepted.Add(audit.Slack)) {
				return past
			}
			if h.ID == t.ID {
				t.Log = append(t.Log, position{h.Stream, h.Sequence, h.Time, h.Sequence <= settled})
				t.describe(h.Envelope)
			}
			return nil
		})
		if err != nil && !errors.Is(err, past) {
			return fmt.Errorf("reading the log: %w", err)
		}
	}
	return nil
}

func (t *traced) findStored(ctx context.Context, store mailstore.Store) error {
	stored, err := store.Mail(ctx, t.ID)
	if errors.Is(err, mailstore.ErrNotFound) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("looking into the database: %w", err)
	}
	t.Stored = &stored.StoredAt
	env := new(mailv1.Envelope)
	if err := proto.Unmarshal(stored.Envelope, env); err != nil {
		return fmt.Errorf("decoding the stored envelope: %w", err)
	}
	t.describe(env)
	return nil
}

func (t *traced) describe(env *mailv1.Envelope) {
	if env == nil || t.Ingress != "" {
		return
	}
	t.Ingress, t.Session, t.From, t.Size = env.GetIngress(), env.GetSession(), env.GetMailFrom(), env.GetSize()
	if ip, ok := netip.AddrFromSlice(env.GetClient().GetIp()); ok {
		t.Client = ip.Unmap().String()
	}
	for _, rcpt := range env.GetRecipients() {
		t.Recipients = append(t.Recipients, rcpt.GetMailbox())
	}
}

func (t *traced) write(w io.Writer) {
	fmt.Fprintf(w, "accepted:\t%s by %s from %s (session %s)\n", t.Accepted.Format(time.RFC3339Nano), t.Ingress, t.Client, t.Session)
	fmt.Fprintf(w, "envelope:\t<%s> to %v, %d bytes\n", t.From, t.Recipients, t.Size)
	for _, p := range t.Log {
		state := "not settled yet"
		if p.Settled {
			state = "settled"
		}
		fmt.Fprintf(w, "log:\t%s sequence %d at %s, %s\n", p.Stream, p.Sequence, p.Time.UTC().Format(time.RFC3339Nano), state)
	}
	if len(t.Log) == 0 {
		fmt.Fprintln(w, "log:\tnot there (any more)")
	}
	if t.Stored != nil {
		fmt.Fprintf(w, "database:\tstored at %s\n", t.Stored.UTC().Format(time.RFC3339Nano))
	} else {
		fmt.Fprintln(w, "database:\tnot there")
	}
	if t.Dead != nil {
		fmt.Fprintf(w, "dead letter:\tsince %s after %d attempts: %s\n", t.Dead.Died.Format(time.RFC3339), t.Dead.Attempts, t.Dead.Reason)
	}
	fmt.Fprintf(w, "cache:\t%t\n", t.Cached)
}
