package audit

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/stream"
)

// Tally is what the ledger knows of one stream. It counts the mails that have left the stream, each range of which was audited
// before it was purged. It also has the highest sequence seen, so that a stream that became shorter, or was deleted and created
// again, is noticed. It is kept in the log's audit bucket, one entry per stream and time of creation.
type Tally struct {
	Stream  string    `json:"stream"`
	Created time.Time `json:"created"`
	// Seen is the highest sequence that the stream ever had. Audited is the last one that was audited after it was settled.
	Seen    uint64 `json:"seen"`
	Audited uint64 `json:"audited"`
	// Lost are sequences that the stream had at its end, and has lost.
	Lost []Lost `json:"lost,omitempty"`
	// Marks are mails that were found in the database, in order of sequence. While all of them are still there, the database
	// has not been replaced by an older state of itself.
	Marks []Mark `json:"marks,omitempty"`
	// To is the last sequence that was counted and purged.
	To uint64 `json:"to"`
	// The numbers of purged mails, as in Report: all, and what became of them. Decided were dropped, erased or accepted as lost.
	Mails    int64     `json:"mails"`
	Stored   int64     `json:"stored"`
	Dead     int64     `json:"dead"`
	Decided  int64     `json:"decided"`
	Expired  int64     `json:"expired"`
	Copies   int64     `json:"copies"`
	Bytes    int64     `json:"bytes"` // of these mails
	Updated  time.Time `json:"updated"`
	revision uint64
}

// Lost is a range of sequences, both ends included, and when it was noticed that they are gone.
type Lost struct {
	From  uint64    `json:"from"`
	To    uint64    `json:"to"`
	Found time.Time `json:"found"`
}

// ledger are the tallies of all streams, those that are no more among them.
type ledger struct {
	bucket  jetstream.KeyValue
	tallies []Tally
}

func openLedger(ctx context.Context, nc *nats.Conn) (*ledger, error) {
	bucket, err := stream.JetStream(nc).KeyValue(ctx, stream.AuditBucket)
	if err != nil {
		return nil, fmt.Errorf("opening the bucket %s: %w", stream.AuditBucket, err)
	}
	keys, err := bucket.ListKeys(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing the audit tallies: %w", err)
	}
	var names []string
	for key := range keys.Keys() {
		names = append(names, key)
	}
	l := &ledger{bucket: bucket}
	for _, key := range names {
		if !strings.HasPrefix(key, "MAIL_") {
			continue
		}
		entry, err := bucket.Get(ctx, key)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue
		}
		var t Tally
		if err == nil {
			err = json.Unmarshal(entry.Value(), &t)
		}
		if err != nil {
			return nil, fmt.Errorf("reading the audit tally %s: %w", key, err)
		}
		t.revision = entry.Revision()
		l.tallies = append(l.tallies, t)
	}
	slices.SortFunc(l.tallies, func(x, y Tally) int {
		return cmp.Or(strings.Compare(x.Stream, y.Stream), x.Created.Compare(y.Created))
	})
	return l, nil
}

// Tallies reads the tallies of all streams.
func Tallies(ctx context.Context, nc *nats.Conn) ([]Tally, error) {
	l, err := openLedger(ctx, nc)
	if err != nil {
		return nil, err
	}
	return l.tallies, nil
}

// of is the tally of the stream as it is now: one made again has another.
func (l *ledger) of(s stream.ShardState) Tally {
	name := stream.StreamName(s.Shard)
	for _, t := range l.tallies {
		if t.Stream == name && t.Created.Equal(s.Created) {
			return t
		}
	}
	return Tally{Stream: name, Created: s.Created}
}

// look notes the stream's last sequence, and what the stream has lost since the last look.
func (t *Tally) look(s stream.ShardState, now time.Time) (changed bool) {
	if s.Last == t.Seen {
		return false
	}
	if s.Last < t.Seen {
		t.Lost = append(t.Lost, Lost{s.Last + 1, t.Seen, now.UTC()})
		t.Audited, t.To = min(t.Audited, s.Last), min(t.To, s.Last)
	}
	t.Seen = s.Last
	return true
}

// save writes a tally by its revision: another storer whose lease has ended meanwhile must not count a range a second time.
func (l *ledger) save(ctx context.Context, t *Tally) error {
	value, err := json.Marshal(t)
	if err != nil {
		return err
	}
	key := t.Stream + "." + strconv.FormatInt(t.Created.UnixNano(), 10)
	revision, err := l.bucket.Update(ctx, key, value, t.revision)
	if err != nil {
		return fmt.Errorf("writing the audit tally of %s: %w", t.Stream, err)
	}
	t.revision = revision
	return nil
}

// keep takes over a tally that was saved.
func (l *ledger) keep(t Tally) {
	l.tallies = slices.DeleteFunc(l.tallies, func(o Tally) bool { return o.Stream == t.Stream && o.Created.Equal(t.Created) })
	l.tallies = append(l.tallies, t)
}
