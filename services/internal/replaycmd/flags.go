// Package replaycmd is the `replay` subcommand of the storer and the cachewarmer: flags, progress and summary around
// consume.Replay.
package replaycmd

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/sluice-mail/sluice/pkg/stream/consume"
	"github.com/sluice-mail/sluice/services/internal/moment"
)

// Options are the flags, parsed.
type Options struct {
	Replay  consume.Replay // range, filters and rate
	Reindex bool           // only rewrite the derived columns of what is stored
}

// list is a flag that may be given several times, or with commas.
type list []string

func (l *list) String() string { return strings.Join(*l, ",") }

func (l *list) Set(value string) error {
	for item := range strings.SplitSeq(value, ",") {
		if item = strings.TrimSpace(item); item != "" {
			*l = append(*l, item)
		}
	}
	return nil
}

// Parse reads the flags of `service replay`. It returns flag.ErrHelp after having printed the help, and every other
// mistake as one sentence. reindex says whether the service can rewrite derived columns only.
func Parse(service string, args []string, reindex bool, now time.Time, out io.Writer) (Options, error) {
	var (
		o                Options
		since, until     string
		rcpts, domains   list
		flags            = flag.NewFlagSet(service+" replay", flag.ContinueOnError)
		shard            = flags.Int("shard", -1, "only this `shard` (needed with --from-seq and --to-seq)")
		from, to         = flags.Uint64("from-seq", 0, "first `sequence` in the log; each is one message, with one mail or several"), flags.Uint64("to-seq", 0, "last `sequence` in the log")
		name             = flags.String("name", "", "`name` of the replay; the same name continues it after an interruption, and several processes with one name share the work")
		rate             = flags.Float64("rate", 0, "at most this many `mails` per second (0: as fast as possible)")
		dry              = flags.Bool("dry-run", false, "count what would be replayed, without changing anything")
		reindexRequested = new(bool)
	)
	flags.StringVar(&since, "since", "", "mail that the log took at or after this `time`: 24h (ago), 2026-01-31, or 2026-01-31T15:04:05Z")
	flags.StringVar(&until, "until", "", "mail that the log took before this `time`")
	flags.Var(&rcpts, "rcpt", "only mail for this `mailbox` (may be repeated)")
	flags.Var(&domains, "domain", "only mail for this `domain` (may be repeated)")
	if reindex {
		reindexRequested = flags.Bool("reindex", false, "rewrite the derived columns (subject, addresses, …) of mail that is stored; insert nothing")
	}
	flags.SetOutput(io.Discard)
	usage := func() {
		fmt.Fprintf(out, "usage: %s replay [flags]\n\nPasses a range of the log to the %s again, in parallel with live traffic. What is\nstored already stays as it is. Mail that arrives after the start is not part of the replay.\n\n", service, service)
		flags.SetOutput(out)
		flags.PrintDefaults()
		fmt.Fprint(out, "\nExit code: 0 all settled, 1 failed, 2 wrong usage, 3 some mails became dead letters, 130 interrupted.\n")
	}
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			usage()
		}
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q; see %s replay -help", flags.Arg(0), service)
	}
	var err error
	if o.Replay.Since, err = moment.Parse(since, now); err != nil {
		return o, fmt.Errorf("--since=%w", err)
	}
	if o.Replay.Until, err = moment.Parse(until, now); err != nil {
		return o, fmt.Errorf("--until=%w", err)
	}
	if !o.Replay.Until.IsZero() && !o.Replay.Since.Before(o.Replay.Until) {
		return o, errors.New("--since must be before --until")
	}
	if (*from > 0 || *to > 0) && *shard < 0 {
		return o, errors.New("--from-seq and --to-seq need --shard: sequences are counted separately in each shard")
	}
	if *to > 0 && *from > *to {
		return o, errors.New("--from-seq must not be above --to-seq")
	}
	if *rate < 0 {
		return o, errors.New("--rate must not be negative")
	}
	if *shard >= 0 {
		o.Replay.Shards = []int{*shard}
	}
	slices.Sort(rcpts)
	slices.Sort(domains)
	o.Replay.FromSeq, o.Replay.ToSeq = *from, *to
	o.Replay.Mailboxes, o.Replay.Domains = rcpts, domains
	o.Replay.Name, o.Replay.Rate, o.Replay.DryRun = *name, *rate, *dry
	o.Reindex = *reindexRequested
	// A process that continues or shares this replay has to give the same flags, word for word.
	o.Replay.Parameters = fmt.Sprintf("since=%s until=%s shard=%d seq=%d-%d rcpt=%s domain=%s reindex=%t",
		since, until, *shard, *from, *to, rcpts.String(), domains.String(), o.Reindex)
	return o, nil
}
