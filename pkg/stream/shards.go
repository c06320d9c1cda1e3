package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// shardWait is how long one shard may take to say how it is. The others are asked meanwhile.
const shardWait = 5 * time.Second

// ErrNoShards: the log has no stream of mail.
var ErrNoShards = errors.New("the log has no streams yet (storer migrate creates them)")

// Unanswered are the shards that exist but did not answer. The answers of the other shards are returned together with it.
type Unanswered []ShardError

// ShardError is why a shard did not answer.
type ShardError struct {
	Shard int
	Err   error
}

func (u Unanswered) Error() string {
	texts := make([]string, len(u))
	for i, e := range u {
		texts[i] = fmt.Sprintf("%s does not answer: %v", StreamName(e.Shard), e.Err)
	}
	return strings.Join(texts, "; ")
}

// errOrNil: an empty list must not become an error that is not nil.
func (u Unanswered) errOrNil() error {
	if len(u) == 0 {
		return nil
	}
	return u
}

// Shards are the numbers of the shards that the log has, in order. Any set of them is a log: a hole hides nothing.
func Shards(ctx context.Context, js jetstream.JetStream) ([]int, error) {
	names := js.StreamNames(ctx)
	var shards []int
	for name := range names.Name() {
		if shard, ok := Shard(name); ok {
			shards = append(shards, shard)
		}
	}
	if err := names.Err(); err != nil {
		return nil, fmt.Errorf("asking for the log's streams: %w", err)
	}
	slices.Sort(shards)
	return slices.Compact(shards), nil
}

// ShardInfos returns the present state of every shard that answers, in order; Unanswered names the others.
func ShardInfos(ctx context.Context, js jetstream.JetStream) ([]*jetstream.StreamInfo, error) {
	shards, err := Shards(ctx, js)
	if err != nil {
		return nil, err
	}
	if len(shards) == 0 {
		return nil, ErrNoShards
	}
	infos, errs := make([]*jetstream.StreamInfo, len(shards)), make([]error, len(shards))
	var asking sync.WaitGroup
	for i, shard := range shards {
		asking.Go(func() { infos[i], errs[i] = shardInfo(ctx, js, shard) })
	}
	asking.Wait()
	var answered []*jetstream.StreamInfo
	var silent Unanswered
	for i, shard := range shards {
		switch {
		case errs[i] == nil:
			answered = append(answered, infos[i])
		case errors.Is(errs[i], jetstream.ErrStreamNotFound): // removed since it was listed
		default:
			silent = append(silent, ShardError{shard, errs[i]})
		}
	}
	return answered, silent.errOrNil()
}

func shardInfo(ctx context.Context, js jetstream.JetStream, shard int) (*jetstream.StreamInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, shardWait)
	defer cancel()
	s, err := js.Stream(ctx, StreamName(shard))
	if err != nil {
		return nil, fmt.Errorf("asking for the state of %s: %w", StreamName(shard), err)
	}
	return s.CachedInfo(), nil
}

// ShardState is how far a shard has come. One with another time of creation is another stream of the same name, whose
// sequences begin again.
type ShardState struct {
	Shard       int
	Created     time.Time
	First, Last uint64 // sequences of its first and last message; First = Last+1 when it is empty
	// Clock is the log's time, as it was when it answered.
	Clock time.Time
}

// States returns the present state of every shard that answers, in order; Unanswered names the others.
func (r *Reader) States(ctx context.Context) ([]ShardState, error) {
	infos, err := ShardInfos(ctx, r.js)
	states := make([]ShardState, len(infos))
	for i, info := range infos {
		states[i] = shardState(info)
	}
	return states, err
}

// State is that of one shard.
func (r *Reader) State(ctx context.Context, shard int) (ShardState, error) {
	info, err := shardInfo(ctx, r.js, shard)
	if err != nil {
		return ShardState{}, err
	}
	return shardState(info), nil
}

func shardState(info *jetstream.StreamInfo) ShardState {
	shard, _ := Shard(info.Config.Name)
	return ShardState{Shard: shard, Created: info.Created.UTC(), First: info.State.FirstSeq, Last: info.State.LastSeq, Clock: info.TimeStamp}
}
