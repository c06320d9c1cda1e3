package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/sluice-mail/sluice/services/internal/process"
)

// status is the whole answer of status --json. Rates are per second, over the interval.
type status struct {
	Streams    []streamInfo `json:"streams"`
	Dead       uint64       `json:"dead_letters"`
	Unstored   uint64       `json:"unstored_messages"`
	Mails      uint64       `json:"estimated_unstored_mails"`
	Oldest     time.Time    `json:"oldest_unstored,omitzero"`
	AcceptRate float64      `json:"estimated_mails_accepted_per_second"`
	StoreRate  float64      `json:"estimated_mails_settled_per_second"`
}

func (c *ctl) status(ctx context.Context, e *process.Env) error {
	f := newFlags(e, "status", "[flags]", "Shows streams, consumers, lag, oldest unstored mail, dead letters and rates.")
	interval := f.Duration("interval", 2*time.Second, "time over which rates are measured; 0: do not measure")
	if _, err := f.parse(e.Args, 0, 0); err != nil {
		return err
	}
	conn, err := c.connect(ctx, e)
	if err != nil {
		return err
	}
	defer conn.Close()
	before, err := streamInfos(ctx, conn)
	if err != nil {
		return err
	}
	now := before
	if *interval > 0 {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(*interval):
		}
		if now, err = streamInfos(ctx, conn); err != nil {
			return err
		}
	}
	s := summarise(before, now, *interval)
	return f.print(s, func(w io.Writer) {
		writeStreams(w, s.Streams)
		fmt.Fprintf(w, "\naccepted ~%.0f mails/s, settled by the storer ~%.0f/s; unstored %d messages (~%d mails)", s.AcceptRate, s.StoreRate, s.Unstored, s.Mails)
		if !s.Oldest.IsZero() {
			fmt.Fprintf(w, ", the oldest for %s", time.Since(s.Oldest).Round(time.Second))
		}
		fmt.Fprintf(w, "; dead letters %d\n", s.Dead)
	})
}

// summarise adds up over the shards; the last stream is that of the dead letters.
func summarise(before, now []streamInfo, interval time.Duration) status {
	s := status{Streams: now, Dead: now[len(now)-1].Messages}
	seconds := max(interval.Seconds(), 1e-9)
	for i, shard := range now[:len(now)-1] {
		for j, c := range shard.Consumers {
			if c.Name != "storer" {
				continue
			}
			s.Unstored += c.Lag
			s.Mails += c.LagMails
			if !c.Oldest.IsZero() && (s.Oldest.IsZero() || c.Oldest.Before(s.Oldest)) {
				s.Oldest = c.Oldest
			}
			if interval > 0 && i < len(before)-1 {
				mails := float64(shard.Mails) / float64(max(1, shard.Messages)) // of a message
				s.AcceptRate += mails * float64(shard.Last-before[i].Last) / seconds
				s.StoreRate += mails * float64(c.AckFloor-before[i].Consumers[j].AckFloor) / seconds
			}
		}
	}
	return s
}
