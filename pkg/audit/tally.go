package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/stream"
)

// Tally is what is known of the mails that have left the log: each range was audited before it was purged. It is kept
// in the log's audit bucket, one entry per stream.
type Tally struct {
	Stream string `json:"stream"`
	// To is the last sequence counted.
	To      uint64    `json:"to"`
	Mails   int64     `json:"mails"`
	Stored  int64     `json:"stored"`
	Dead    int64     `json:"dead"`
	Expired int64     `json:"expired"`
	Copies  int64     `json:"copies"`
	Bytes   int64     `json:"bytes"`
	Updated time.Time `json:"updated"`
}

// RunRange audits the mails in one range of a stream, all of them settled: whatever is absent is missing.
func RunRange(ctx context.Context, log Log, dead Dead, db Database, streamName string, from, to uint64, retention time.Duration) (Report, error) {
	a := &auditor{db: db, options: Options{Retention: retention}, started: time.Now(), dead: make(map[ulid.ULID]bool), onlyLog: true}
	shard, ok := stream.Shard(streamName)
	if !ok {
		return a.report, fmt.Errorf("%s is no stream of mail", streamName)
	}
	var records []record
	for r, err := range shardHeads(ctx, log, stream.Bounds{Shard: shard, From: from, To: to}, to) {
		if err != nil {
			return a.report, fmt.Errorf("reading the log: %w", err)
		}
		if r.bad != nil {
			a.undecodable(r)
			continue
		}
		records = append(records, r)
	}
	if err := a.listDead(ctx, dead); err != nil {
		return a.report, err
	}
	slices.SortFunc(records, func(x, y record) int { return x.id.Compare(y.id) })
	records = a.distinct(records)
	// A dead letter that was retried has an old id among new ones: one query would read all the time between.
	for len(records) > 0 {
		n := 1
		for n < len(records) && records[n].id.Time()-records[n-1].id.Time() <= uint64(Slack.Milliseconds()) {
			n++
		}
		if err := a.compare(ctx, records[0].id, records[n-1].id, records[:n]); err != nil {
			return a.report, err
		}
		records = records[n:]
	}
	return a.report, nil
}

// Tallies reads the tallies of all streams.
func Tallies(ctx context.Context, nc *nats.Conn) ([]Tally, error) {
	bucket, err := tallyBucket(ctx, nc)
	if err != nil {
		return nil, err
	}
	keys, err := bucket.ListKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing the audit tallies: %w", err)
	}
	var tallies []Tally
	for key := range keys.Keys() {
		t, _, err := readTally(ctx, bucket, key)
		if err != nil {
			return nil, err
		}
		tallies = append(tallies, t)
	}
	slices.SortFunc(tallies, func(x, y Tally) int { return strings.Compare(x.Stream, y.Stream) })
	return tallies, nil
}

func tallyBucket(ctx context.Context, nc *nats.Conn) (jetstream.KeyValue, error) {
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	bucket, err := js.KeyValue(ctx, stream.AuditBucket)
	if err != nil {
		return nil, fmt.Errorf("opening the bucket %s: %w", stream.AuditBucket, err)
	}
	return bucket, nil
}

func readTally(ctx context.Context, bucket jetstream.KeyValue, streamName string) (Tally, uint64, error) {
	t := Tally{Stream: streamName}
	entry, err := bucket.Get(ctx, streamName)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return t, 0, nil
	}
	if err != nil {
		return t, 0, fmt.Errorf("reading the audit tally of %s: %w", streamName, err)
	}
	if err := json.Unmarshal(entry.Value(), &t); err != nil {
		return t, 0, fmt.Errorf("reading the audit tally of %s: %w", streamName, err)
	}
	return t, entry.Revision(), nil
}

// BeforePurge audits the mails of a range that is about to leave the log and adds them to the tally. An error keeps
// them there.
func (p *Periodic) BeforePurge(ctx context.Context, streamName string, from, to uint64) error {
	bucket, err := tallyBucket(ctx, p.nc)
	if err != nil {
		return err
	}
	tally, revision, err := readTally(ctx, bucket, streamName)
	if err != nil {
		return err
	}
	// Already counted when the process was killed between the count and the purge.
	if from = max(from, tally.To+1); from > to {
		return nil
	}
	report, err := RunRange(ctx, p.reader, p.dead, p.db, streamName, from, to, p.retention)
	if err != nil {
		return fmt.Errorf("auditing %s %d to %d before their purge: %w", streamName, from, to, err)
	}
	p.audited.Add(float64(report.Mails))
	if n := report.Unaccounted(); n > 0 {
		p.unaccounted.Set(float64(n))
		return fmt.Errorf("%s %d to %d stay in the log: %d of their %d mails are unaccounted for, first %v; run sluicectl audit",
			streamName, from, to, n, report.Mails, report.Problems[0])
	}
	tally.To, tally.Updated = to, time.Now().UTC()
	tally.Mails += report.Mails
	tally.Stored += report.Stored
	tally.Dead += report.Dead
	tally.Expired += report.Expired
	tally.Copies += report.Copies
	tally.Bytes += report.Bytes
	value, err := json.Marshal(tally)
	if err != nil {
		return err
	}
	// By revision: another storer whose lease has ended meanwhile must not count the range a second time.
	if _, err := bucket.Update(ctx, streamName, value, revision); err != nil {
		return fmt.Errorf("writing the audit tally of %s: %w", streamName, err)
	}
	return nil
}
