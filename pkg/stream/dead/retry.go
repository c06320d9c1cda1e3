package dead

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/wait"
	"github.com/sluice-mail/sluice/pkg/stream/publish"
)

// retryAtOnce bounds how many dead letters are on their way through the log at once.
const retryAtOnce = 64

// retried is a dead letter that is in the log again.
type retried struct {
	shard    int
	sequence uint64
	dead     []uint64 // its copies in MAIL_DEAD
}

// Retry gives a mail to the storer again, and removes the dead letter once the storer has settled it: stored
// it, or made a new dead letter of it. When ctx ends before that, the dead letter stays.
func (d *Letters) Retry(ctx context.Context, key string) error {
	found, err := d.copies(ctx, key)
	if err != nil {
		return err
	}
	r, err := d.publish(ctx, key, found)
	if err != nil {
		return err
	}
	return d.conclude(ctx, r)
}

// RetryAll retries every dead letter there is now and returns how many are settled.
func (d *Letters) RetryAll(ctx context.Context) (int, error) {
	var keys []string
	found := make(map[string][]uint64)
	err := d.List(ctx, func(l Letter) error {
		if found[l.Key] == nil {
			keys = append(keys, l.Key)
		}
		found[l.Key] = append(found[l.Key], l.DeadSequence)
		return nil
	})
	if err != nil {
		return 0, err
	}
	settled := 0
	for len(keys) > 0 {
		some := keys[:min(retryAtOnce, len(keys))]
		keys = keys[len(some):]
		under := make([]retried, 0, len(some))
		for _, key := range some {
			r, err := d.publish(ctx, key, found[key])
			if err != nil {
				return settled, err
			}
			under = append(under, r)
		}
		for _, r := range under {
			if err := d.conclude(ctx, r); err != nil {
				return settled, err
			}
			settled++
		}
	}
	return settled, nil
}

// publish puts the newest copy into its shard again, with the same envelope and so under the same id.
func (d *Letters) publish(ctx context.Context, key string, found []uint64) (retried, error) {
	l, err := d.read(ctx, found[len(found)-1])
	if err != nil {
		return retried{}, err
	}
	shard, err := d.home(ctx, l.Stream)
	if err != nil {
		return retried{}, err
	}
	attempt := strconv.Itoa(l.Retries + 1)
	head, err := l.Message.Head(stream.HeadSubject(shard))
	if err != nil {
		return retried{}, fmt.Errorf("retrying %s: %w", key, err)
	}
	maps.DeleteFunc(head.Header, func(name string, _ []string) bool { return strings.HasPrefix(name, "Mail-Dead-") })
	head.Header.Set(stream.RetryHeader, attempt)
	sequence, err := publish.Copy(ctx, d.nc, key+"/retry/"+attempt, head, parts(ctx, l.Message, stream.PartSubject(shard), false))
	if err != nil {
		return retried{}, fmt.Errorf("retrying %s: %w", key, err)
	}
	return retried{shard: shard, sequence: sequence, dead: found}, nil
}

// Resend gives a mail that is in the log, settled and missing in the database, to the storer again, and waits until it is
// settled.
func (d *Letters) Resend(ctx context.Context, m *stream.Message) error {
	head, err := m.Head(stream.HeadSubject(m.Shard))
	if err != nil {
		return err
	}
	sequence, err := publish.Copy(ctx, d.nc, m.Key()+"/again/"+m.Place(), head, parts(ctx, m, stream.PartSubject(m.Shard), false))
	if err != nil {
		return fmt.Errorf("publishing %s again: %w", m.Key(), err)
	}
	return d.conclude(ctx, retried{shard: m.Shard, sequence: sequence})
}

// home is the shard a mail came from, or the first when that is gone.
func (d *Letters) home(ctx context.Context, name string) (int, error) {
	shard, ok := stream.Shard(name)
	if !ok {
		return 0, nil
	}
	_, err := d.js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("asking for %s: %w", name, err)
	}
	return shard, nil
}

// conclude waits for the storer and then removes the dead copies.
func (d *Letters) conclude(ctx context.Context, r retried) error {
	for {
		floor, err := stream.NewReader(d.nc).SettledUpTo(ctx, r.shard, stream.Storer)
		if err == nil && floor >= r.sequence {
			return d.remove(ctx, r.dead)
		}
		if !wait.For(ctx, d.poll) {
			return fmt.Errorf("the mail is in the log again (sequence %d of %s) but the storer has not settled it yet; its dead letter stays: %w",
				r.sequence, stream.StreamName(r.shard), context.Cause(ctx))
		}
	}
}
