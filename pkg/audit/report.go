package audit

import (
	"fmt"

	"github.com/oklog/ulid/v2"
)

// Report counts mails by what became of them.
type Report struct {
	// Mails is how many different mails the log held in the range.
	Mails int64 `json:"mails"`
	// Copies is how often the log had a mail a second time: published again when the first answer was not seen.
	Copies int64 `json:"copies"`
	// Stored are in the database with the size and SHA-256 the envelope gives.
	Stored int64 `json:"stored"`
	// Pending are not in the database yet: the storer has not settled them.
	Pending int64 `json:"pending"`
	// Dead are dead letters.
	Dead int64 `json:"dead"`
	// Dropped are dead letters an operator dropped, Erased what its readers deleted, Accepted lost mail of which an operator
	// has said that it is lost.
	Dropped  int64 `json:"dropped"`
	Erased   int64 `json:"erased"`
	Accepted int64 `json:"accepted"`
	// Expired are older than the retention of the database.
	Expired int64 `json:"expired"`
	// Purged are in the database, and so old that the log has let them go.
	Purged int64 `json:"purged"`
	// Repaired were missing and are stored again; they are among Stored.
	Repaired int64 `json:"repaired"`
	// Missing are settled and nowhere. It must be 0.
	Missing int64 `json:"missing"`
	// Extra are in the database although the log, which reaches back that far, does not have them.
	Extra int64 `json:"extra"`
	// Wrong are stored with another size or SHA-256 than accepted. It must be 0.
	Wrong int64 `json:"wrong"`
	// Unlisted are in the database, and a mailbox that they were sent to does not list them: nobody sees them there. It must be 0.
	Unlisted int64 `json:"unlisted"`
	// Bytes is the size of the mails in the log.
	Bytes int64 `json:"bytes"`

	// Gaps are the sequences the log has lost, but for those that an operator has accepted. There must be none.
	Gaps []Gap `json:"gaps,omitempty"`
	// NotKnown says what could not be looked at: a shard, the dead letters, the database. The counts are of what could be.
	NotKnown []string `json:"not_known,omitempty"`
	// Acks is the comparison with recorded replies, nil without them.
	Acks *AckReport `json:"acks,omitempty"`
	// Problems are the first mails that are missing, wrong or extra.
	Problems []Problem `json:"problems,omitempty"`

	last ulid.ULID // the last mail that was found stored
}

// Problem is one mail that is not where it should be.
type Problem struct {
	ID   ulid.ULID `json:"id"`
	What string    `json:"what"`
}

// Gap is a range of sequences of a stream, both ends included, that the log does not have any more.
type Gap struct {
	Stream string `json:"stream"`
	From   uint64 `json:"from"`
	To     uint64 `json:"to"`
	What   string `json:"what"`
}

func (g Gap) String() string { return fmt.Sprintf("%s:%d-%d: %s", g.Stream, g.From, g.To, g.What) }

// maxProblems bounds Report.Problems.
const maxProblems = 100

func (r *Report) problem(id ulid.ULID, what string) {
	if len(r.Problems) < maxProblems {
		r.Problems = append(r.Problems, Problem{ID: id, What: what})
	}
}

func (r *Report) notKnown(err error) { r.NotKnown = append(r.NotKnown, err.Error()) }

// first names the first thing that is amiss.
func (r *Report) first() string {
	for _, g := range r.Gaps {
		return g.String()
	}
	for _, p := range r.Problems {
		return p.ID.String() + ": " + p.What
	}
	return "none named"
}

// Unaccounted is how many mails cannot be accounted for; of a gap, how many messages.
func (r *Report) Unaccounted() int64 {
	n := r.Missing + r.Wrong + r.Unlisted
	for _, g := range r.Gaps {
		n += int64(g.To - g.From + 1)
	}
	if r.Acks != nil {
		n += r.Acks.Missing + r.Acks.Wrong + r.Acks.Unexplained
	}
	return n
}
