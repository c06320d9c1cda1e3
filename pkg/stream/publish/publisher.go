package publish

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/stream"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// Mail is one mail to publish: its envelope and its raw bytes, in either Raw or Body. Envelope.Size is their length.
// Neither is used after Publish has returned.
type Mail struct {
	Envelope *mailv1.Envelope // complete except for parts and requires
	Raw      []byte           // the bytes of the mail, if they are in memory
	Body     io.ReaderAt      // the bytes of the mail, if Raw is nil
}

// Config bounds the publisher. Zero values mean the defaults in brackets.
type Config struct {
	// AllowUnsynced accepts a log that acknowledges before its fsync, or of which this is unknown.
	AllowUnsynced bool
	// Deadline is how long Publish tries [60 s; RFC 5321 lets the client wait for ten minutes].
	Deadline time.Duration
	// MaxInflightBytes bounds the bytes of small mails that wait for the log at the same time [128 MiB].
	MaxInflightBytes int64
	// MaxLarge is how many large mails are published at the same time [1]; others wait for their turn. A shard does nothing else
	// while it commits a large mail. So two at the same time double the wait of small mail, and save less than a tenth of the
	// time.
	MaxLarge int
}

// Publisher writes mail to the log.
type Publisher struct {
	nc      *nats.Conn
	cfg     Config
	logger  *slog.Logger
	metrics *publisherMetrics
	link    *link
	large   chan struct{} // a place for each large mail being published

	inflight   atomic.Int64 // bytes
	answerWait time.Duration

	mu      sync.Mutex
	js      jetstream.JetStream
	replies *replies // while Run runs
	shards  []*shard
	sticky  sticky     // where small mails go
	moving  sync.Mutex // held while mails go from one shard to another
}

// New makes a publisher. It publishes nothing until Run is called.
func New(nc *nats.Conn, cfg Config, logger *slog.Logger, reg prometheus.Registerer) *Publisher {
	cfg.Deadline = cmp.Or(cfg.Deadline, 60*time.Second)
	cfg.MaxInflightBytes = cmp.Or(cfg.MaxInflightBytes, 128<<20)
	cfg.MaxLarge = cmp.Or(cfg.MaxLarge, 1)
	return &Publisher{
		nc: nc, cfg: cfg, logger: logger, metrics: newPublisherMetrics(reg),
		answerWait: answerWait, link: newLink(nc), large: make(chan struct{}, cfg.MaxLarge),
	}
}

// Run watches the shards and commits mail until ctx ends. End it after the last Publish.
func (p *Publisher) Run(ctx context.Context) error {
	js, err := jetstream.New(p.nc)
	if err != nil {
		return fmt.Errorf("preparing to publish: %w", err)
	}
	r, err := newReplies(p.nc)
	if err != nil {
		return err
	}
	defer r.close()
	p.mu.Lock()
	p.js, p.replies = js, r
	p.mu.Unlock()
	var tasks sync.WaitGroup
	tasks.Go(func() { p.link.follow(ctx) })
	p.watch(ctx, &tasks)
	tasks.Wait()
	return nil
}

// Publish returns nil only when the log has the mail on disk. Any error is temporary for the sender, see errors.go;
// it never returns before the mail's bytes are free for another use.
func (p *Publisher) Publish(ctx context.Context, m Mail) (err error) {
	start := time.Now()
	p.metrics.inflight.Inc()
	defer func() {
		p.metrics.inflight.Dec()
		p.metrics.published(err, time.Since(start))
	}()
	id, err := checkMail(m)
	if err != nil {
		return err
	}
	if m.Envelope.Size <= stream.PartBytes {
		return p.publishSmall(ctx, id, m, start.Add(p.cfg.Deadline))
	}
	ctx, cancel := context.WithTimeout(ctx, p.cfg.Deadline)
	defer cancel()
	return p.publishLarge(ctx, id, m)
}

// checkMail guards the wire contract; a mail that fails it is a programming error of the caller.
func checkMail(m Mail) (id string, err error) {
	u := ulid.ULID{}
	if err := u.UnmarshalBinary(m.Envelope.GetId()); err != nil {
		return "", fmt.Errorf("publishing a mail: its id: %w", err)
	}
	if (m.Raw == nil) == (m.Body == nil) {
		return "", fmt.Errorf("publishing mail %s: it needs either Raw or Body", u)
	}
	if m.Raw != nil && uint64(len(m.Raw)) != m.Envelope.Size {
		return "", fmt.Errorf("publishing mail %s: %d bytes, but the envelope says %d", u, len(m.Raw), m.Envelope.Size)
	}
	return u.String(), nil
}

func (p *Publisher) publishSmall(ctx context.Context, id string, m Mail, deadline time.Time) error {
	size := int64(m.Envelope.Size)
	if p.inflight.Add(size) > p.cfg.MaxInflightBytes && size > 0 {
		p.inflight.Add(-size)
		return fmt.Errorf("%w: %d bytes of mail wait for it already", ErrBusy, p.cfg.MaxInflightBytes)
	}
	p.metrics.inflightBytes.Add(float64(size))
	it, err := newItem(id, m, deadline)
	if err != nil {
		p.release(int(size))
		return err
	}
	s, err := p.pickSmall()
	if err != nil {
		p.release(int(size))
		return err
	}
	return s.driver.publish(ctx, it)
}

// release takes mails out of the count of bytes that are held.
func (p *Publisher) release(bytes int) {
	if bytes != 0 {
		p.inflight.Add(-int64(bytes))
		p.metrics.inflightBytes.Sub(float64(bytes))
	}
}

// unconfirmed wraps why with %v, so that the result never matches ErrBusy or ErrFull.
func unconfirmed(why error) error { return fmt.Errorf("%w: %v", ErrUnconfirmed, why) }
