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
	Cache   *mailcache.Cache
	Logger  *slog.Logger
	Metrics prometheus.Registerer // where the Reader registers its metrics
}

// Reader reads mailboxes. Its methods may be called from any goroutine. Mailboxes are given in their one form, see Names.
//
// Errors are those of the database, and mailstore.ErrNotFound.
type Reader struct {
	deps    Deps
	packer  *mailstore.Packer
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

// queryTimeout bounds a query that several readers wait for, and that therefore ends with none of them.
const queryTimeout = 10 * time.Second

// New makes a Reader.
func New(deps Deps) (*Reader, error) {
	packer, err := mailstore.NewPacker(mailstore.CodecNone)
	if err != nil {
		return nil, fmt.Errorf("preparing to unpack mail: %w", err)
	}
	r := &Reader{deps: deps, packer: packer, missing: newMissing(time.Now), graves: newGraves(deps.Cache, deps.Logger), spools: make(chan struct{}, maxSpools)}
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
	r.packer.Close()
}

// List lists a mailbox, newest first.
func (r *Reader) List(ctx context.Context, mailbox string, q mailstore.Query) ([]mailstore.Entry, error) {
	q.Limit = limitOf(q.Limit)
	if q.Contains == "" && r.deps.Cache != nil {
		page, whole, fromCache, err := r.page(ctx, mailbox, q)
		if err != nil {
			return nil, err
		}
		if entries, all := cut(page, whole, q); all {
			r.count("list", fromCache)
			return r.graves.without(mailbox, entries), nil
		}
	}
	r.count("list", false)
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

// page returns as much of the newest page of a mailbox as can be of use for q. whole says that the mailbox has no more.
func (r *Reader) page(ctx context.Context, mailbox string, q mailstore.Query) (page []mailstore.Entry, whole, fromCache bool, err error) {
	most := mailcache.PageEntries
	if q.Before == (ulid.ULID{}) {
		most = min(most, q.Limit)
	}
	fromCache = true
	page, whole, err = r.deps.Cache.Page(ctx, mailbox, most, func(ctx context.Context) ([]mailstore.Entry, error) {
		fromCache = false
		return r.pages.do(ctx, mailbox, func(ctx context.Context) ([]mailstore.Entry, error) {
			return r.deps.Store.List(ctx, mailbox, mailstore.Query{Limit: mailcache.PageEntries})
		})
	})
	if err != nil {
		return nil, false, false, fmt.Errorf("listing a mailbox: %w", err)
	}
	return page, whole, fromCache, nil
}

// cut takes what q asks for out of the newest page. all is false when the page does not reach back far enough to tell.
func cut(page []mailstore.Entry, whole bool, q mailstore.Query) (entries []mailstore.Entry, all bool) {
	var none ulid.ULID
	if q.After == none && q.Before == none && (len(page) >= q.Limit || whole) {
		return page[:min(len(page), q.Limit)], true
	}
	entries = make([]mailstore.Entry, 0, min(q.Limit, len(page)))
	for _, e := range page {
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
