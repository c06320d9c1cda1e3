package audit

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/tombstone"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// world is a log, dead letters and a database in memory.
type world struct {
	shards   [][]stream.Head // in order of sequence, from 1
	per      int             // mails of a message; with 0 and 1 each has its own
	plain    bool            // no message has a digest
	reads    int             // of messages whose digests would not do
	first    []uint64        // first sequence the log still has
	settled  []uint64
	sealed   []uint64 // the last message of each shard that gets no more mail
	letters  []ulid.ULID
	rows     map[ulid.ULID]mailstore.Row
	damaged  map[ulid.ULID]bool
	unlisted map[mailstore.Line]bool
	stones   map[ulid.ULID]tombstone.Stone
	holes    []stream.Bounds // what the log has lost
	excused  []tombstone.Gap
	random   *rand.Rand
	clock    time.Time
	created  time.Time // of every stream
}

func newWorld(shards int) *world {
	return &world{shards: make([][]stream.Head, shards), first: slices.Repeat([]uint64{1}, shards), settled: make([]uint64, shards), sealed: make([]uint64, shards),
		rows: make(map[ulid.ULID]mailstore.Row), damaged: make(map[ulid.ULID]bool), unlisted: make(map[mailstore.Line]bool),
		stones: make(map[ulid.ULID]tombstone.Stone), random: rand.New(rand.NewPCG(1, 2)),
		clock: time.Now().Add(-time.Hour)}
}

func (w *world) Snapshot(_ context.Context, since time.Time) ([]stream.Bounds, error) {
	var all []stream.Bounds
	for i, heads := range w.shards {
		b := stream.Bounds{Shard: i, From: w.first[i], To: w.last(i)}
		for _, h := range heads {
			if h.Time.Before(since) {
				b.From = max(b.From, h.Sequence+1)
			}
		}
		all = append(all, b)
	}
	return all, nil
}

func (w *world) Outlines(_ context.Context, b stream.Bounds, fn func(*stream.Outline) error) error {
	w.reads++
	return w.outlines(b, fn)
}

func (w *world) outlines(b stream.Bounds, fn func(*stream.Outline) error) error {
	for _, h := range w.heads(b) {
		o := stream.Outline{
			ID: h.ID, Size: int64(h.Envelope.GetSize()), SHA256: [32]byte(h.Envelope.GetSha256()),
			Shard: h.Shard, Sequence: h.Sequence, Index: h.Index, Time: h.Time,
		}
		for _, to := range h.Envelope.GetRecipients() {
			o.Mailboxes = append(o.Mailboxes, []byte(to.GetMailbox()))
		}
		if err := fn(&o); err != nil {
			return err
		}
	}
	return nil
}

