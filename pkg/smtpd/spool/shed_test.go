package spool

import (
	"errors"
	"net/netip"
	"testing"
	"time"
)

// upload is a mail of a network that was written and not finished.
type upload struct {
	*Buffer
	shed bool
}

// start writes n bytes of a mail.
func (u *upload) start(t *testing.T, p *Pool, network string, n int) {
	t.Helper()
	b, err := p.Begin(netip.MustParsePrefix(network), func() { u.shed = true })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	u.Buffer = b
	if _, err := b.Write(random(n)); err != nil {
		t.Fatal(err)
	}
}

// age makes an upload look as if it had stood still for a while.
func (u *upload) age(d time.Duration) { u.grown.Add(-int64(d)) }

func TestSmallMailIsLetInWhileThereIsMemory(t *testing.T) {
	p := newPool(t, Config{PerMail: 8 << 10, Memory: 64 << 10, MaxDisk: 100_000, Share: 100_000})
	var big, small upload
	big.start(t, p, "192.0.2.0/24", 100_000)
	if err := p.Full(); err != nil {
		t.Fatalf("with memory left: %v", err)
	}
	small.start(t, p, "192.0.2.0/24", 4000)
	if big.shed {
		t.Error("an upload had to make room for what needs none")
	}
}

func TestTheMostIdleUploadMakesRoom(t *testing.T) {
	p := newPool(t, Config{PerMail: 8 << 10, Memory: 1 << 20, MaxDisk: 300_000, Share: 300_000})
	var older, oldest, fresh, next upload
	older.start(t, p, "192.0.2.0/24", 100_000)
	oldest.start(t, p, "198.51.100.0/24", 100_000)
	fresh.start(t, p, "203.0.113.0/24", 100_000)
	older.age(time.Minute)
	oldest.age(time.Hour)
	next.start(t, p, "203.0.113.0/24", 90_000)
	if older.shed || !oldest.shed || fresh.shed {
		t.Fatalf("shed: older %v, oldest %v, fresh %v", older.shed, oldest.shed, fresh.shed)
	}
	if _, err := oldest.Write([]byte("x")); !errors.Is(err, ErrShed) {
		t.Errorf("writing on: %v", err)
	}
	if err := oldest.Flush(); !errors.Is(err, ErrShed) {
		t.Errorf("flushing: %v", err)
	}
	if _, disk := p.InUse(); disk != 290_000 {
		t.Errorf("%d bytes on disk", disk)
	}
}

// Uploads that get on are not given up for others, and a whole mail never is: the log may have it soon.
func TestWhatGetsOnKeepsItsRoom(t *testing.T) {
	p := newPool(t, Config{PerMail: 8 << 10, Memory: 1 << 20, MaxDisk: 200_000, Share: 200_000})
	var active, whole upload
	active.start(t, p, "192.0.2.0/24", 100_000)
	whole.start(t, p, "198.51.100.0/24", 100_000)
	if err := whole.Flush(); err != nil {
		t.Fatal(err)
	}
	whole.age(time.Hour)
	next := begin(t, p)
	if err := write(next, random(90_000)); !errors.Is(err, ErrFull) {
		t.Errorf("got %v, want ErrFull", err)
	}
	if err := next.Close(); err != nil {
		t.Fatal(err)
	}
	if active.shed || whole.shed {
		t.Errorf("shed: active %v, whole %v", active.shed, whole.shed)
	}
}

// A network that has more than its share gives way at once, however busy its uploads are; to its own it does not.
func TestANetworkOverItsShareGivesWay(t *testing.T) {
	p := newPool(t, Config{PerMail: 8 << 10, Memory: 1 << 20, MaxDisk: 300_000, Share: 120_000})
	var greedy [2]upload
	var modest, next upload
	greedy[0].start(t, p, "192.0.2.0/24", 100_000)
	greedy[1].start(t, p, "192.0.2.0/24", 100_000)
	modest.start(t, p, "198.51.100.0/24", 100_000)
	own, err := p.Begin(netip.MustParsePrefix("192.0.2.0/24"), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := own.Write(random(50_000)); !errors.Is(err, ErrFull) {
		t.Errorf("the same network: %v, want ErrFull", err)
	}
	if err := own.Close(); err != nil {
		t.Fatal(err)
	}
	greedy[1].age(time.Second)
	next.start(t, p, "203.0.113.0/24", 90_000)
	if greedy[0].shed || !greedy[1].shed || modest.shed {
		t.Errorf("shed: greedy %v and %v, modest %v", greedy[0].shed, greedy[1].shed, modest.shed)
	}
}
