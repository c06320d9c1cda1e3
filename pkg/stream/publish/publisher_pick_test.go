package publish

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/stream"
)

func standIn(t *testing.T, shards int) *Publisher {
	t.Helper()
	p := &Publisher{link: &link{isUp: true}, metrics: newPublisherMetrics(prometheus.NewRegistry())}
	for i := range shards {
		p.shards = append(p.shards, testShard(p, i))
	}
	return p
}

// waiting puts mail into a shard's committer, which has no connection.
func waiting(t *testing.T, s *shard, mails, size int) (items []*item) {
	t.Helper()
	for range mails {
		m := newMail(t, size)
		it, err := newItem(mailID(m), m, time.Now().Add(time.Minute))
		if err != nil {
			t.Fatal(err)
		}
		it.home.Store(s.driver)
		s.driver.tell(func(c *committer, now time.Time) { c.add(now, it) })
		items = append(items, it)
	}
	return items
}

// TestSticky: one shard gets all until a whole pack waits for it, so that packs are few and large.
func TestSticky(t *testing.T) {
	p := standIn(t, 3)
	pick := func() *shard {
		t.Helper()
		s, err := p.pickSmall()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	first := pick()
	for i := range 100 {
		if s := pick(); s != first {
			t.Fatalf("mail %d went to another shard, though none waits", i)
		}
	}
	p.sticky.since = time.Now().Add(-2 * stickyFor)
	second := pick()
	if second == first {
		t.Error("one shard gets everything without end")
	}
	waiting(t, second, 4, stream.MaxPackBytes/4)
	third := pick()
	if third == first || third == second {
		t.Error("a whole pack waits for the second shard, and the next is not the third")
	}
	third.failed()
	if s := pick(); s != first {
		t.Error("the failing shard got mail although another is well and has none waiting")
	}
	first.driver.large.Add(stream.PartBytes + 1)
	third.worked()
	if s := pick(); s == first {
		t.Error("a shard that gets a large mail got small mail although another gets none")
	}
}

// TestLetPass: the commit of a large mail lets those pass that wait, but not indefinitely.
func TestLetPass(t *testing.T) {
	p := standIn(t, 1)
	d := p.shards[0].driver
	waitFor := func() (took time.Duration) {
		start := time.Now()
		d.letPass(t.Context())
		return time.Since(start)
	}
	if took := waitFor(); took >= letPassMost {
		t.Errorf("nobody waits, and it waited for %v", took)
	}
	it := waiting(t, p.shards[0], 1, 1000)[0]
	if took := waitFor(); took < letPassMost || took > 200*letPassMost {
		t.Errorf("a mail never arrives, and it waited for %v, want %v", took, letPassMost)
	}
	quiet := d.quiet // left by who gave up waiting
	_ = it.leave(t.Context().Err())
	select {
	case <-quiet:
	default:
		t.Error("the mail has gone, and whoever lets it pass does not learn it")
	}
}
