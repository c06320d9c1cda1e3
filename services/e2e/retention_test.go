package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/services/e2e/fleet"
	loadgen "github.com/sluice-mail/sluice/services/internal/load"
)

// Promise 7. The room is small and the keep short, so that both push mail out of the log all the time.
func TestRetention(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	f := newFleet(t, 1, "STREAM_MAX_BYTES=32MiB", "STREAM_KEEP=1s")
	if err := f.Start(ctx); err != nil {
		t.Fatal(err)
	}
	r := &retained{Fleet: f, js: openLog(t, f), acks: filepath.Join(t.TempDir(), "acks.jsonl")}
	t.Run("nothing unstored leaves the log, however full it is", func(t *testing.T) { r.unstored(t, ctx) })
	t.Run("with a storer that keeps up it is never full", func(t *testing.T) { r.neverFull(t, ctx) })
}

// retained is a fleet whose log is too small for what is sent.
type retained struct {
	*fleet.Fleet
	js   jetstream.JetStream
	acks string
	next uint64 // number of the next mail
}

// openLog looks into the log directly.
func openLog(t *testing.T, f *fleet.Fleet, o ...nats.Option) jetstream.JetStream {
	t.Helper()
	nc, err := nats.Connect("nats://"+f.NATS.Addrs["client"], o...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// send sends count mails and says what was answered. All sends share one record.
func (r *retained) send(t *testing.T, ctx context.Context, count uint64, sizes string) loadgen.Report {
	t.Helper()
	cfg := loadgen.Config{To: r.Ingresses[0].Addrs["smtp"], Conns: 4, Count: count, First: r.next, Record: r.acks}
	if err := cfg.Sizes.Set(sizes); err != nil {
		t.Fatal(err)
	}
	r.next += count
	report, err := loadgen.Run(ctx, cfg, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	for code := range report.Codes {
		if code >= 500 {
			t.Errorf("our fault was told as a permanent one: %v", report.Codes)
		}
	}
	return report
}

func (r *retained) state(t *testing.T, ctx context.Context) jetstream.StreamState {
	t.Helper()
	s, err := r.js.Stream(ctx, stream.StreamName(0))
	if err != nil {
		t.Fatal(err)
	}
	return s.CachedInfo().State
}

// mails is how many the log has now.
func (r *retained) mails(t *testing.T, ctx context.Context) (n int64) {
	t.Helper()
	reader := stream.NewReader(r.js.Conn())
	bounds, err := reader.Snapshot(ctx, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range bounds {
		if err := reader.Heads(ctx, b, func(stream.Head) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
	}
	return n
}

// lag is how many messages the storer has not settled, in all shards.
func (r *retained) lag(t *testing.T, ctx context.Context) (messages uint64) {
	t.Helper()
	for shard := 0; ; shard++ {
		c, err := r.js.Consumer(ctx, stream.StreamName(shard), stream.Storer)
		if shard > 0 && errors.Is(err, jetstream.ErrStreamNotFound) {
			return messages
		}
		if err != nil {
			t.Fatal(err)
		}
		messages += c.CachedInfo().NumPending + uint64(c.CachedInfo().NumAckPending)
	}
}

func (r *retained) unstored(t *testing.T, ctx context.Context) {
	ingress := r.Ingresses[0].Addrs["smtp"]
	r.send(t, ctx, 50, "10KB")
	within(t, 30*time.Second, "retention has purged what is stored and older than STREAM_KEEP", func() bool {
		s := r.state(t, ctx)
		return s.Msgs == 0 && s.LastSeq > 0
	})
	first := r.state(t, ctx).FirstSeq

	// Without its database the storer's janitor runs on: age and room ask it to purge, and it must not.
	if err := r.MariaDB.Stop(); err != nil {
		t.Fatal(err)
	}
	large := r.send(t, ctx, 1, "3MB")
	filled := r.send(t, ctx, 600, "100KB")
	t.Logf("without the database: %d + %d accepted, then %v", large.Acked, filled.Acked, filled.Codes)
	if large.Acked != 1 || filled.Codes[452] == 0 || filled.Acked < 200 {
		t.Fatalf("the log did not fill: %+v", filled)
	}
	within(t, 10*time.Second, "the ingress answers 452 at MAIL", func() bool {
		return strings.HasPrefix(dialogue(t, ingress), "452 4.3.1")
	})
	// All of it is older than STREAM_KEEP by now; a later age means that the look which told the earlier one is over.
	age := 0.0
	within(t, 30*time.Second, "the janitor has looked at the full log", func() bool {
		before := age
		age = metric(t, ctx, r.Storer, `sluice_log_oldest_unstored_seconds{shard="0"}`)
		return before > 2 && age > before
	})
	if s := r.state(t, ctx); s.FirstSeq != first || r.mails(t, ctx) < int64(filled.Acked) {
		t.Errorf("unstored mail left the log: it begins at %d, not at %d", s.FirstSeq, first)
	}

	// Storer away as well, then all back: drains, purges, accepts; the ingress is the same process.
	if err := r.Storer.Stop(45 * time.Second); err != nil {
		t.Fatal(err)
	}
	if err := r.MariaDB.Start(); err != nil {
		t.Fatal(err)
	}
	if reply := dialogue(t, ingress); !strings.HasPrefix(reply, "452 4.3.1") {
		t.Errorf("without a storer the full log is answered with %q", reply)
	}
	if err := r.Storer.Start(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	within(t, 60*time.Second, "the ingress accepts again", func() bool { return strings.HasPrefix(dialogue(t, ingress), "250 ") })
	t.Logf("accepts again %s after the start of the storer", time.Since(began).Round(time.Millisecond))
	if after := r.send(t, ctx, 20, "10KB"); after.Acked != 20 {
		t.Errorf("afterwards: %+v", after)
	}
	r.accounted(t, ctx)
}

// metric is one value of a service, 0 while it has none.
func metric(t *testing.T, ctx context.Context, p *fleet.Process, name string) float64 {
	t.Helper()
	_, text, err := p.Get(ctx, "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if value, found := strings.CutPrefix(line, name+" "); found {
			v, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return v
		}
	}
	return 0
}

// accounted waits until all is stored and purged, and checks that every 250 is accounted for, beyond the log as well.
func (r *retained) accounted(t *testing.T, ctx context.Context) {
	t.Helper()
	within(t, 60*time.Second, "the storer has settled everything", func() bool { return r.lag(t, ctx) == 0 })
	report := audit(t, ctx, r.Env(), "--acks", r.acks)
	t.Logf("%+v, %+v", report, *report.Acks)
	if report.Acks.Stored != report.Acks.Recorded || report.Extra != 0 || report.Dead != 0 {
		t.Errorf("accepted %d, stored %d, extra %d", report.Acks.Recorded, report.Acks.Stored, report.Extra)
	}
	out, err := r.Ctl(ctx, "audit", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var tallies struct {
		Before []struct{ Mails, Stored int64 } `json:"purged_before"`
	}
	if err := json.Unmarshal([]byte(out), &tallies); err != nil {
		t.Fatal(err)
	}
	if len(tallies.Before) != 1 || tallies.Before[0].Stored != tallies.Before[0].Mails ||
		tallies.Before[0].Stored+report.Stored < report.Acks.Recorded {
		t.Errorf("the tallies of what was purged: %+v, with %d in the log of %d accepted", tallies, report.Stored, report.Acks.Recorded)
	}
}

func (r *retained) neverFull(t *testing.T, ctx context.Context) {
	if err := r.Storer.Stop(45 * time.Second); err != nil {
		t.Fatal(err)
	}
	r.Storer.Setenv("STREAM_KEEP=72h")
	if err := r.Storer.Start(); err != nil {
		t.Fatal(err)
	}
	if err := r.Storer.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	const chunk, room = 20, 32 << 20
	var sent uint64
	var highest uint64
	began := time.Now()
	for sent < 5*room {
		report := r.send(t, ctx, chunk, "100KB")
		if report.Acked != chunk {
			t.Fatalf("after %d MiB the log took no more: %v %v", sent>>20, report.Codes, report.Errors)
		}
		sent += report.Bytes
		highest = max(highest, r.state(t, ctx).Bytes)
		// What the storer or its janitor is behind may not fill the log: this machine may be slow. That the janitor looks in
		// time is TestJanitorLooksBeforeTheLogCanBeFull.
		within(t, 60*time.Second, "the storer keeps up", func() bool { return r.lag(t, ctx) <= 4*chunk })
		within(t, 60*time.Second, "retention makes room", func() bool { return r.state(t, ctx).Bytes <= room*9/10 })
	}
	t.Logf("%d MiB through a log of %d MiB in %s, at most %d MiB of it in use", sent>>20, room>>20,
		time.Since(began).Round(100*time.Millisecond), highest>>20)
	if s := r.state(t, ctx); s.Bytes < room/2 {
		t.Errorf("retention purged more than it had to: %d bytes are left for replays", s.Bytes)
	}
	r.accounted(t, ctx)
}
