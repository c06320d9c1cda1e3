package reading_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/bradfitz/gomemcache/memcache"
	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailcache"
	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/services/internal/reading"
	"github.com/sluice-mail/sluice/services/internal/reading/readingtest"
)

// ledger is what all who ask must find by now.
type ledger struct {
	mu   sync.Mutex
	box  map[string]map[ulid.ULID]bool // true: there for sure; false: gone for sure
	busy map[ulid.ULID]bool            // being deleted
}

// sure is what is sure about a mailbox at this moment.
func (l *ledger) sure(mailbox string) (there, gone []ulid.ULID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, is := range l.box[mailbox] {
		switch {
		case !is:
			gone = append(gone, id)
		case !l.busy[id]:
			there = append(there, id)
		}
	}
	return there, gone
}

func (l *ledger) set(mailbox string, id ulid.ULID, there bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.box[mailbox][id] = there
	delete(l.busy, id)
}

// take picks a mail to delete.
func (l *ledger) take(mailbox string) (ulid.ULID, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for id, there := range l.box[mailbox] {
		if there && !l.busy[id] {
			l.busy[id] = true
			return id, true
		}
	}
	return ulid.ULID{}, false
}

// world is two processes that read, a storer and a cachewarmer, and a cache that forgets.
type world struct {
	ledger
	t       *testing.T
	store   *readingtest.Database
	readers [2]*reading.Reader
	warmer  *mailcache.Cache
	boxes   []string
}

// put stores and announces; every fourth mail comes again, as after a lost acknowledgement.
func (w *world) put(mailbox string) {
	m := readingtest.Mail(w.t, "Subject: a mail\r\n\r\ntext\r\n", mailbox)
	for range 1 + rand.IntN(4)/3 {
		if _, err := w.store.PutBatch(w.t.Context(), []mailstore.Mail{m}); err != nil {
			w.t.Error(err)
		}
		w.warmer.SetMessages([]mailcache.Mail{{ID: m.ID, Envelope: m.Envelope, Raw: m.Raw}})
		w.warmer.DeletePages(m.Mailboxes)
	}
	w.set(mailbox, m.ID, true)
}

func (w *world) delete(r *reading.Reader, mailbox string) {
	id, ok := w.take(mailbox)
	if !ok {
		return
	}
	if gone, err := r.Delete(w.t.Context(), mailbox, id); err != nil || len(gone) != 1 {
		w.t.Errorf("deleting: %v %v", gone, err)
	}
	w.set(mailbox, id, false)
}

// look compares a list with what was sure before it was asked for, and is still sure.
func (w *world) look(r *reading.Reader, mailbox string) {
	there, gone := w.sure(mailbox)
	listed, err := w.list(r, mailbox)
	if err != nil {
		w.t.Error(err)
		return
	}
	still, _ := w.sure(mailbox)
	for _, id := range there {
		// A full page hides what is older.
		if slices.Contains(still, id) && !slices.Contains(listed, id) && len(listed) < mailcache.PageEntries {
			w.t.Errorf("%s was stored, announced, and is not listed", id)
		}
	}
	for _, id := range gone {
		if slices.Contains(listed, id) {
			w.t.Errorf("%s was deleted and is listed", id)
		}
	}
	if len(listed) == 0 {
		return
	}
	id := listed[rand.IntN(len(listed))]
	if rand.IntN(2) == 0 {
		if _, gone = w.sure(mailbox); len(gone) > 0 {
			id = gone[0]
		}
	}
	wasGone := slices.Contains(gone, id)
	answer, err := r.MailAnswer(w.t.Context(), mailbox, id, func(m *reading.Mail) (*reading.Answer, error) {
		return &reading.Answer{Tag: m.Entry.ID.String(), Body: []byte(m.Entry.Mailbox)}, nil
	})
	switch {
	case errors.Is(err, mailstore.ErrNotFound): // deleted meanwhile, perhaps
	case err != nil:
		w.t.Error(err)
	case wasGone:
		w.t.Errorf("%s was deleted and is shown", id)
	case answer.Tag != id.String() || string(answer.Body) != mailbox:
		w.t.Errorf("%s of %s is answered by %s of %s", id, mailbox, answer.Tag, answer.Body)
	}
}

// list lists a mailbox, every other time by an answer that may be known.
func (w *world) list(r *reading.Reader, mailbox string) ([]ulid.ULID, error) {
	q := mailstore.Query{Limit: mailcache.PageEntries}
	if rand.IntN(2) == 0 {
		entries, err := r.List(w.t.Context(), mailbox, q)
		return idsOf(entries), err
	}
	answer, err := r.ListAnswer(w.t.Context(), mailbox, q, idsAnswer)
	if err != nil {
		return nil, err
	}
	return idsIn(answer.Body), nil
}

// TestListsAreRightWhateverHappens: 64 readers, writers, redeliveries, evictions and deletions at once. No list hides a
// mail whose page was deleted after its storing, and none shows one after the deletion's answer.
func TestListsAreRightWhateverHappens(t *testing.T) {
	_, server := newCache(t)
	w := &world{t: t, store: readingtest.Store(t), warmer: clientOf(t, server)}
	w.box, w.busy = make(map[string]map[ulid.ULID]bool), make(map[ulid.ULID]bool)
	for i := range w.readers {
		w.readers[i] = newReader(t, w.store, clientOf(t, server))
	}
	for i := range 4 {
		w.boxes = append(w.boxes, fmt.Sprintf("u%d@example.com", i))
		w.box[w.boxes[i]] = make(map[ulid.ULID]bool)
	}
	evictor := memcache.New(server.Addr)
	defer evictor.Close()
	deadline := time.Now().Add(3 * time.Second)
	var all sync.WaitGroup
	for i := range 64 {
		all.Go(func() {
			r := w.readers[i%2]
			for time.Now().Before(deadline) && !t.Failed() {
				mailbox := w.boxes[rand.IntN(len(w.boxes))]
				switch {
				case i < 4:
					w.put(mailbox)
				case i < 10:
					w.delete(r, mailbox)
				case i == 10:
					if err := evictor.FlushAll(); err != nil {
						t.Error(err)
					}
				default:
					w.look(r, mailbox)
				}
			}
		})
	}
	all.Wait()
	mails := 0
	for _, mailbox := range w.boxes {
		w.look(w.readers[0], mailbox)
		mails += len(w.box[mailbox])
	}
	t.Logf("%d mails", mails)
	if mails < 50 {
		t.Errorf("only %d mails: this test has looked at nothing", mails)
	}
}
