package consume

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/replays"
)

// filter returns nil when every mail is selected.
func (r *Replay) filter() func(*stream.Message) bool {
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
	return func(m *stream.Message) bool {
		for _, rcpt := range m.Envelope.GetRecipients() {
			box := strings.ToLower(rcpt.GetMailbox())
			if mailboxes[box] || domains[box[strings.LastIndexByte(box, '@')+1:]] {
				return true
			}
		}
		return false
	}
}

// ranges turns times and sequences into a range per shard, up to what the log has now. Empty ones are left out.
func (r *Replay) ranges(ctx context.Context, reader *stream.Reader) ([]replays.Range, error) {
	bounds, err := reader.Snapshot(ctx, r.Since)
	if silent, partial := errors.AsType[stream.Unanswered](err); err != nil && (!partial || r.needs(silent)) {
		return nil, err
	}
	for _, p := range r.Shards {
		if !slices.ContainsFunc(bounds, func(b stream.Bounds) bool { return b.Shard == p }) {
			return nil, fmt.Errorf("shard %d: the log has the shards %s", p, shardList(bounds))
		}
	}
	var all []replays.Range
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
		last, err := reader.LastHead(ctx, b.Shard, b.To)
		if err != nil {
			return nil, err
		}
		if last < b.From {
			continue
		}
		b.To = last
		messages, err := reader.Count(ctx, b)
		if err != nil {
			return nil, err
		}
		all = append(all, replays.Range{Shard: b.Shard, From: b.From, To: b.To, Messages: max(messages, 1)})
	}
	return all, nil
}

// needs says whether any of these shards is to be replayed.
func (r *Replay) needs(silent stream.Unanswered) bool {
	return len(r.Shards) == 0 || slices.ContainsFunc(silent, func(e stream.ShardError) bool { return slices.Contains(r.Shards, e.Shard) })
}

// shardList is the numbers of shards, such as "0, 2, 3".
func shardList(bounds []stream.Bounds) string {
	texts := make([]string, len(bounds))
	for i, b := range bounds {
		texts[i] = strconv.Itoa(b.Shard)
	}
	return strings.Join(texts, ", ")
}
