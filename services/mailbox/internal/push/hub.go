package push

import (
	"context"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/time/rate"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/services/internal/reading"
	"github.com/sluice-mail/sluice/services/mailbox/internal/access"
	"github.com/sluice-mail/sluice/services/mailbox/internal/api"
)

const (
	// MaxReaders bounds the readers that wait on one replica, MaxPerMailbox those of one mailbox.
	MaxReaders    = 12_000
	MaxPerMailbox = 2_000
	// checkEvery is how often a mailbox with waiting readers is queried without an announcement. CheckRate bounds how many such
	// queries there are per second.
	checkEvery = 2 * time.Second
	CheckRate  = 200
	// overlap is how long a transaction may take from the time that its mails have as "stored" until they are visible.
	overlap = time.Minute
	// shortly is that time for mail that has just been announced.
	shortly = 3 * time.Second
	// lookers is how many mailboxes are queried at the same time.
	lookers = 4
	// lookTimeout bounds one look.
	lookTimeout = 10 * time.Second
)

// Deps are what a Hub works with.
type Deps struct {
	// PerClient bounds the readers that wait from one network of a client (access.Network); 0: no limit.
	PerClient int
	Reader    *reading.Reader // cache and database
	Names     reading.Names   // how an address becomes a mailbox
	Logger    *slog.Logger
	Metrics   prometheus.Registerer // where the Hub registers its metrics
}

// Hub has the waiting readers of all mailboxes.
type Hub struct {
	deps    Deps
	metrics *hubMetrics
	pace    *rate.Limiter // of looks without an announcement

	mu      sync.Mutex
	boxes   map[string]*box
	clients map[netip.Prefix]int // readers of each
	readers int
	dirty   []*box
	wake    chan struct{} // there may be something in dirty

	heartbeat time.Duration // tests shorten it

	closing chan struct{}
	closed  bool
	waiting sync.WaitGroup // readers; begun under mu while closed is not set, so that none escapes Close
}

// New makes a Hub. It announces nothing before Run.
func New(d Deps) *Hub {
	return &Hub{
		deps: d, metrics: newMetrics(d.Metrics), pace: rate.NewLimiter(CheckRate, CheckRate), boxes: make(map[string]*box),
		clients: make(map[netip.Prefix]int),
		wake:    make(chan struct{}, 1), closing: make(chan struct{}), heartbeat: heartbeat,
	}
}

// Run follows the announcements on conn until ctx ends. Without a connection (nil) it only queries at intervals.
func (h *Hub) Run(ctx context.Context, conn *nats.Conn) error {
	if conn != nil {
		sub, err := stream.SubscribeStored(conn, h.Stored)
		if err != nil {
			return err
		}
		defer func() { _ = sub.Unsubscribe() }() // an error would be that the connection is closed
	}
	var looking sync.WaitGroup
	for range lookers {
		looking.Go(func() { h.look(ctx) })
	}
	h.tick(ctx)
	looking.Wait()
	return nil
}

// Close ends all streams and all waiting; clients reconnect to another replica. It returns when all have ended.
func (h *Hub) Close() {
	h.mu.Lock()
	if !h.closed {
		h.closed = true
		close(h.closing)
	}
	h.mu.Unlock()
	h.waiting.Wait()
}

// Stored takes note of an announcement.
func (h *Hub) Stored(mails []stream.StoredMail) {
	h.deps.Reader.Stored(mails)
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, m := range mails {
		for _, mailbox := range m.Mailboxes {
			if b := h.boxes[mailbox]; b != nil {
				h.mark(b)
			}
		}
	}
}

