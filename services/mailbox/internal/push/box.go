package push

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/services/internal/reading"
	"github.com/sluice-mail/sluice/services/mailbox/internal/api"
)

// box is a mailbox with waiting readers. readers, queued, again and deep are protected by the hub's lock; since and known are used
// only by the goroutine that is querying the mailbox, which is one at a time.
type box struct {
	mailbox string
	readers map[*reader]struct{}
	queued  bool // to be looked at, or being looked at
	again   bool // something happened since that look began
	deep    bool // the next look shall be a deep one

	since time.Time               // the latest time of storing that was seen
	known map[ulid.ULID]time.Time // mails that were stored since then, less the overlap
}

func newBox(mailbox string, now time.Time) *box {
	return &box{mailbox: mailbox, readers: make(map[*reader]struct{}), since: now, known: make(map[ulid.ULID]time.Time)}
}

// fresh returns the mails that were not there at the last query. An announcement comes at the end of its transaction, so going
// back a little is enough; a deep query also finds mail that was not announced.
func (b *box) fresh(ctx context.Context, r *reading.Reader, deep bool) (events []*event, err error) {
	back := shortly
	if deep {
		back = overlap
	}
	err = eachSince(ctx, r, b.mailbox, b.since.Add(-back), func(entries []mailstore.Entry) error {
		for _, e := range entries {
			if _, known := b.known[e.ID]; known {
				continue
			}
			b.known[e.ID] = e.Stored
			if e.Stored.After(b.since) {
				b.since = e.Stored
			}
			events = append(events, newEvent(e))
		}
		return nil
	})
	for id, stored := range b.known {
		if stored.Before(b.since.Add(-overlap)) {
			delete(b.known, id)
		}
	}
	return events, err
}

// event is one mail as it is sent to readers. It is made once for all of them.
type event struct {
	id   ulid.ULID
	text []byte
}

func newEvent(e mailstore.Entry) *event {
	data, err := json.Marshal(api.NewSummary(e))
	if err != nil {
		data = []byte("{}") // a Summary has nothing that cannot be encoded
	}
	return &event{e.ID, fmt.Appendf(nil, "id: %s\nevent: message\ndata: %s\n\n", cursor{e.Stored, e.ID}, data)}
}

// cursor is the id of an event.
type cursor struct {
	stored time.Time
	id     ulid.ULID
}

func (c cursor) String() string {
	return strconv.FormatInt(c.stored.UnixMilli(), 10) + "-" + c.id.String()
}

// parseCursor reads the id of an event.
func parseCursor(text string) (cursor, bool) {
	ms, id, found := strings.Cut(text, "-")
	at, err := strconv.ParseInt(ms, 10, 64)
	if !found || err != nil || at < 0 || at > 1<<48 {
		return cursor{}, false
	}
	mail, err := ulid.ParseStrict(id)
	return cursor{time.UnixMilli(at).UTC(), mail}, err == nil
}

// maxQueue is how many events may wait for a reader. One that is further behind is disconnected, and resumes.
const maxQueue = 1000

// reader is one who waits.
type reader struct {
	client netip.Prefix
	news   chan struct{} // there is something in queue
	polls  bool          // looks for himself, also when nothing new was found

	mu     sync.Mutex
	queue  []*event
	behind bool // the queue was full
}

func newReader(client netip.Prefix) *reader {
	return &reader{client: client, news: make(chan struct{}, 1)}
}

// tell queues events, and wakes the reader.
func (r *reader) tell(events []*event) {
	r.mu.Lock()
	if len(r.queue)+len(events) > maxQueue {
		r.behind = true
	} else {
		r.queue = append(r.queue, events...)
	}
	r.mu.Unlock()
	select {
	case r.news <- struct{}{}:
	default:
	}
}

// take empties the queue.
func (r *reader) take() (events []*event, behind bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	events, r.queue = r.queue, nil
	return events, r.behind
}
