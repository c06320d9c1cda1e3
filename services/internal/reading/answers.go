package reading

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/maypok86/otter/v2"
	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailcache"
	"github.com/sluice-mail/sluice/pkg/mailstore"
)

// Answer is what a caller makes of a list or of a mail for those who read it. Nobody may change its bytes.
type Answer struct {
	Tag  string // changes with Body
	Body []byte

	packing sync.Once
	packed  []byte
	failed  error
}

// Packed is Body in gzip's format. It is made once, for the first who asks.
func (a *Answer) Packed() ([]byte, error) {
	a.packing.Do(func() {
		var out bytes.Buffer
		out.Grow(len(a.Body) / 2)
		w, err := gzip.NewWriterLevel(&out, gzip.StatelessCompression) // a state would take a MiB for a moment
		if err == nil {
			_, err = w.Write(a.Body)
		}
		if err == nil {
			err = w.Close()
		}
		if a.packed = bytes.Clone(out.Bytes()); err != nil {
			a.failed = fmt.Errorf("packing an answer: %w", err)
		}
	})
	return a.packed, a.failed
}

// answers keeps answers with what they were made from, so that what has not changed is not made again. Stored mail stays
// what it is, except for marks; whether it is still in the mailbox, and what its list shows, is asked of the cache or the
// database each time.
type answers struct {
	kept *otter.Cache[finding, answer]
}

// answer is one that is kept: of a mail, or of a mailbox's newest page.
type answer struct {
	*Answer
	entry mailstore.Entry // what it was made from: the mail's line,
	page  []byte          // or the page, of which
	limit int             // so many were shown
}

// answerOverhead is what an answer takes beside its bytes, roughly.
const answerOverhead = 1 << 10

func newAnswers(maxBytes int64) (*answers, error) {
	if maxBytes <= 0 {
		return nil, nil
	}
	kept, err := otter.New(&otter.Options[finding, answer]{
		MaximumWeight: uint64(maxBytes),
		Weigher: func(_ finding, a answer) uint32 {
			packed := len(a.Body) / 2 // perhaps
			return uint32(min(cap(a.Body)+packed+cap(a.page)+answerOverhead, math.MaxUint32))
		},
	})
	if err != nil {
		return nil, fmt.Errorf("making room for answers: %w", err)
	}
	return &answers{kept}, nil
}

func (a *answers) close() {
	if a != nil {
		a.kept.StopAllGoroutines()
	}
}

func (a *answers) get(f finding) (answer, bool) {
	if a == nil {
		return answer{}, false
	}
	return a.kept.GetIfPresent(f)
}

func (a *answers) set(f finding, made answer) {
	if a != nil {
		a.kept.Set(f, made)
	}
}

// forget drops what was made of deleted mails. It would not be shown, but it is to be gone.
func (a *answers) forget(mailbox string, gone []ulid.ULID) {
	if a == nil {
		return
	}
	a.kept.Invalidate(pageOf(mailbox))
	for _, id := range gone {
		a.kept.Invalidate(finding{mailbox, id})
	}
}

// pageOf is the key of a mailbox's newest page.
func pageOf(mailbox string) finding { return finding{mailbox: mailbox} }

// ListAnswer is List for a caller who makes of the same list the same answer each time.
func (r *Reader) ListAnswer(ctx context.Context, mailbox string, q mailstore.Query, compose func([]mailstore.Entry) *Answer) (*Answer, error) {
	var none ulid.ULID
	q.Limit = limitOf(q.Limit)
	if r.answers == nil || r.deps.Cache == nil || q.Limit > mailcache.PageEntries || q.Before != none || q.After != none || q.Contains != "" {
		entries, err := r.List(ctx, mailbox, q)
		if err != nil {
			return nil, err
		}
		return compose(entries), nil
	}
	page, err := r.page(ctx, mailbox)
	if err != nil {
		return nil, err
	}
	made, ok := r.answers.get(pageOf(mailbox))
	if ok && made.limit == q.Limit && bytes.Equal(made.page, page.Bytes()) && !r.graves.at(mailbox) {
		r.count("list", !page.Loaded())
		return made.Answer, nil
	}
	entries, err := r.cut(ctx, mailbox, page, q)
	if err != nil {
		return nil, err
	}
	made = answer{Answer: compose(entries), page: page.Bytes(), limit: q.Limit}
	if !r.graves.at(mailbox) {
		r.answers.set(pageOf(mailbox), made)
	}
	return made.Answer, nil
}

// MailAnswer is Open for a caller who makes of the same mail the same answer each time. Its errors are those of Open and of
// compose.
func (r *Reader) MailAnswer(ctx context.Context, mailbox string, id ulid.ULID, compose func(*Mail) (*Answer, error)) (*Answer, error) {
	what := finding{mailbox, id}
	var m *Mail
	var err error
	if made, ok := r.answers.get(what); !ok {
		m, err = r.Open(ctx, mailbox, id)
	} else if r.lists(mailbox, made.entry) {
		r.count("mail", true)
		return made.Answer, nil
	} else {
		var stored mailstore.Stored
		if stored, err = r.find(ctx, what); err == nil && stored.Entries[0] == made.entry {
			return made.Answer, nil
		}
		if err == nil {
			m, err = r.load(ctx, stored)
		}
	}
	if err != nil {
		if errors.Is(err, mailstore.ErrNotFound) {
			r.answers.forget(mailbox, []ulid.ULID{id})
		}
		return nil, err
	}
	defer m.Close()
	made := answer{entry: m.Entry}
	if made.Answer, err = compose(m); err != nil {
		return nil, err
	}
	r.answers.set(what, made)
	return made.Answer, nil
}

// lists says whether the cache knows that a line is in its mailbox, just as it is.
func (r *Reader) lists(mailbox string, line mailstore.Entry) bool {
	if r.deps.Cache == nil {
		return false
	}
	page, ok := r.deps.Cache.CachedPage(mailbox)
	if !ok || r.graves.have(mailbox, line.ID) {
		return false
	}
	found, ok := page.Find(line.ID)
	return ok && found == line
}
