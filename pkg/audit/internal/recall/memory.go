// Package recall remembers which messages of the log were audited, and what the database must have because of them.
package recall

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

// Memory is what this process has audited: which messages, and what the database must have because of them, as the log says.
// So mail that is about to leave the log is looked for once more without being read once more. It holds sums, no mails.
type Memory struct {
	sync.Mutex                  // held by whoever uses the rest
	Next       map[int]Position // by shard, where reading goes on
	Steps      map[int][]*Step  // by shard, in order of sequence
	// Closed are ranges of id in their order, without a gap between them; Open is the one behind them, which has no end yet.
	Closed []*Range
	Open   *Range
}

// Position is a place in a shard.
type Position struct {
	Created  time.Time
	Sequence uint64
}

// Range is what the database must have from Low to High, both included. As long as it is open, High is the highest id in it.
type Range struct {
	Low, High ulid.ULID
	Mails     mailstore.Sum
	Lines     mailstore.LineSum
}

// Step is a range of messages of a shard, and how many mails they carry. Stored of these were found in the database, and their ids
// are in these ranges. When that is not all of them, the messages have to be read again.
type Step struct {
	From, To     uint64
	Mails, Bytes int64
	Stored       int64
	Ranges       []*Range
}

// Add adds a mail, which these mailboxes list.
func (r *Range) Add(mail mailstore.Row, boxes [][16]byte) {
	r.Mails.Add(mail)
	for _, box := range boxes {
		r.Lines.Add(mailstore.Line{Mbox: box, ID: mail.ID})
	}
}

// Follow empties the memory unless it ends where reading is to begin.
func (m *Memory) Follow(next map[int]Position) {
	same := len(next) == len(m.Next)
	for shard, p := range next {
		had := m.Next[shard]
		same = same && had.Sequence == p.Sequence && had.Created.Equal(p.Created)
	}
	if !same {
		m.Begin(next)
	}
}

// Begin empties the memory.
func (m *Memory) Begin(next map[int]Position) {
	m.Next, m.Steps, m.Closed, m.Open = next, make(map[int][]*Step), nil, nil
}

// Of is the range of an id, nil when it is not known what else the database must have there.
func (m *Memory) Of(id ulid.ULID) *Range {
	if id.Compare(m.Open.Low) >= 0 {
		return m.Open
	}
	i, _ := slices.BinarySearchFunc(m.Closed, id, func(r *Range, id ulid.ULID) int { return r.High.Compare(id) })
	if i == len(m.Closed) || id.Compare(m.Closed[i].Low) < 0 {
		return nil
	}
	return m.Closed[i]
}

// Found notes that mails of a message that was read are stored, and in which range they are.
func (m *Memory) Found(shard int, sequence uint64, mails int, in *Range) {
	steps := m.Steps[shard]
	i, _ := slices.BinarySearchFunc(steps, sequence, func(s *Step, sequence uint64) int { return cmp.Compare(s.To, sequence) })
	if i == len(steps) || sequence < steps[i].From {
		return // purged meanwhile
	}
	s := steps[i]
	s.Stored += int64(mails)
	if n := len(s.Ranges); n == 0 || s.Ranges[n-1] != in && !slices.Contains(s.Ranges, in) {
		s.Ranges = append(s.Ranges, in)
	}
}

// Close ends the open range at high; the next begins at low.
func (m *Memory) Close(high, low ulid.ULID) {
	m.Open.High = high
	m.Closed = append(m.Closed, m.Open)
	m.Open = &Range{Low: low}
}

// Recall looks once more for the mails of messages that are remembered, from from on. upTo is the last of those all of whose
// mails are there, before from when none are. The sums are the log's, so equal ones prove it. What its readers have deleted
// meanwhile is there, marked.
func (m *Memory) Recall(ctx context.Context, db mailstore.Checker, b stream.Bounds) (found Step, upTo uint64, err error) {
	there := make(map[*Range]bool)
	upTo = b.From - 1
	for _, s := range m.Steps[b.Shard] {
		if s.To < b.From {
			continue
		}
		if s.From != upTo+1 || s.To > b.To || s.Stored != s.Mails {
			break
		}
		for _, r := range s.Ranges {
			if r == m.Open {
				return found, upTo, nil
			}
			good, known := there[r]
			if !known {
				got, err := db.Sum(ctx, r.Low, r.High)
				if err != nil {
					return found, upTo, err
				}
				got.Erased = 0
				good = got == r.Mails
				there[r] = good
			}
			if !good {
				return found, upTo, nil
			}
		}
		upTo = s.To
		found.Mails += s.Mails
		found.Bytes += s.Bytes
	}
	return found, upTo, nil
}

// Strange is the last message before one that is remembered: those from b.From on up to it have to be read. A step is read whole.
func (m *Memory) Strange(b stream.Bounds) uint64 {
	for _, s := range m.Steps[b.Shard] {
		switch {
		case s.To < b.From:
		case s.From <= b.From:
			return min(s.To, b.To)
		default:
			return min(s.From-1, b.To)
		}
	}
	return b.To
}

// Purged forgets messages that have left the log, and ranges before all that are left.
func (m *Memory) Purged(shard int, upTo uint64) {
	m.Steps[shard] = slices.DeleteFunc(m.Steps[shard], func(s *Step) bool { return s.To <= upTo })
	if m.Open == nil {
		return
	}
	low := m.Open.Low
	for _, steps := range m.Steps {
		for _, s := range steps[:min(1, len(steps))] {
			for _, r := range s.Ranges {
				if r.Low.Compare(low) < 0 {
					low = r.Low
				}
			}
		}
	}
	m.Closed = slices.DeleteFunc(m.Closed, func(r *Range) bool { return r.High.Compare(low) < 0 })
}
