package e2e

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

// shardInfo is what the tests look at in `sluicectl streams info --json`.
type shardInfo struct {
	Name      string
	Messages  uint64
	Consumers []struct {
		Name string
		Lag  uint64 `json:"lag_messages"`
	}
}

// shardInfos are the shards by name, without the dead letters.
func shardInfos(t *testing.T, ctx context.Context, f *fleet.Fleet) map[string]shardInfo {
	t.Helper()
	out, err := f.Ctl(ctx, "streams", "info", "--json")
	if err != nil {
		t.Fatal(err)
	}
	var all []shardInfo
	if err := json.Unmarshal([]byte(out), &all); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	infos := make(map[string]shardInfo)
	for _, info := range all {
		if _, ok := stream.Shard(info.Name); ok {
			infos[info.Name] = info
		}
	}
	return infos
}

// Shards are added under load, without a restart of anything but the storer that makes them; one that
// takes no mail leaves it to the others.
func TestShards(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	f := newFleet(t, 1, "STREAM_MAX_BYTES=256MiB")
	if err := f.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Run("raised from 1 to 4 on a running system", func(t *testing.T) { raiseShards(t, ctx, f) })
	if t.Failed() {
		return
	}
	js := openLog(t, f)
	t.Run("a full one leaves the mail to the others", func(t *testing.T) {
		// With a storer, retention would make room as soon as what fills it is stored.
		if err := f.Storer.Stop(45 * time.Second); err != nil {
			t.Fatal(err)
		}
		oneShardOut(t, ctx, f, js, func(c *jetstream.StreamConfig, s jetstream.StreamState) { c.MaxBytes = int64(s.Bytes) })
	})
	t.Run("one that does not answer leaves the mail to the others", func(t *testing.T) {
		oneShardOut(t, ctx, f, js, func(c *jetstream.StreamConfig, _ jetstream.StreamState) { c.Subjects = []string{"nobody.here"} })
	})
}

func raiseShards(t *testing.T, ctx context.Context, f *fleet.Fleet) {
	pid := f.Ingresses[0].PID()
	acks, stop := pour(t, ctx, f, "-conns", "32", "-rate", "400", "-sizes", "1KB-30KB", "-rcpts", "1-2")
	more(t, acks, 100, "mail is accepted")
	if n := len(shardInfos(t, ctx, f)); n != 1 {
		t.Fatalf("%d shards at the start", n)
	}
	if err := f.Storer.Stop(45 * time.Second); err != nil {
		t.Fatal(err)
	}
	f.Storer.Setenv("STREAM_SHARDS=4")
	if err := f.Storer.Start(); err != nil {
		t.Fatal(err)
	}
	within(t, 60*time.Second, "every shard gets mail", func() bool {
		used := 0
		for _, info := range shardInfos(t, ctx, f) {
			if info.Messages > 0 {
				used++
			}
		}
		return used == 4
	})
	more(t, acks, 1000, "the load goes on")
	stop()
	settled(t, ctx, f.Env())
	within(t, 60*time.Second, "the cachewarmer has read every shard", func() bool {
		for _, info := range shardInfos(t, ctx, f) {
			for _, c := range info.Consumers {
				if c.Lag > 0 {
					return false
				}
			}
		}
		return true
	})
	for _, p := range append(f.Ingresses, f.Warmer) {
		if !p.Running() {
			t.Errorf("%s has ended", p.Name)
		}
	}
	if f.Ingresses[0].PID() != pid {
		t.Error("the ingress was restarted")
	}
	accountedFor(t, ctx, f, acks)

	// And it spreads from the start of a run.
	before := shardInfos(t, ctx, f)
	acks, wait := load(t, ctx, f, "-count", "4000", "-rate", "250", "-conns", "32", "-first", "1000000", "-sizes", "1KB-30KB")
	wait()
	settled(t, ctx, f.Env())
	got, all := make(map[string]uint64), uint64(0)
	for name, info := range shardInfos(t, ctx, f) {
		got[name] = info.Messages - before[name].Messages
		all += got[name]
	}
	for name, messages := range got {
		if messages < all/4/4 {
			t.Errorf("%s got %d of %d messages", name, messages, all)
		}
	}
	t.Logf("about 4000 mails went to %v messages", got)
	accountedFor(t, ctx, f, acks)
}

