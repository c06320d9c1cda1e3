package consume

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/bucket"
	"github.com/sluice-mail/sluice/pkg/stream/internal/record"
	"github.com/sluice-mail/sluice/pkg/stream/internal/settle"
	"github.com/sluice-mail/sluice/pkg/stream/internal/wait"
)

// Turn is shared by the workers of one process that should not handle suspicious mail at the same time: when one of them
// ends the process, the others' marks would be found, too.
type Turn chan struct{}

// NewTurn makes a Turn.
func NewTurn() Turn { return make(Turn, 1) }

// writeWait bounds one write to the bucket.
const writeWait = 5 * time.Second

// follow tells the settler the entries of this consumer until ctx ends.
func (d *driver) follow(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		err := d.watch(ctx)
		if ctx.Err() != nil {
			return
		}
		if n == 1 { // not if the second attempt succeeds
			d.logger.Warn("cannot read the marks; mail that was delivered several times waits until they can be read", "bucket", stream.MarksBucket, "reason", err)
		}
		wait.For(ctx, d.pace.Backoff(n))
	}
}

func (d *driver) watch(ctx context.Context) error {
	kv, err := d.js.KeyValue(ctx, stream.MarksBucket)
	if err != nil {
		return fmt.Errorf("opening the bucket %s (storer migrate creates it): %w", stream.MarksBucket, err)
	}
	d.tell(func(s *settle.Settler, _ time.Time) { s.Listing() })
	w, err := kv.Watch(ctx, d.cfg.Consumer+".>")
	if err != nil {
		return err
	}
	defer func() { _ = w.Stop() }()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case entry, open := <-w.Updates():
			switch {
			case !open:
				return errors.New("the watch ended")
			case entry == nil: // everything there was has been told
				d.tell(func(s *settle.Settler, now time.Time) { s.Listed(now) })
			default:
				d.learn(entry)
			}
		}
	}
}

// learn tells the settler an entry.
func (d *driver) learn(entry jetstream.KeyValueEntry) {
	p, err := placeOf(entry.Key())
	if err != nil {
		return // not one of ours
	}
	var k *settle.Mark
	if entry.Operation() == jetstream.KeyValuePut {
		k = new(settle.Mark)
		if err := json.Unmarshal(entry.Value(), k); err != nil {
			d.logger.Warn("a mark cannot be read and is ignored", "key", entry.Key(), "error", err)
			k = new(settle.Mark)
		}
	}
	d.tell(func(s *settle.Settler, now time.Time) { s.Know(now, p, k, entry.Revision()) })
}

// errStopping: a worker that stops begins nothing.
var errStopping = errors.New("the worker is stopping")

// keeper makes the settler's writes and reads.
type keeper struct {
	*driver
	running context.Context // when it has ended, no mark is begun any more
	marked  settle.Place    // under whose mark this worker has its turn; zero: it has not
}

func (k *keeper) run(ctx context.Context) {
	defer k.yield()
	tick := time.NewTicker(k.pace.Stale)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if !ask(k.driver, func(s *settle.Settler) bool { return s.Holds(k.marked) }) {
				k.yield() // another process has taken the mark away
			}
		case w := <-k.writes:
			claim := w.Mark != nil && w.Mark.By == k.instance
			revision, err := uint64(0), errStopping
			if !claim || k.await(w.Place) {
				revision, err = k.write(ctx, w)
			}
			if w.Place == k.marked && (!claim || err != nil) {
				k.yield()
			}
			k.tell(func(s *settle.Settler, now time.Time) { s.Written(now, w, revision, err) })
		case p := <-k.reads:
			m, err := k.load(ctx, p)
			k.tell(func(s *settle.Settler, now time.Time) { s.Read(now, p, m, err) })
		}
	}
}

// await waits for this worker's turn to handle mail under a mark; false when the worker stops.
func (k *keeper) await(p settle.Place) bool {
	if k.marked == (settle.Place{}) {
		select {
		case k.cfg.Turn <- struct{}{}:
		case <-k.running.Done():
			return false
		}
	}
	k.marked = p
	return true
}

func (k *keeper) yield() {
	if k.marked != (settle.Place{}) {
		<-k.cfg.Turn
		k.marked = settle.Place{}
	}
}

// write changes an entry. When it fails, the settler is told what the entry is.
func (d *driver) write(ctx context.Context, w settle.Write) (revision uint64, err error) {
	ctx, cancel := context.WithTimeout(ctx, writeWait)
	defer cancel()
	kv, err := d.js.KeyValue(ctx, stream.MarksBucket)
	if err != nil {
		return 0, fmt.Errorf("opening the bucket %s (storer migrate creates it): %w", stream.MarksBucket, err)
	}
	key := d.key(w.Place)
	if revision, err = apply(ctx, kv, key, w); err == nil {
		return revision, nil
	}
	err = fmt.Errorf("writing the mark %s: %w", key, err)
	entry, gerr := kv.Get(ctx, key)
	switch {
	case gerr == nil:
		d.learn(entry)
	case errors.Is(gerr, jetstream.ErrKeyNotFound):
		d.tell(func(s *settle.Settler, now time.Time) { s.Know(now, w.Place, nil, 0) })
	default:
		return 0, err
	}
	if bucket.IsConflict(err) {
		return 0, fmt.Errorf("%w: %w", settle.ErrConflict, err)
	}
	return 0, err
}

func apply(ctx context.Context, kv jetstream.KeyValue, key string, w settle.Write) (uint64, error) {
	if w.Mark == nil {
		return 0, kv.Delete(ctx, key, jetstream.LastRevision(w.Revision))
	}
	text, err := json.Marshal(w.Mark)
	if err != nil {
		return 0, err
	}
	if w.Revision == 0 {
		return kv.Create(ctx, key, text)
	}
	return kv.Update(ctx, key, text, w.Revision)
}

// key is the entry's for a message: storer.MAIL_0.17.
func (d *driver) key(p settle.Place) string {
	return d.cfg.Consumer + "." + p.Stream + "." + strconv.FormatUint(p.Sequence, 10)
}

func placeOf(key string) (settle.Place, error) {
	parts := strings.Split(key, ".")
	if len(parts) != 3 {
		return settle.Place{}, fmt.Errorf("the key %q is not consumer.stream.sequence", key)
	}
	sequence, err := strconv.ParseUint(parts[2], 10, 64)
	return settle.Place{Stream: parts[1], Sequence: sequence}, err
}

// load reads a message whose mark was found; nil when the log does not have it any more.
func (d *driver) load(ctx context.Context, p settle.Place) (*settle.Message, error) {
	r, err := d.log.Sequence(ctx, p.Stream, p.Sequence)
	if errors.Is(err, record.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading a message whose mark was found: %w", err)
	}
	m, err := d.open(r)
	if err != nil {
		return nil, err
	}
	return m, nil
}
