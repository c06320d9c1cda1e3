// Package acks compares what senders recorded of the replies they got with what an audit finds in the log and the database.
package acks

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
)

// Acks are what senders recorded of the replies they got, 64 bytes of memory each. Fill it with Add and Unsure.
type Acks struct {
	acked  []ack
	unsure [][32]byte // SHA-256 of mails that may have been accepted without their sender knowing
	sorted bool

	extra       int64 // rows of mails whose sender did not see a 250, explained by unsure
	unexplained int64
	first       []ulid.ULID // of unexplained
}

// ack is one recorded 250.
type ack struct {
	id    ulid.ULID
	sha   [32]byte
	state State
}

// State is what became of a mail. For the meaning of each see audit.Report.
type State uint8

// The states.
const (
	unseen State = iota
	Stored
	Pending
	Dead
	Expired
	Decided
	Wrong
)

// Database is the part of a mailstore.Store that is needed here.
type Database interface {
	IDs(ctx context.Context, from, to ulid.ULID, fn func(mailstore.Row) error) error
}

// Report says what became of the mails that got 250, as numbers of mails. For the meaning of each see audit.Report.
type Report struct {
	Recorded int64 `json:"recorded"` // recorded 250s; the following are parts of it
	Stored   int64 `json:"stored"`
	Pending  int64 `json:"pending"`
	Dead     int64 `json:"dead"`
	Expired  int64 `json:"expired"`
	// Decided were dropped, erased, or accepted as lost.
	Decided int64 `json:"decided"`
	Missing int64 `json:"missing"`
	Wrong   int64 `json:"wrong"`
	// NotKnown were not found, but not everything could be read.
	NotKnown int64 `json:"not_known"`
	// Duplicates are 250s with an id that another 250 had already.
	Duplicates int64 `json:"duplicates"`
	// Unsure is how many mails the senders recorded without a clear answer; Extra how many of these are stored.
	Unsure int64 `json:"unsure"`
	Extra  int64 `json:"extra"`
	// Unexplained are rows since the first recorded 250 that belong to no recorded mail at all.
	Unexplained int64 `json:"unexplained"`
}

// Add records a 250.
func (a *Acks) Add(id ulid.ULID, sha [32]byte) { a.acked = append(a.acked, ack{id: id, sha: sha}) }

// Unsure records a mail whose answer was unclear: "not confirmed", or none after the end of the data.
func (a *Acks) Unsure(sha [32]byte) { a.unsure = append(a.unsure, sha) }

func (a *Acks) sort() {
	if a.sorted {
		return
	}
	slices.SortFunc(a.acked, func(x, y ack) int { return x.id.Compare(y.id) })
	slices.SortFunc(a.unsure, func(x, y [32]byte) int { return bytes.Compare(x[:], y[:]) })
	a.sorted = true
}

// find returns the range of acked entries with that id.
func (a *Acks) find(id ulid.ULID) []ack {
	a.sort()
	i, _ := slices.BinarySearchFunc(a.acked, id, func(r ack, id ulid.ULID) int { return r.id.Compare(id) })
	j := i
	for j < len(a.acked) && a.acked[j].id == id {
		j++
	}
	return a.acked[i:j]
}

// maxNamed bounds the mails that are named of a kind.
const maxNamed = 100

// Mark notes what log and database say about a mail.
func (a *Acks) Mark(id ulid.ULID, what State, sha [32]byte) {
	found := a.find(id)
	for i := range found {
		found[i].state = what
		if what == Stored && sha != found[i].sha {
			found[i].state = Wrong
		}
	}
	if len(found) > 0 || what == Pending || len(a.acked) == 0 || id.Compare(a.acked[0].id) < 0 {
		return
	}
	// Nobody saw a 250 for it: then its sender must have been left without an answer.
	if _, explained := slices.BinarySearchFunc(a.unsure, sha, func(x, y [32]byte) int { return bytes.Compare(x[:], y[:]) }); explained {
		a.extra++
		return
	}
	a.unexplained++
	if len(a.first) < maxNamed {
		a.first = append(a.first, id)
	}
}

// Finish looks up what the audit did not come across (the log may have let it go), and counts. whole says that the audit
// saw everything; what is not found then is missing. problem is called for the first mails with which something is wrong.
func (a *Acks) Finish(ctx context.Context, db Database, whole bool, problem func(id ulid.ULID, what string)) (Report, error) {
	a.sort()
	for _, id := range a.first {
		problem(id, "unexplained: stored or dead, but no recorded mail")
	}
	err := a.lookUp(ctx, db)
	r := Report{Recorded: int64(len(a.acked)), Unsure: int64(len(a.unsure)), Extra: a.extra, Unexplained: a.unexplained}
	for i, entry := range a.acked {
		if i > 0 && a.acked[i-1].id == entry.id {
			r.Duplicates++
		}
		switch entry.state {
		case Stored:
			r.Stored++
		case Pending:
			r.Pending++
		case Dead:
			r.Dead++
		case Expired:
			r.Expired++
		case Decided:
			r.Decided++
		case Wrong:
			r.Wrong++
		case unseen:
			if err != nil || !whole {
				r.NotKnown++
				continue
			}
			r.Missing++
			if r.Missing <= maxNamed {
				problem(entry.id, "missing: got 250, and is neither in the log nor in the database")
			}
		}
	}
	return r, err
}

// lookUp asks the database for the recorded mails that have no state yet.
func (a *Acks) lookUp(ctx context.Context, db Database) error {
	first := slices.IndexFunc(a.acked, func(e ack) bool { return e.state == unseen })
	if first < 0 {
		return nil
	}
	last := first
	for i := range a.acked {
		if a.acked[i].state == unseen {
			last = i
		}
	}
	err := db.IDs(ctx, a.acked[first].id, a.acked[last].id, func(row mailstore.Row) error {
		found := a.find(row.ID)
		for i := range found {
			if found[i].state != unseen {
				continue
			}
			found[i].state = Stored
			if found[i].sha != row.SHA256 {
				found[i].state = Wrong
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("looking up recorded mails in the database: %w", err)
	}
	return nil
}
