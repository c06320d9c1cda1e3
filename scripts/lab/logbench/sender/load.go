package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
)

// way publishes until l.stop is closed. It closes l.ready when mail can flow.
type way func(ctx context.Context, l *load) error

// ways are all that this sender can do. The publisher of pkg/stream is called packs in every revision, also in those
// that had none: what is compared is what small mail goes through.
func ways() map[string]way {
	all := others()
	all["packs"] = throughPublisher
	return all
}

// load is what a way sends, and the record of how that went.
type load struct {
	nc       *nats.Conn
	senders  int
	unsynced bool
	mails    *mails
	stop     chan struct{}
	ready    chan struct{}
	metrics  *prometheus.Registry // of the publisher

	counting atomic.Bool
	began    time.Time
	elapsed  time.Duration
	packs    packs

	mu      sync.Mutex
	records []*record
}

func newLoad(nc *nats.Conn, senders, size int, unsynced bool) *load {
	return &load{
		nc: nc, senders: senders, unsynced: unsynced, mails: newMails(size),
		stop: make(chan struct{}), ready: make(chan struct{}), metrics: prometheus.NewRegistry(),
	}
}

func (l *load) stopped() bool {
	select {
	case <-l.stop:
		return true
	default:
		return false
	}
}

// count begins the measurement, and ends it the second time.
func (l *load) count() {
	now, seen := time.Now(), gather(l.metrics)
	if l.counting.Load() {
		l.counting.Store(false)
		l.elapsed, l.packs = now.Sub(l.began), packs{seen.count - l.packs.count, seen.mails - l.packs.mails}
		return
	}
	l.began, l.packs = now, seen
	l.counting.Store(true)
}

// newRecord is for one goroutine, so that counting needs no lock.
func (l *load) newRecord() *record {
	r := &record{load: l}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.records = append(l.records, r)
	return r
}

// each runs the senders, each with one mail at a time.
func (l *load) each(publish func() error) error {
	var senders sync.WaitGroup
	failed := make(chan error, l.senders)
	close(l.ready)
	for range l.senders {
		mine := l.newRecord()
		senders.Go(func() {
			for !l.stopped() {
				start := time.Now()
				if err := publish(); err != nil {
					failed <- err
					return
				}
				mine.done(start)
			}
		})
	}
	senders.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// throughPublisher is every sender in Publish, as the connections of an ingress are.
func throughPublisher(ctx context.Context, l *load) error {
	p, err := startPublisher(ctx, l)
	if err != nil {
		return err
	}
	defer p.stop()
	return l.each(func() error {
		m := l.mails.next()
		return p.publish(ctx, m.envelope(), m.raw)
	})
}
