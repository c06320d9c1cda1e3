package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// filter returns nil when every mail is selected.
func (r *Replay) filter() func(*Message) bool {
	if len(r.Mailboxes) == 0 && len(r.Domains) == 0 {
		return nil
	}
	mailboxes, domains := make(map[string]bool), make(map[string]bool)
	for _, m := range r.Mailboxes {
		mailboxes[strings.ToLower(m)] = true
	}
	for _, d := range r.Domains {
		domains[strings.ToLower(strings.TrimPrefix(d, "@"))] = true
	}
	return func(m *Message) bool {
		for _, rcpt := range m.Envelope.GetRecipients() {
			box := strings.ToLower(rcpt.GetMailbox())
			if mailboxes[box] || domains[box[strings.LastIndexByte(box, '@')+1:]] {
				return true
			}
		}
		return false
	}
}

// replayRange is what a replay reads of one shard. It is fixed when the replay is first started.
type replayRange struct {
	Shard int    `json:"shard"`
	From  uint64 `json:"from"`
	To    uint64 `json:"to"`
	// Mails between the two, for the progress.
	Mails uint64 `json:"mails"`
}

// ranges turns times and sequences into a range per shard, up to what the log has now. Empty ones are left out.
func (r *Replay) ranges(ctx context.Context, reader *Reader) ([]replayRange, error) {
	bounds, err := reader.Snapshot(ctx, r.Since)
	if err != nil {
		return nil, err
	}
	for _, p := range r.Shards {
		if p < 0 || p >= len(bounds) {
			return nil, fmt.Errorf("shard %d: the log has shards 0 to %d", p, len(bounds)-1)
		}
	}
	var all []replayRange
	for _, b := range bounds {
		if len(r.Shards) > 0 && !slices.Contains(r.Shards, b.Shard) {
			continue
		}
		b.From = max(b.From, r.FromSeq)
		if r.ToSeq > 0 {
			b.To = min(b.To, r.ToSeq)
		}
		if !r.Until.IsZero() {
			after, err := reader.SequenceAt(ctx, b.Shard, r.Until)
			if err != nil {
				return nil, err
			}
			b.To = min(b.To, after-1)
		}
		if b.From > b.To {
			continue
		}
		// Ending at a mail, the replay is through when that has been delivered.
		last, err := reader.log.lastUpTo(ctx, StreamName(b.Shard), HeadSubject(b.Shard), b.To)
		if errors.Is(err, errNotFound) || (err == nil && last.sequence < b.From) {
			continue
		}
		if err != nil {
			return nil, err
		}
		b.To = last.sequence
		mails, err := reader.count(ctx, b)
		if err != nil {
			return nil, err
		}
		all = append(all, replayRange{Shard: b.Shard, From: b.From, To: b.To, Mails: max(mails, 1)})
	}
	return all, nil
}

// count asks the log how many mails b has; what arrives between the questions makes it a little low.
func (r *Reader) count(ctx context.Context, b Bounds) (uint64, error) {
	from, err := r.pending(ctx, b.Shard, b.From)
	if err != nil {
		return 0, err
	}
	after, err := r.pending(ctx, b.Shard, b.To+1)
	if err != nil {
		return 0, err
	}
	return from - min(after, from), nil
}
