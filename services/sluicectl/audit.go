package main

import (
	"cmp"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/audit"
	"github.com/sluice-mail/sluice/pkg/audit/acks"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/dead"
	"github.com/sluice-mail/sluice/pkg/stream/tombstone"
	"github.com/sluice-mail/sluice/services/internal/load"
	"github.com/sluice-mail/sluice/services/internal/moment"
	"github.com/sluice-mail/sluice/services/internal/process"
)

// audited is the whole answer of audit --json.
type audited struct {
	audit.Report
	Before []audit.Tally `json:"purged_before"`
}

func (c *ctl) audit(ctx context.Context, e *process.Env) error {
	f := newFlags(e, "audit", "[flags] | accept ID|--gap MAIL_0:101-200 --why TEXT", `Compares the log with the database by id: is every accepted mail stored, waiting, or a dead letter?
Mail that has left the log was audited before that; its tally is added at the end. Nothing is changed without --repair.
accept records that a mail, or a range that the log has lost, cannot be recovered, so that retention no longer waits for it.
Exit code: 0 all accounted for, 1 something is missing or wrong, 3 not known: a shard, the dead letters, the database or a
monitor did not answer.`)
	since := f.String("since", "", "only mail accepted since this `time`: 1h (ago), 2026-01-31 or 2026-01-31T15:04:05Z (default: all in the log)")
	acks := f.String("acks", "", "`file` of recorded replies (sluicectl load --record): look up each 250 in log and database")
	deep := f.Bool("deep", false, "also read and hash the bytes of every stored mail")
	repair := f.Bool("repair", false, "store mail again that is missing in the database and still in the log")
	gap := f.String("gap", "", "with accept: the `range` that the log has lost, as printed by audit")
	why := f.String("why", "", "with accept: the `reason`, kept with the decision")
	args, err := f.parse(e.Args, 0, 2)
	if err != nil {
		return err
	}
	if len(args) > 0 {
		return c.accept(ctx, e, args, *gap, *why)
	}
	o := audit.Options{Deep: *deep, Retention: c.cfg.Write.Retention}
	if o.Since, err = moment.Parse(*since, time.Now()); err != nil {
		return fmt.Errorf("%w: --since=%w", process.ErrUsage, err)
	}
	if *acks != "" {
		if o.Acks, err = readAcks(*acks); err != nil {
			return err
		}
	}
	start := time.Now()
	o.Progress = func(mails int64) {
		if time.Since(start) > 5*time.Second {
			fmt.Fprintf(e.Stderr, "audit: %d mails, %.0f/s\n", mails, float64(mails)/time.Since(start).Seconds())
		}
	}
	answer, err := c.join(ctx, e, o, *repair)
	if err != nil {
		return err
	}
	if err := f.print(answer, func(w io.Writer) { writeAudit(w, answer) }); err != nil {
		return err
	}
	switch {
	case answer.Unaccounted() > 0:
		return process.ExitCode(1)
	case len(answer.NotKnown) > 0:
		return exitNotKnown
	}
	return nil
}

// exitNotKnown: nothing was found to be wrong, but not everything could be checked.
const exitNotKnown = process.ExitCode(3)

// join audits. What does not answer is in the report.
func (c *ctl) join(ctx context.Context, e *process.Env, o audit.Options, repair bool) (audited, error) {
	var answer audited
	conn, err := c.connect(ctx, e)
	if err != nil {
		answer.NotKnown = append(answer.NotKnown, err.Error())
		return answer, nil
	}
	defer conn.Close()
	store, err := c.store(e)
	if err != nil {
		return answer, err
	}
	defer store.Close()
	reader, letters := stream.NewReader(conn), dead.New(conn)
	if repair {
		o.Repair = func(ctx context.Context, places []audit.Place) error {
			var failed error
			for _, p := range places {
				m, err := reader.Message(ctx, p.Shard, p.Sequence, p.Index)
				if err == nil {
					err = letters.Resend(ctx, m)
				}
				failed = cmp.Or(failed, err)
			}
			return failed
		}
	}
	lost, until, lostErr := audit.LostStreams(ctx, conn)
	o.LostUntil = until
	if answer.Report, err = audit.Run(ctx, audit.Sources{Log: reader, Dead: dead.NewIndex(conn), DB: store, Stones: tombstone.New(conn)}, o); err != nil {
		return answer, err
	}
	answer.Gaps = append(answer.Gaps, lost...)
	if lostErr != nil {
		answer.NotKnown = append(answer.NotKnown, lostErr.Error())
	}
	if answer.Before, err = audit.Tallies(ctx, conn); err != nil {
		answer.NotKnown = append(answer.NotKnown, err.Error())
	}
	if c.cfg.Log.MonitorURL == "" {
		return answer, nil
	}
	if _, err := stream.ReadDurability(ctx, c.cfg.Log.MonitorURL, conn); err != nil {
		answer.NotKnown = append(answer.NotKnown, err.Error())
	}
	return answer, nil
}

