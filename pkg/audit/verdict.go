package audit

import (
	"fmt"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/audit/acks"
	"github.com/sluice-mail/sluice/pkg/mailstore"
)

// verify says whether the row is of the bytes that were accepted, and those are still there.
func (a *auditor) verify(r record, row mailstore.Row) bool {
	switch {
	case row.Size != r.size:
		a.wrong(r.id, fmt.Sprintf("stored with %d bytes, accepted with %d", row.Size, r.size))
	case row.SHA256 != r.sha:
		a.wrong(r.id, "stored with another SHA-256 than accepted")
	case row.Erased:
		a.report.Erased++
		a.ack(r.id, acks.Decided, r.sha)
		if a.kept != nil {
			a.kept(r, false)
		}
	default:
		return true
	}
	return false
}

func (a *auditor) stored(r record) {
	a.report.Stored += int64(r.mails())
	a.report.last = r.last()
	if r.pack != nil {
		return // whoever asks about single mails compares no packs
	}
	a.ack(r.id, acks.Stored, r.sha)
	if a.kept != nil {
		a.kept(r, true)
	}
}

// absent: the mail is in the log and not in the database.
func (a *auditor) absent(r record) {
	a.count(&r)
	switch {
	case a.expired(r.id):
		a.report.Expired++
		a.ack(r.id, acks.Expired, r.sha)
	case !r.settled:
		a.report.Pending++
		a.ack(r.id, acks.Pending, r.sha)
	default:
		a.absentees = append(a.absentees, r)
	}
}

// extra: the mail is in the database and not in what was read of the log.
func (a *auditor) extra(row mailstore.Row) {
	a.ack(row.ID, acks.Stored, row.SHA256)
	at := ulid.Time(row.ID.Time())
	switch {
	case at.After(a.started.Add(-Slack)):
		// Accepted while the audit ran: the log was read only up to its start.
	case at.Before(a.floor.Add(Slack)), !a.hole.IsZero() && at.After(a.hole.Add(-Slack)):
		a.report.Purged++ // or it was in what the log has lost
	default:
		a.report.Extra++
		a.report.problem(row.ID, "extra: in the database, but not in the log, although the log reaches back that far")
	}
}

// undecodable: the log has a message whose envelope is no envelope; it ends as a dead letter.
func (a *auditor) undecodable(r record) {
	a.report.Mails++
	if r.settled {
		a.report.Dead++
	} else {
		a.report.Pending++
	}
}

func (a *auditor) count(r *record) {
	a.report.Mails += int64(r.mails())
	a.report.Bytes += r.size
}

func (a *auditor) wrong(id ulid.ULID, what string) {
	a.report.Wrong++
	a.report.problem(id, "wrong: "+what)
	a.ack(id, acks.Wrong, [32]byte{})
}

func (a *auditor) expired(id ulid.ULID) bool {
	if a.options.Retention == 0 {
		return false
	}
	// As the stores do: retention rounds up to whole days.
	return mailstore.Day(id) < mailstore.Day(mailstore.IDAt(a.started.Add(-a.options.Retention)))
}

func (a *auditor) ack(id ulid.ULID, what acks.State, sha [32]byte) {
	if a.options.Acks != nil {
		a.options.Acks.Mark(id, what, sha)
	}
}