// accountedFor audits a record: every 250 stored once, nothing refused for good.
func accountedFor(t *testing.T, ctx context.Context, f *fleet.Fleet, record string) {
	t.Helper()
	r := audit(t, ctx, f.Env(), "--acks", record)
	if r.Acks.Stored != r.Acks.Recorded || r.Acks.Duplicates != 0 || r.Acks.Recorded == 0 {
		t.Errorf("accepted %d, stored %d, duplicates %d", r.Acks.Recorded, r.Acks.Stored, r.Acks.Duplicates)
	}
	for _, a := range readRecord(t, record) {
		if len(a.Reply) > 0 && a.Reply[0] == '5' {
			t.Fatalf("our fault was told as a permanent one: %+v", a)
		}
	}
}

// newest is the shard that took the last mail.
func newest(t *testing.T, ctx context.Context, js jetstream.JetStream) (last jetstream.Stream) {
	t.Helper()
	for number := range 4 {
		s, err := js.Stream(ctx, stream.StreamName(number))
		if err != nil {
			t.Fatal(err)
		}
		if last == nil || s.CachedInfo().State.LastTime.After(last.CachedInfo().State.LastTime) {
			last = s
		}
	}
	return last
}

// oneShardOut makes the shard that gets the mail just now unusable, sees the others take it, and the shard take mail
// again once it is as it was.
func oneShardOut(t *testing.T, ctx context.Context, f *fleet.Fleet, js jetstream.JetStream, spoil func(*jetstream.StreamConfig, jetstream.StreamState)) {
	acks, stop := pour(t, ctx, f, "-rate", "150", "-conns", "32", "-first", "2000000", "-sizes", "1KB-30KB", "-resend", "3")
	more(t, acks, 100, "mail is accepted")
	s := newest(t, ctx, js)
	right := s.CachedInfo().Config
	name := right.Name
	spoilt := right
	spoil(&spoilt, s.CachedInfo().State)
	s, err := js.UpdateStream(ctx, spoilt)
	if err != nil {
		t.Fatal(err)
	}
	last := s.CachedInfo().State.LastSeq
	more(t, acks, 500, "the others take the mail")
	if s, err = js.Stream(ctx, name); err != nil {
		t.Fatal(err)
	}
	if now := s.CachedInfo().State.LastSeq; now > last+1 {
		t.Errorf("%s took mail up to %d after it was made unusable at %d", name, now, last)
	}
	if _, err := js.UpdateStream(ctx, right); err != nil {
		t.Fatal(err)
	}
	if !f.Storer.Running() {
		if err := f.Storer.Start(); err != nil {
			t.Fatal(err)
		}
	}
	more(t, acks, 500, "the load goes on")
	stop()
	refused := 0
	for _, a := range readRecord(t, acks) {
		if a.Reply != "" && a.Reply[0] == '4' {
			refused++
		}
	}
	t.Logf("%d accepted, %d refused for now and tried again", acked(acks), refused)
	settled(t, ctx, f.Env())
	accountedFor(t, ctx, f, acks)

	// A shard gets all mails for two seconds, when there is not much to do.
	again, wait := load(t, ctx, f, "-count", "1500", "-rate", "150", "-conns", "32", "-first", "3000000", "-sizes", "1KB-30KB")
	wait()
	if s, err = js.Stream(ctx, name); err != nil {
		t.Fatal(err)
	}
	if now := s.CachedInfo().State.LastSeq; now <= last+1 {
		t.Errorf("%s takes no mail again: still at %d", name, now)
	}
	settled(t, ctx, f.Env())
	accountedFor(t, ctx, f, again)
}