func writeAudit(w io.Writer, a audited) {
	r := a.Report
	fmt.Fprintf(w, "log:\t%d mails, %s; published again: %d\n", r.Mails, size(r.Bytes), r.Copies)
	fmt.Fprintf(w, "stored %d\tpending %d\tdead %d\texpired %d\tmissing %d\twrong %d\tunlisted %d\textra %d\n",
		r.Stored, r.Pending, r.Dead, r.Expired, r.Missing, r.Wrong, r.Unlisted, r.Extra)
	fmt.Fprintf(w, "dropped %d\terased %d\taccepted as lost %d\trepaired %d\n", r.Dropped, r.Erased, r.Accepted, r.Repaired)
	if r.Purged > 0 {
		fmt.Fprintf(w, "stored and no longer in the log:\t%d\n", r.Purged)
	}
	for _, t := range a.Before {
		if t.To == 0 {
			continue
		}
		fmt.Fprintf(w, "%s, purged up to %d:\t%d mails audited before: stored %d, dead %d, expired %d, dropped, erased or accepted %d\n",
			t.Stream, t.To, t.Mails, t.Stored, t.Dead, t.Expired, t.Decided)
	}
	if k := r.Acks; k != nil {
		fmt.Fprintf(w, "accepted %d\tstored %d\tduplicates %d\tpending %d\tdead %d\texpired %d\tmissing %d\twrong %d\n",
			k.Recorded, k.Stored, k.Duplicates, k.Pending, k.Dead, k.Expired, k.Missing, k.Wrong)
		fmt.Fprintf(w, "answers never seen: %d\tstored of these: %d\tunexplained rows: %d\n", k.Unsure, k.Extra, k.Unexplained)
	}
	for _, g := range r.Gaps {
		fmt.Fprintln(w, g)
	}
	for _, p := range r.Problems {
		fmt.Fprintf(w, "%s\t%s\n", p.ID, p.What)
	}
	for _, what := range r.NotKnown {
		fmt.Fprintf(w, "not known: %s\n", what)
	}
	switch n := r.Unaccounted(); {
	case n > 0:
		fmt.Fprintf(w, "FAILED: %d mails are unaccounted for\n", n)
	case len(r.NotKnown) > 0:
		fmt.Fprintln(w, "NOT KNOWN: all mail that could be checked is accounted for; the rest could not be checked")
	default:
		fmt.Fprintln(w, "ok: every mail is accounted for")
	}
}

// readAcks reads a record of sluicectl load.
func readAcks(name string) (*acks.Acks, error) {
	file, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("opening the recorded replies: %w", err)
	}
	defer file.Close()
	recorded := new(acks.Acks)
	err = load.ReadAcks(file, func(a load.Ack) error {
		var sha [32]byte
		if n, err := hex.Decode(sha[:], []byte(a.SHA256)); err != nil || n != len(sha) {
			return fmt.Errorf("mail %d of the record has no SHA-256", a.Index)
		}
		switch a.State {
		case load.Acked:
			id, err := ulid.ParseStrict(a.ID)
			if err != nil {
				return fmt.Errorf("mail %d of the record got 250 without an id: %q", a.Index, a.Reply)
			}
			recorded.Add(id, sha)
		case load.Unconfirmed:
			recorded.Unsure(sha)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", name, err)
	}
	return recorded, nil
}
