package consume

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"regexp"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/pace"
)

var (
	// ErrReplayMismatch: a replay of that name is under way with other parameters or another target.
	ErrReplayMismatch = errors.New("a replay of this name runs with other parameters or another target")
	// ErrReplayOvertaken: the log was 90 % full and needed the room of mail that the replay had not read yet.
	ErrReplayOvertaken = errors.New("the log needed the room and purged mail this replay had not read yet")
)

// Replay passes a range of the log to a handler again, in parallel with live traffic. It has consumers of its own, which keep its
// position in the log. So it can be interrupted, continued and shared. While it runs, retention waits for it.
type Replay struct {
	// Name makes the replay resumable: all processes that use the same name share one replay. Letters, digits, - and _.
	// Empty: a random name.
	Name string
	// Target says where the mails go (service and database, without secrets). A second process with another
	// target is refused.
	Target string
	// Parameters is the range and the filters as the operator typed them. A process that resumes or joins the replay must give
	// the same text, although "24h ago" means another time by then. Empty: made from the fields below.
	Parameters string

	// Since and Until select by the time at which the log took the mail, FromSeq and ToSeq by sequence. Zero: no bound. Mail that
	// arrives after the start is never part of the replay.
	Since, Until   time.Time
	FromSeq, ToSeq uint64
	// Shards to replay; none means all.
	Shards []int
	// Mailboxes and Domains select by recipient; none means every mail.
	Mailboxes, Domains []string

	// Rate bounds the mails per second of this process; 0 is no bound.
	Rate float64
	// DryRun counts and calls no handler.
	DryRun bool

	// BatchMails, BatchBytes, Workers, Grave, Ready: as for a Worker.
	BatchMails, BatchBytes, Workers int
	Grave                           Grave
	Ready                           func(ctx context.Context) error
	// Pace has all waiting times of the replay; tests shorten them.
	Pace pace.Pace

	// Progress, when set, is called about every second, and once at the end.
	Progress func(ReplayProgress)
}

// ReplayProgress is where a replay stands, over all processes that share it, but for Rate.
type ReplayProgress struct {
	// Read of Total messages of the log are settled; a message carries one mail or several.
	Read, Total uint64
	// Rate is the recent rate of all processes together, in messages per second.
	Rate float64
	// Left is the estimated time to the end, 0 when unknown.
	Left time.Duration
}

// ReplaySummary counts the mails that this process settled.
type ReplaySummary struct {
	// Read = Done + Dead + Skipped. Skipped were not selected by mailbox or domain.
	Read, Done, Dead, Skipped uint64
	// Bytes are the sizes of the mails that were done.
	Bytes   uint64
	Elapsed time.Duration
}

var replayName = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// Run replays and returns when every mail of the range is settled, by this process or another, or ctx ends.
// In the latter case the same Name continues within 24 hours.
func (r Replay) Run(ctx context.Context, nc *nats.Conn, handler Handler, logger *slog.Logger, reg prometheus.Registerer) (ReplaySummary, error) {
	start := time.Now()
	if r.Name == "" {
		r.Name = nuid.Next()
	}
	if !replayName.MatchString(r.Name) {
		return ReplaySummary{}, fmt.Errorf("the name of a replay has 1 to 64 letters, digits, - or _; not %q", r.Name)
	}
	if r.Parameters == "" {
		r.Parameters = r.describe()
	}
	var summary ReplaySummary
	var err error
	if r.DryRun {
		summary, err = r.dryRun(ctx, nc)
	} else {
		summary, err = r.consume(ctx, nc, handler, logger, reg)
	}
	summary.Elapsed = time.Since(start)
	return summary, err
}

// describe is what two processes must have in common when the caller does not say it.
func (r *Replay) describe() string {
	at := func(t time.Time) string {
		if t.IsZero() {
			return "-"
		}
		return t.UTC().Format(time.RFC3339Nano)
	}
	return fmt.Sprintf("since %s until %s from %d to %d shards %v mailboxes %q domains %q",
		at(r.Since), at(r.Until), r.FromSeq, r.ToSeq, r.Shards, r.Mailboxes, r.Domains)
}

func (r *Replay) consume(ctx context.Context, nc *nats.Conn, handler Handler, logger *slog.Logger, reg prometheus.Registerer) (ReplaySummary, error) {
	metrics, err := newWorkerMetrics(reg, "replay", sourceReplay)
	if err != nil {
		return ReplaySummary{}, err
	}
	defer metrics.unregister()
	cfg := Config{
		Consumer:   stream.ReplayConsumer + r.Name, // until it is registered
		BatchMails: r.BatchMails, BatchBytes: r.BatchBytes,
		Workers: r.Workers, Grave: r.Grave, Pace: r.Pace,
	}.withDefaults()
	var limiter *rate.Limiter
	if r.Rate > 0 {
		// Small batches keep a slow replay even instead of in bursts.
		cfg.BatchMails = max(1, min(cfg.BatchMails, int(r.Rate/4)))
		limiter = rate.NewLimiter(rate.Limit(r.Rate), cfg.BatchMails)
	}
	e, err := newEngine(nc, cfg, handler, logger, metrics)
	if err != nil {
		return ReplaySummary{}, err
	}
	if limiter != nil {
		e.before = limiter.WaitN
	}
	e.selected = r.filter()
	run := replayRun{Replay: r, engine: e, empty: make(map[int]time.Time)}
	err = run.run(ctx)
	return ReplaySummary{
		Read: e.count.done.Load() + e.count.dead.Load() + e.count.skipped.Load(),
		Done: e.count.done.Load(), Dead: e.count.dead.Load(), Skipped: e.count.skipped.Load(), Bytes: e.count.bytes.Load(),
	}, err
}

// dryRun counts what a replay would read, from the envelopes alone.
func (r *Replay) dryRun(ctx context.Context, nc *nats.Conn) (ReplaySummary, error) {
	reader := stream.NewReader(nc)
	ranges, err := r.ranges(ctx, reader)
	if err != nil {
		return ReplaySummary{}, err
	}
	selected := r.filter()
	var s ReplaySummary
	for _, b := range ranges {
		err := reader.Heads(ctx, stream.Bounds{Shard: b.Shard, From: b.From, To: b.To}, func(h stream.Head) error {
			s.Read++
			switch {
			case h.Err != nil:
				s.Dead++
			case selected != nil && !selected(&stream.Message{Envelope: h.Envelope}):
				s.Skipped++
			default:
				s.Done++
				s.Bytes += h.Envelope.GetSize()
			}
			return nil
		})
		if err != nil {
			return s, err
		}
	}
	return s, nil
}
