package audit

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/stream"
)

// memory is what this process has audited: which messages, and what the database must have because of them, as the log says.
// So mail that is about to leave the log is looked for once more without being read once more. It holds sums, no mails.
type memory struct {
	mu    sync.Mutex       // held by whoever uses the rest
	size  int              // mails of a step
	next  map[int]position // by shard, where reading goes on
	steps map[int][]*step  // by shard, in order of sequence
	// closed are ranges of id in their order, without a gap between them; open is the one behind them, which has no end yet.
	closed []*idRange
	open   *idRange
}

// position is a place in a shard.
type position struct {
	created  time.Time
	sequence uint64
}

// idRange is what the database must have from low to high, both included. As long as it is open, high is the highest id in it.
type idRange struct {
	low, high ulid.ULID
	mails     mailstore.Sum
	lines     mailstore.LineSum
}

// step is a range of messages of a shard, and how many mails they carry. stored of these were found in the database, and their ids
// are in these ranges. When that is not all of them, the messages have to be read again.
type step struct {
	from, to     uint64
	mails, bytes int64
	stored       int64
	ranges       []*idRange
}

func (r *idRange) add(m *record) {
	r.mails.Add(m.row())
	for _, box := range m.boxes {
		r.lines.Add(mailstore.Line{Mbox: box, ID: m.id})
	}
}

// follow empties the memory unless it ends where reading is to begin.
func (m *memory) follow(next map[int]position) {
	same := len(next) == len(m.next)
	for shard, p := range next {
		had := m.next[shard]
		same = same && had.sequence == p.sequence && had.created.Equal(p.created)
	}
	if !same {
		m.begin(next)
	}
}

// begin empties the memory.
func (m *memory) begin(next map[int]position) {
	m.next, m.steps, m.closed, m.open = next, make(map[int][]*step), nil, nil
}

// of is the range of an id, nil when it is not known what else the database must have there.
func (m *memory) of(id ulid.ULID) *idRange {
	if id.Compare(m.open.low) >= 0 {
		return m.open
	}
	i, _ := slices.BinarySearchFunc(m.closed, id, func(r *idRange, id ulid.ULID) int { return r.high.Compare(id) })
	if i == len(m.closed) || id.Compare(m.closed[i].low) < 0 {
		return nil
	}
	return m.closed[i]
}

// found notes that a mail that was read is stored, and in which range it is.
func (m *memory) found(r *record, in *idRange) {
	steps := m.steps[r.shard]
	i, _ := slices.BinarySearchFunc(steps, r.sequence, func(s *step, sequence uint64) int { return cmp.Compare(s.to, sequence) })
	if i == len(steps) || r.sequence < steps[i].from {
		return // purged meanwhile
	}
	s := steps[i]
	s.stored++
	if n := len(s.ranges); n == 0 || s.ranges[n-1] != in && !slices.Contains(s.ranges, in) {
		s.ranges = append(s.ranges, in)
	}
}

// close ends the open range before cut.
func (m *memory) close(cut ulid.ULID) {
	m.open.high = before(cut)
	m.closed = append(m.closed, m.open)
	m.open = &idRange{low: cut}
}

// recall looks once more for the mails of messages that are remembered, from from on. upTo is the last of those all of whose
// mails are there, before from when none are. The sums are the log's, so equal ones prove it. What its readers have deleted
// meanwhile is there, marked.
func (m *memory) recall(ctx context.Context, db mailstore.Checker, b stream.Bounds) (found step, upTo uint64, err error) {
	there := make(map[*idRange]bool)
	upTo = b.From - 1
	for _, s := range m.steps[b.Shard] {
		if s.to < b.From {
			continue
		}
		if s.from != upTo+1 || s.to > b.To || s.stored != s.mails {
			break
		}
		for _, r := range s.ranges {
			if r == m.open {
				return found, upTo, nil
			}
			good, known := there[r]
			if !known {
				got, err := db.Sum(ctx, r.low, r.high)
				if err != nil {
					return found, upTo, err
				}
				got.Erased = 0
				good = got == r.mails
				there[r] = good
			}
			if !good {
				return found, upTo, nil
			}
		}
		upTo = s.to
		found.mails += s.mails
		found.bytes += s.bytes
	}
	return found, upTo, nil
}

// strange is the last message before one that is remembered: those from b.From on up to it have to be read. A step is read whole.
func (m *memory) strange(b stream.Bounds) uint64 {
	for _, s := range m.steps[b.Shard] {
		switch {
		case s.to < b.From:
		case s.from <= b.From:
			return min(s.to, b.To)
		default:
			return min(s.from-1, b.To)
		}
	}
	return b.To
}

// purged forgets messages that have left the log, and ranges before all that are left.
func (m *memory) purged(shard int, upTo uint64) {
	m.steps[shard] = slices.DeleteFunc(m.steps[shard], func(s *step) bool { return s.to <= upTo })
	if m.open == nil {
		return
	}
	low := m.open.low
	for _, steps := range m.steps {
		for _, s := range steps[:min(1, len(steps))] {
			for _, r := range s.ranges {
				if r.low.Compare(low) < 0 {
					low = r.low
				}
			}
		}
	}
	m.closed = slices.DeleteFunc(m.closed, func(r *idRange) bool { return r.high.Compare(low) < 0 })
}
