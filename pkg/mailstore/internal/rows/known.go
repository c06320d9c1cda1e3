package rows

import (
	"context"
	"database/sql"
	"slices"

	"github.com/oklog/ulid/v2"
)

// Known is the mails of a batch that were there before, each with the mailboxes that its stored envelope names; one that was
// deleted from all of them names none any more.
type Known map[ulid.ULID][][16]byte

// Add adds a mail by its stored envelope.
func (k *Known) Add(id ulid.ULID, envelope []byte) {
	if *k == nil {
		*k = make(Known)
	}
	(*k)[id] = Mboxes(envelope)
}

// Lines leaves out the lines of known mails that their stored envelopes do not speak of. A mail that is there gets no other ones,
// because it counts the mailboxes that list it; what its envelope names and is lost is put back.
func (k Known) Lines(inbox []Inbox) []Inbox {
	if len(k) == 0 {
		return inbox
	}
	lines := make([]Inbox, 0, len(inbox)) // not in place: the batch may be written once more
	for i := range inbox {
		if boxes, known := k[inbox[i].ID]; !known || slices.Contains(boxes, inbox[i].Mbox) {
			lines = append(lines, inbox[i])
		}
	}
	return lines
}

// Of is how many of these lines are those of known mails.
func (k Known) Of(lines []Inbox) (n int) {
	for i := range lines {
		if _, known := k[lines[i].ID]; known {
			n++
		}
	}
	return n
}

// Condition is one that the rows of a mail meet.
type Condition struct {
	SQL  string
	Args func(id ulid.ULID) []any
}

// Recount counts again how many mailboxes list each known mail, after a line was put back: it may be one that had been deleted.
func (k Known) Recount(ctx context.Context, tx *sql.Tx, line, mail Condition) error {
	for id := range k {
		var refs int
		if err := tx.QueryRowContext(ctx, "SELECT COUNT(*) FROM inbox WHERE state<2 AND "+line.SQL, line.Args(id)...).Scan(&refs); err != nil {
			return err
		}
		if refs == 0 { // deleted, or a mail of nobody
			continue
		}
		if _, err := tx.ExecContext(ctx, "UPDATE mail SET refs=? WHERE "+mail.SQL, append([]any{refs}, mail.Args(id)...)...); err != nil {
			return err
		}
	}
	return nil
}