// mark has a box looked at. The lock is held.
func (h *Hub) mark(b *box) {
	if b.again = true; b.queued {
		return
	}
	b.queued = true
	h.dirty = append(h.dirty, b)
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// tick has every box looked at every two seconds, or as often as the pace allows.
func (h *Hub) tick(ctx context.Context) {
	ticker := time.NewTicker(checkEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, b := range h.all() {
			if h.pace.Wait(ctx) != nil {
				return
			}
			h.mu.Lock()
			b.deep = true
			h.mark(b)
			h.mu.Unlock()
		}
	}
}

func (h *Hub) all() []*box {
	h.mu.Lock()
	defer h.mu.Unlock()
	all := make([]*box, 0, len(h.boxes))
	for _, b := range h.boxes {
		all = append(all, b)
	}
	return all
}

// look takes one dirty box after the other.
func (h *Hub) look(ctx context.Context) {
	for {
		b, deep := h.next()
		if b == nil {
			select {
			case <-ctx.Done():
				return
			case <-h.wake:
			}
			continue
		}
		looking, cancel := context.WithTimeout(ctx, lookTimeout)
		if err := h.lookAt(looking, b, deep); err != nil && ctx.Err() == nil {
			h.deps.Logger.Warn("looking for new mail; trying again", "error", err)
		}
		cancel()
	}
}

func (h *Hub) next() (b *box, deep bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.dirty) == 0 {
		return nil, false
	}
	b = h.dirty[0]
	h.dirty = h.dirty[1:]
	deep, b.again, b.deep = b.deep, false, false
	if len(h.dirty) > 0 { // for one of the others
		select {
		case h.wake <- struct{}{}:
		default:
		}
	}
	return b, deep
}

// lookAt asks the database what is new in a mailbox and tells its readers.
func (h *Hub) lookAt(ctx context.Context, b *box, deep bool) error {
	fresh, err := b.fresh(ctx, h.deps.Reader, deep)
	h.mu.Lock()
	defer h.mu.Unlock()
	b.queued = false
	if b.again && len(b.readers) > 0 {
		h.mark(b)
	}
	for r := range b.readers {
		if len(fresh) > 0 || r.polls {
			r.tell(fresh)
		}
	}
	h.metrics.events.Add(float64(len(fresh) * len(b.readers)))
	return err
}

// join makes r one of the readers of a mailbox; the error is api.ErrCrowded.
func (h *Hub) join(mailbox string, r *reader) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	b := h.boxes[mailbox]
	if h.closed || h.readers >= MaxReaders || b != nil && len(b.readers) >= MaxPerMailbox ||
		h.deps.PerClient > 0 && h.clients[r.client] >= h.deps.PerClient {
		h.metrics.crowded.Inc()
		return api.ErrCrowded
	}
	if b == nil {
		b = newBox(mailbox, time.Now())
		h.boxes[mailbox] = b
	}
	b.readers[r] = struct{}{}
	h.waiting.Add(1)
	h.clients[r.client]++
	h.readers++
	h.metrics.readers.Set(float64(h.readers))
	return nil
}

func (h *Hub) leave(mailbox string, r *reader) {
	defer h.waiting.Done()
	h.mu.Lock()
	defer h.mu.Unlock()
	b := h.boxes[mailbox]
	if delete(b.readers, r); len(b.readers) == 0 {
		delete(h.boxes, mailbox)
	}
	if h.clients[r.client]--; h.clients[r.client] == 0 {
		delete(h.clients, r.client)
	}
	h.readers--
	h.metrics.readers.Set(float64(h.readers))
}

// Wait implements api.Waiter.
func (h *Hub) Wait(ctx context.Context, mailbox string, look func(context.Context) (found bool, err error)) error {
	r := newReader(access.Network(access.Client(ctx)))
	r.polls = true
	if err := h.join(mailbox, r); err != nil {
		return err
	}
	defer h.leave(mailbox, r)
	for {
		found, err := look(ctx)
		if found || err != nil {
			return err
		}
		select {
		case <-r.news:
			r.take()
		case <-ctx.Done():
			return ctx.Err()
		case <-h.closing:
			return nil
		}
	}
}

var _ api.Waiter = (*Hub)(nil)

// eachSince calls fn with everything that was stored since, in the order of storing, a page at a time.
func eachSince(ctx context.Context, r *reading.Reader, mailbox string, since time.Time, fn func([]mailstore.Entry) error) error {
	for {
		page, err := r.StoredSince(ctx, mailbox, since, mailstore.MaxLimit)
		if err != nil {
			return err
		}
		if err := fn(page); err != nil || len(page) < mailstore.MaxLimit {
			return err
		}
		last := page[len(page)-1].Stored
		if last == since { // as many in one millisecond: step over it
			last = last.Add(time.Millisecond)
		}
		since = last
	}
}
