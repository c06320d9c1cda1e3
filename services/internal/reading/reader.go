package reading

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/mailcache"
	"github.com/sluice-mail/sluice/pkg/mailstore"
)

// Store is what reading needs of a database.
type Store interface {
	mailstore.Mailboxes
	mailstore.Deleter
	// Raw writes the bytes of a mail to w; see mailstore.Reader.
	Raw(ctx context.Context, id ulid.ULID, w io.Writer) error
}

// Deps are what a Reader works with. They belong to the caller.
type Deps struct {
	Store Store // the database
	// Cache may be nil: then everything comes from the database.
	Cache *mailcache.Cache
	// AnswerBytes bounds the answers that are kept in memory; 0 keeps none.
	AnswerBytes int64
	Logger      *slog.Logger
	Metrics     prometheus.Registerer // where the Reader registers its metrics
}

// Reader reads mailboxes. Its methods may be called from any goroutine. Mailboxes are given in their one form, see Names.
//
// Errors are those of the database, and mailstore.ErrNotFound.
type Reader struct {
	deps    Deps
	packer  *mailstore.Packer
	answers *answers // nil: none are kept
	pages   flights[string, []mailstore.Entry]
	finds   flights[finding, mailstore.Stored]
	missing *missing
	graves  *graves
	spools  chan struct{}
	reads   *prometheus.CounterVec
}

// finding is what Find is asked for.
type finding struct {
	mailbox string
	id      ulid.ULID
}

const (
	// queryTimeout bounds a query. Several readers may wait for it, and therefore it ends with none of them.
	queryTimeout = 10 * time.Second
	// loadTimeout bounds reading the bytes of one mail: a large one from a slow database.
	loadTimeout = 30 * time.Second
)

// New makes a Reader.
func New(deps Deps) (*Reader, error) {
	packer, err := mailstore.NewPacker(mailstore.CodecNone)
	if err != nil {
		return nil, fmt.Errorf("preparing to unpack mail: %w", err)
	}
	kept, err := newAnswers(deps.AnswerBytes)
	if err != nil {
		packer.Close()
		return nil, err
	}
	r := &Reader{deps: deps, packer: packer, answers: kept, missing: newMissing(time.Now), graves: newGraves(deps.Cache, deps.Logger), spools: make(chan struct{}, maxSpools)}
	r.reads = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_reading_reads_total",
		Help: "Lists and mails read, by source: cache, database.",
	}, []string{"what", "source"})
	deps.Metrics.MustRegister(r.reads)
	return r, nil
}

// Close ends what the Reader does in the background.
func (r *Reader) Close() {
	r.graves.close()
	r.answers.close()
	r.packer.Close()
}

// List lists a mailbox, newest first.
func (r *Reader) List(ctx context.Context, mailbox string, q mailstore.Query) ([]mailstore.Entry, error) {
	q.Limit = limitOf(q.Limit)
	if q.Contains != "" || r.deps.Cache == nil {
		return r.listStored(ctx, mailbox, q)
	}
	page, err := r.page(ctx, mailbox)
	if err != nil {
		return nil, err
	}
	return r.cut(ctx, mailbox, page, q)
}

// listStored lists what the database has.
func (r *Reader) listStored(ctx context.Context, mailbox string, q mailstore.Query) ([]mailstore.Entry, error) {
	r.count("list", false)
	ctx, cancel := context.WithTimeout(ctx, queryTimeout)
	defer cancel()
	entries, err := r.deps.Store.List(ctx, mailbox, q)
	if err != nil {
		return nil, fmt.Errorf("listing a mailbox: %w", err)
	}
	return entries, nil
}

// StoredSince lists what was stored at since or later, in the order of storing: at most limit mails.
func (r *Reader) StoredSince(ctx context.Context, mailbox string, since time.Time, limit int) ([]mailstore.Entry, error) {
	entries, err := r.deps.Store.StoredSince(ctx, mailbox, since, limit)
	if err != nil {
		return nil, fmt.Errorf("listing what was stored in a mailbox: %w", err)
	}
	return entries, nil
}

func limitOf(limit int) int {
	if limit <= 0 {
		return mailstore.DefaultLimit
	}
	return min(limit, mailstore.MaxLimit)
}

// page returns the newest page of a mailbox.
func (r *Reader) page(ctx context.Context, mailbox string) (mailcache.Page, error) {
	page, err := r.deps.Cache.Page(ctx, mailbox, func(ctx context.Context) ([]mailstore.Entry, error) {
		return r.pages.do(ctx, mailbox, func(ctx context.Context) ([]mailstore.Entry, error) {
			return r.deps.Store.List(ctx, mailbox, mailstore.Query{Limit: mailcache.PageEntries})
		})
	})
	if err != nil {
		return mailcache.Page{}, fmt.Errorf("listing a mailbox: %w", err)
	}
	return page, nil
}

// cut takes what q asks for out of the newest page, and asks the database when the page does not reach back far enough to
// tell.
func (r *Reader) cut(ctx context.Context, mailbox string, page mailcache.Page, q mailstore.Query) ([]mailstore.Entry, error) {
	most := mailcache.PageEntries
	if q.Before == (ulid.ULID{}) {
		most = min(most, q.Limit) // others are of no use
	}
	newest, whole, err := page.Newest(most)
	if err != nil {
		return r.listStored(ctx, mailbox, q)
	}
	entries, all := within(newest, whole, q)
	if !all {
		return r.listStored(ctx, mailbox, q)
	}
	kept := r.graves.without(mailbox, entries)
	if len(kept) < len(entries) && !whole {
		return r.listStored(ctx, mailbox, q) // it has older ones in their place
	}
	r.count("list", !page.Loaded())
	return kept, nil
}

// within is what q asks for of the newest mails. all is false when those do not reach back far enough to tell.
func within(newest []mailstore.Entry, whole bool, q mailstore.Query) (entries []mailstore.Entry, all bool) {
	var none ulid.ULID
	if q.After == none && q.Before == none && (len(newest) >= q.Limit || whole) {
		return newest[:min(len(newest), q.Limit)], true
	}
	entries = make([]mailstore.Entry, 0, min(q.Limit, len(newest)))
	for _, e := range newest {
		if q.After != none && e.ID.Compare(q.After) <= 0 {
			return entries, true
		}
		if q.Before != none && e.ID.Compare(q.Before) >= 0 {
			continue
		}
		if entries = append(entries, e); len(entries) == q.Limit {
			return entries, true
		}
	}
	return entries, whole
}

func (r *Reader) count(what string, fromCache bool) {
	source := "database"
	if fromCache {
		source = "cache"
	}
	r.reads.WithLabelValues(what, source).Inc()
}