// Digests gives two of three messages one.
func (w *world) Digests(_ context.Context, b stream.Bounds, fn func(*stream.Outline) error) error {
	heads := w.heads(b)
	for n := 0; len(heads) > 0; heads = heads[n:] {
		var all stream.Digest
		for n = 0; n < len(heads) && heads[n].Sequence == heads[0].Sequence; n++ {
			all.Add(stream.DigestOf(heads[n].Envelope))
		}
		var err error
		if sequence := heads[0].Sequence; w.plain || sequence%3 == 0 {
			err = w.outlines(stream.Bounds{Shard: b.Shard, From: sequence, To: sequence}, fn)
		} else {
			err = fn(&stream.Outline{Digest: all, Shard: b.Shard, Sequence: sequence, Time: heads[0].Time})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// heads are the mails of the messages that the log has there.
func (w *world) heads(b stream.Bounds) (heads []stream.Head) {
	all := w.shards[b.Shard]
	from, _ := slices.BinarySearchFunc(all, max(b.From, w.first[b.Shard]), func(h stream.Head, sequence uint64) int {
		return cmp.Compare(h.Sequence, sequence)
	})
	for _, h := range all[from:] {
		if h.Sequence > b.To {
			break
		}
		if !w.hole(b.Shard, h.Sequence) {
			heads = append(heads, h)
		}
	}
	return heads
}

// last is the last sequence of a shard.
func (w *world) last(shard int) uint64 {
	if n := len(w.shards[shard]); n > 0 {
		return w.shards[shard][n-1].Sequence
	}
	return 0
}

func (w *world) hole(shard int, seq uint64) bool {
	return slices.ContainsFunc(w.holes, func(h stream.Bounds) bool { return h.Shard == shard && h.From <= seq && seq <= h.To })
}

func (w *world) Gaps(_ context.Context, b stream.Bounds) (gaps []stream.Bounds, err error) {
	for _, h := range w.holes {
		if h.Shard == b.Shard && h.From <= b.To && h.To >= b.From {
			gaps = append(gaps, stream.Bounds{Shard: h.Shard, From: max(h.From, b.From), To: min(h.To, b.To)})
		}
	}
	return gaps, nil
}

func (w *world) State(_ context.Context, shard int) (stream.ShardState, error) {
	return stream.ShardState{Shard: shard, Created: w.created}, nil
}

// stones are a world's tombstones.
type stones struct{ *world }

func (s stones) Find(_ context.Context, id ulid.ULID) (tombstone.Stone, error) {
	if stone, ok := s.stones[id]; ok {
		return stone, nil
	}
	return tombstone.Stone{}, tombstone.ErrNotFound
}

func (s stones) Gaps(context.Context, int) ([]tombstone.Gap, error) { return s.excused, nil }

func (w *world) sources() Sources { return Sources{w, w, w, stones{w}} }

func (w *world) SettledUpTo(_ context.Context, shard int, _ string) (uint64, error) {
	return w.settled[shard], nil
}

func (w *world) Refresh(context.Context) error { return nil }

func (w *world) Has(_ context.Context, id ulid.ULID) (bool, error) {
	return slices.Contains(w.letters, id), nil
}

func (w *world) IDs(_ context.Context, from, to ulid.ULID, fn func(mailstore.Row) error) error {
	var ids []ulid.ULID
	for id := range w.rows {
		if id.Compare(from) >= 0 && id.Compare(to) <= 0 {
			ids = append(ids, id)
		}
	}
	slices.SortFunc(ids, ulid.ULID.Compare)
	for _, id := range ids {
		if err := fn(w.rows[id]); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) Sum(_ context.Context, from, to ulid.ULID) (sum mailstore.Sum, err error) {
	for id, row := range w.rows {
		if id.Compare(from) >= 0 && id.Compare(to) <= 0 {
			sum.Add(row)
		}
	}
	return sum, nil
}

func (w *world) SumOf(_ context.Context, ids []ulid.ULID) (sum mailstore.Sum, err error) {
	for _, id := range ids {
		if row, ok := w.rows[id]; ok {
			sum.Add(row)
		}
	}
	return sum, nil
}

func (w *world) Lines(_ context.Context, lines []mailstore.Line) (n int, err error) {
	for _, l := range lines {
		if _, stored := w.rows[l.ID]; stored && !w.unlisted[l] {
			n++
		}
	}
	return n, nil
}

func (w *world) SumLines(_ context.Context, from, to ulid.ULID) (sum mailstore.LineSum, err error) {
	boxes := [][16]byte{mailstore.Mbox("a@example.com"), mailstore.Mbox("b@example.com")}
	for id := range w.rows {
		if id.Compare(from) < 0 || id.Compare(to) > 0 {
			continue
		}
		for _, box := range boxes {
			if l := (mailstore.Line{Mbox: box, ID: id}); !w.unlisted[l] {
				sum.Add(l)
			}
		}
	}
	return sum, nil
}

func (w *world) Damaged(_ context.Context, mails []mailstore.Row) (damaged []ulid.ULID, err error) {
	for _, m := range mails {
		if w.damaged[m.ID] {
			damaged = append(damaged, m.ID)
		}
	}
	return damaged, nil
}

// accept puts a mail into the log, up to a second after the time in its id, and into the database when stored.
func (w *world) accept(shard int, stored bool) ulid.ULID {
	w.clock = w.clock.Add(time.Duration(w.random.IntN(20)) * time.Millisecond)
	var entropy [10]byte
	for i := range entropy {
		entropy[i] = byte(w.random.Uint32())
	}
	id := mailstore.IDAt(w.clock.Add(-time.Duration(w.random.IntN(1000)) * time.Millisecond))
	if err := id.SetEntropy(entropy[:]); err != nil {
		panic(err)
	}
	w.publish(shard, id)
	if stored {
		w.rows[id] = mailstore.Row{ID: id, Size: 100, SHA256: shaOf(id)}
	}
	w.settled[shard] = w.last(shard)
	return id
}

func (w *world) publish(shard int, id ulid.ULID) {
	sum := shaOf(id)
	sequence, index := w.last(shard)+1, 0
	if n := len(w.shards[shard]); n > 0 && w.shards[shard][n-1].Index+1 < w.per && sequence-1 > w.sealed[shard] {
		sequence, index = sequence-1, w.shards[shard][n-1].Index+1
		for i := n - index; i < n; i++ {
			w.shards[shard][i].Time = w.clock
		}
	}
	w.shards[shard] = append(w.shards[shard], stream.Head{ID: id, Shard: shard, Sequence: sequence, Index: index, Time: w.clock,
		Envelope: &mailv1.Envelope{Id: id[:], Size: 100, Sha256: sum[:],
			Recipients: []*mailv1.Recipient{{Mailbox: "a@example.com"}, {Mailbox: "b@example.com"}, {Mailbox: "a@example.com"}}}})
}

func shaOf(id ulid.ULID) (sum [32]byte) {
	copy(sum[:], id[:])
	return sum
}
