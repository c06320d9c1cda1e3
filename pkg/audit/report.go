package audit

import (
	"fmt"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/audit/acks"
)

// Report counts mails by what became of them.
type Report struct {
	// Mails is how many different mails the log held in the range.
	Mails int64 `json:"mails"`
	// Copies is how often the log had a mail again: it was published twice because the first answer did not arrive.
	Copies int64 `json:"copies"`
	// Stored are in the database with the size and SHA-256 the envelope gives.
	Stored int64 `json:"stored"`
	// Pending are not in the database yet: the storer has not settled them.
	Pending int64 `json:"pending"`
	// Dead are dead letters.
	Dead int64 `json:"dead"`
	// Dropped are dead letters that an operator dropped. Erased are mails that readers deleted from every mailbox. Accepted are
	// lost mails whose loss an operator has accepted.
	Dropped  int64 `json:"dropped"`
	Erased   int64 `json:"erased"`
	Accepted int64 `json:"accepted"`
	// Expired are older than the retention of the database.
	Expired int64 `json:"expired"`
	// Purged are in the database, and so old that they have been purged from the log.
	Purged int64 `json:"purged"`
	// Repaired were missing and are stored again; they are among Stored.
	Repaired int64 `json:"repaired"`
	// Missing are settled, but neither in the database nor dead letters. It must be 0.
	Missing int64 `json:"missing"`
	// Extra are in the database but not in the log, although the log reaches back that far.
	Extra int64 `json:"extra"`
	// Wrong are stored with another size or SHA-256 than accepted. It must be 0.
	Wrong int64 `json:"wrong"`
	// Unlisted are in the database, but not listed in a mailbox that they were sent to, so nobody sees them there. It must be 0.
	Unlisted int64 `json:"unlisted"`
	// Bytes is the size of the mails in the log.
	Bytes int64 `json:"bytes"`

	// Gaps are the sequences that the log has lost, except those that an operator has accepted. There must be none.
	Gaps []Gap `json:"gaps,omitempty"`
	// NotKnown names what could not be read: a shard, the dead letters, the database. The counts cover only the rest.
	NotKnown []string `json:"not_known,omitempty"`
	// Acks is the comparison with recorded replies, nil without them.
	Acks *acks.Report `json:"acks,omitempty"`
	// Problems are the first mails that are missing, wrong or extra.
	Problems []Problem `json:"problems,omitempty"`

	last ulid.ULID // the last mail that was found stored
}

// Problem is one mail that is not where it should be.
type Problem struct {
	ID   ulid.ULID `json:"id"`
	What string    `json:"what"` // a sentence for the operator
}

// Gap is a range of sequences of a stream, both ends included, that the log does not have any more.
type Gap struct {
	Stream string `json:"stream"`
	From   uint64 `json:"from"`
	To     uint64 `json:"to"`
	What   string `json:"what"` // a sentence for the operator
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
