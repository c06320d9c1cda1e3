package streamtest

import (
	"errors"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/stream"
)

// Info is what the log knows of a consumer now.
func (f *Fixture) Info(shard int, consumer string) *jetstream.ConsumerInfo {
	f.t.Helper()
	c, err := f.JS.Consumer(f.Context(), stream.StreamName(shard), consumer)
	if err != nil {
		f.t.Fatal(err)
	}
	return c.CachedInfo()
}

// Stream is a stream as it is now.
func (f *Fixture) Stream(name string) jetstream.Stream {
	f.t.Helper()
	s, err := f.JS.Stream(f.Context(), name)
	if err != nil {
		f.t.Fatal(err)
	}
	return s
}

// State is what a stream holds now.
func (f *Fixture) State(name string) jetstream.StreamState {
	f.t.Helper()
	return f.Stream(name).CachedInfo().State
}

// Settled says whether the storer owes nothing on shard 0.
func (f *Fixture) Settled() bool { return f.SettledBy(stream.Storer) }

// SettledBy says whether a consumer owes nothing on shard 0. (Its count of pending mails follows a publish only after a
// moment, so the floor is what counts; the last message of a shard is always a head.)
func (f *Fixture) SettledBy(consumer string) bool {
	last := f.State(stream.StreamName(0)).LastSeq
	i := f.Info(0, consumer)
	return i.AckFloor.Stream >= last && i.NumAckPending == 0
}

// NakAll takes every message of shard 0 that a consumer has to deliver, and gives it back.
func (f *Fixture) NakAll(consumer string) {
	f.t.Helper()
	c, err := f.JS.Consumer(f.Context(), stream.StreamName(0), consumer)
	if err != nil {
		f.t.Fatal(err)
	}
	var all []jetstream.Msg
	for want := int(f.State(stream.StreamName(0)).Msgs); len(all) < want; {
		msg, err := c.Next()
		if err != nil {
			f.t.Fatal(err)
		}
		all = append(all, msg)
	}
	for _, msg := range all {
		if err := msg.Nak(); err != nil {
			f.t.Fatal(err)
		}
	}
}

// Marks are the keys of the marks there are.
func (f *Fixture) Marks() []string {
	f.t.Helper()
	kv, err := f.JS.KeyValue(f.Context(), stream.MarksBucket)
	if err != nil {
		f.t.Fatal(err)
	}
	keys, err := kv.Keys(f.Context())
	if err != nil && !errors.Is(err, jetstream.ErrNoKeysFound) {
		f.t.Fatal(err)
	}
	return keys
}

// Traces are the consumers and registrations that replays and walks have left.
func (f *Fixture) Traces(shard int) (left []string) {
	f.t.Helper()
	names := f.Stream(stream.StreamName(shard)).ConsumerNames(f.Context())
	for name := range names.Name() {
		if name != stream.Storer && name != stream.Cachewarmer {
			left = append(left, name)
		}
	}
	kv, err := f.JS.KeyValue(f.Context(), stream.ReplayBucket)
	if err != nil {
		f.t.Fatal(err)
	}
	keys, err := kv.Keys(f.Context())
	if err != nil && !errors.Is(err, jetstream.ErrNoKeysFound) {
		f.t.Fatal(err)
	}
	return append(left, keys...)
}
