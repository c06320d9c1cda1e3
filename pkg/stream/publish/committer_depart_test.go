package publish

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/stream"
)

// waiting puts small mails into a committer's queue.
func waiting(c *committer, mails, bytes int) {
	for range mails {
		c.enqueue(&item{size: bytes, done: make(chan error, 1)})
	}
}

// departs checks how many mails leave now.
func departs(t *testing.T, c *committer, want int, when string) {
	t.Helper()
	if flight, _, _ := c.depart(); len(flight) != want {
		t.Errorf("%s: a flight of %d mails left, want %d", when, len(flight), want)
	}
}

// land is the end of a flight that did not take long.
func land(c *committer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.aloft--
	c.landed = landing{}
}

func standIn(t *testing.T, shards int) *Publisher {
	t.Helper()
	p := &Publisher{link: &link{isUp: true}, metrics: newPublisherMetrics(prometheus.NewRegistry())}
	for range shards {
		p.shards = append(p.shards, testShard(p))
	}
	return p
}

// TestDeparture: the first flight leaves at once, the second when it is worth its fsyncs, a third never.
func TestDeparture(t *testing.T) {
	c := standIn(t, 1).shards[0].queue
	departs(t, c, 0, "nothing waits")
	c.large.Add(1)
	waiting(c, 1, 1000)
	departs(t, c, 1, "a large mail is on its way")
	waiting(c, goodFlight-1, 1000)
	departs(t, c, 0, "one flight is in the air and the next is small")
	waiting(c, 1, 1000)
	departs(t, c, goodFlight, "one flight is in the air and the next is a good one")
	waiting(c, 2*goodFlight, 1000)
	departs(t, c, 0, "two flights are in the air")
	land(c)
	departs(t, c, 2*goodFlight, "one of two landed")
	waiting(c, 3, maxBatchBytes/5)
	land(c)
	departs(t, c, 3, "few mails of many bytes")
}

// TestGathering: after a batch the next flight waits for as many mails, but not for long.
func TestGathering(t *testing.T) {
	c := standIn(t, 1).shards[0].queue
	c.landed = landing{until: time.Now().Add(time.Hour), mails: 20}
	waiting(c, 19, 1000)
	if flight, _, patience := c.depart(); flight != nil || patience < time.Minute {
		t.Errorf("a flight of %d mails left, or waits for %v only", len(flight), patience)
	}
	waiting(c, 1, 1000)
	departs(t, c, 20, "as many as before are back")
	c.aloft, c.landed.until = 0, time.Now()
	waiting(c, 1, 1000)
	departs(t, c, 1, "the time is up")
}

// TestLetPass: the commit of a large mail lets those pass that wait, but not for ever.
func TestLetPass(t *testing.T) {
	c := standIn(t, 1).shards[0].queue
	waitFor := func() (took time.Duration) {
		start := time.Now()
		c.letPass(t.Context())
		return time.Since(start)
	}
	if took := waitFor(); took >= letPassMost {
		t.Errorf("nobody waits, and it waited for %v", took)
	}
	waiting(c, 1, 1000)
	flight, _, _ := c.depart()
	if took := waitFor(); took < letPassMost || took > 10*letPassMost {
		t.Errorf("a mail never arrives, and it waited for %v, want %v", took, letPassMost)
	}
	calm := c.calm      // left by who gave up waiting
	flight[0].abandon() // then the flight lands without being sent
	c.fly(t.Context(), flight, nil)
	select {
	case <-calm:
	default:
		t.Error("the mail has arrived, and whoever lets it pass does not learn it")
	}
}

// TestReplicatedDeparture: a Raft group is given everything at once.
func TestReplicatedDeparture(t *testing.T) {
	s := standIn(t, 1).shards[0]
	s.replicas = 3
	for range 5 {
		waiting(s.queue, 1, 1000)
		departs(t, s.queue, 1, "replicated")
	}
}

// TestStreak: one shard gets all until a good flight waits for it, so that flights are few and large.
func TestStreak(t *testing.T) {
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
	p.streak.since = time.Now().Add(-2 * streakTime)
	second := pick()
	if second == first {
		t.Error("the streak never ends")
	}
	waiting(second.queue, goodFlight, 1000)
	third := pick()
	if third == first || third == second {
		t.Error("a good flight waits for the second shard, and the next is not the third")
	}
	third.failed()
	if s := pick(); s != first {
		t.Error("the failing shard got mail although another is well and has none waiting")
	}
	first.queue.large.Add(stream.PartBytes + 1)
	if s := pick(); s == first {
		t.Error("a shard that gets a large mail got small mail although another gets none")
	}
	first.queue.large.Store(0)
	first.replicas, second.replicas, third.replicas = 3, 3, 3
	waiting(first.queue, 1, 1000)
	third.worked()
	if s := pick(); s != third {
		t.Error("among Raft groups the least busy one is to get the mail")
	}
}

// TestNobodyWaits: a flight whose mails were all given up is not sent.
func TestNobodyWaits(t *testing.T) {
	flight := make([]*item, breakEven)
	for i := range flight {
		flight[i] = &item{done: make(chan error, 1)}
		flight[i].abandon()
	}
	c := standIn(t, 1).shards[0].queue
	if sent, err := c.sendMembers(newBatch(nil), flight, "reply"); sent || err != nil {
		t.Errorf("sent: %v, %v", sent, err)
	}
}
