package main

import (
	"context"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/services/internal/process"
)

// streamInfo is one stream as status and streams info show it.
type streamInfo struct {
	Name       string         `json:"name"`
	Messages   uint64         `json:"messages"`
	Mails      uint64         `json:"estimated_mails"` // a message carries one or several
	Bytes      uint64         `json:"bytes"`
	MaxBytes   int64          `json:"max_bytes"`
	First      uint64         `json:"first_sequence"`
	Last       uint64         `json:"last_sequence"`
	FirstTime  time.Time      `json:"first_time"`
	Replicas   int            `json:"replicas"`
	Durability string         `json:"durability"`
	Consumers  []consumerInfo `json:"consumers"`
}

// consumerInfo is one consumer of a stream.
type consumerInfo struct {
	Name        string    `json:"name"`
	Lag         uint64    `json:"lag_messages"` // not acknowledged, delivered or not
	LagMails    uint64    `json:"estimated_lag_mails"`
	Unacked     int       `json:"unacked"`
	Redelivered int       `json:"redelivered"`
	AckFloor    uint64    `json:"ack_floor"`
	Oldest      time.Time `json:"oldest_unacked,omitzero"`
}

func (c *ctl) streams(ctx context.Context, e *process.Env) error {
	f := newFlags(e, "streams", "info | ensure", "info shows the log's streams and consumers. ensure creates missing ones, and enlarges them to what STREAM_* says.\nIt never shrinks or deletes any. Every storer does the same when it starts.")
	args, err := f.parse(e.Args, 1, 1)
	if err != nil {
		return err
	}
	conn, err := c.connect(ctx, e)
	if err != nil {
		return err
	}
	defer conn.Close()
	switch args[0] {
	case "info":
		infos, err := streamInfos(ctx, conn)
		if err != nil {
			return err
		}
		return f.print(infos, func(w io.Writer) { writeStreams(w, infos) })
	case "ensure":
		durability, err := stream.ReadDurability(ctx, c.cfg.Log.MonitorURL, conn)
		if err != nil {
			e.Logger.Warn("cannot read whether the log syncs before it acknowledges; the last known setting stays in force", "reason", err)
		}
		return stream.Ensure(ctx, conn, c.cfg.Shape, durability, e.Logger)
	}
	return fmt.Errorf("%w: streams %q; see sluicectl streams -help", process.ErrUsage, args[0])
}

// streamInfos reads every shard and the dead letters.
func streamInfos(ctx context.Context, conn *nats.Conn) ([]streamInfo, error) {
	js, err := jetstream.New(conn)
	if err != nil {
		return nil, err
	}
	reader := stream.NewReader(conn)
	shards, err := reader.Snapshot(ctx, time.Time{})
	if err != nil {
		return nil, fmt.Errorf("looking at the log: %w", err)
	}
	var infos []streamInfo
	for _, b := range shards {
		info, err := oneStream(ctx, js, stream.StreamName(b.Shard))
		if err != nil {
			return nil, err
		}
		all, err := lookAround(ctx, reader, stream.Bounds{Shard: b.Shard, From: info.First, To: info.Last})
		if err != nil {
			return nil, err
		}
		info.Mails = all.estimateSequences(info.Messages)
		for _, name := range []string{stream.Storer, stream.Cachewarmer} {
			consumer, err := js.Consumer(ctx, info.Name, name)
			if err != nil {
				return nil, fmt.Errorf("looking at consumer %s of %s: %w", name, info.Name, err)
			}
			i := consumer.CachedInfo()
			ci := consumerInfo{Name: name, Lag: i.NumPending + uint64(i.NumAckPending), Unacked: i.NumAckPending,
				Redelivered: i.NumRedelivered, AckFloor: i.AckFloor.Stream}
			if ci.Lag > 0 {
				s, err := lookAround(ctx, reader, stream.Bounds{Shard: b.Shard, From: ci.AckFloor + 1, To: info.Last})
				if err != nil {
					return nil, err
				}
				ci.Oldest, ci.LagMails = s.oldest, s.estimate(ci.Lag)
			}
			info.Consumers = append(info.Consumers, ci)
		}
		infos = append(infos, info)
	}
	dead, err := oneStream(ctx, js, stream.DeadStream)
	if err != nil {
		return nil, err
	}
	return append(infos, dead), nil
}

// sampleSize is how many sequences are looked at to estimate how many mails a message carries.
const sampleSize = 256

// sampled is what a few messages of a range say about it.
type sampled struct {
	oldest                     time.Time // when the log took the first
	sequences, messages, mails uint64
}

// lookAround reads a few messages at the beginning, in the middle and at the end of a range.
func lookAround(ctx context.Context, reader *stream.Reader, b stream.Bounds) (s sampled, err error) {
	const places = 4
	step := max((b.To-min(b.From, b.To)+1)/places, sampleSize/places)
	for from := b.From; from <= b.To; from += step {
		part, err := look(ctx, reader, stream.Bounds{Shard: b.Shard, From: from, To: b.To})
		if err != nil {
			return s, err
		}
		if s.oldest.IsZero() {
			s.oldest = part.oldest
		}
		s.sequences, s.messages, s.mails = s.sequences+part.sequences, s.messages+part.messages, s.mails+part.mails
	}
	return s, nil
}

// look reads the heads of the first messages of a range.
func look(ctx context.Context, reader *stream.Reader, b stream.Bounds) (s sampled, err error) {
	b.To = min(b.To, b.From+sampleSize/4-1)
	last := uint64(0)
	err = reader.Heads(ctx, b, func(h stream.Head) error {
		if s.oldest.IsZero() {
			s.oldest = h.Time
		}
		if h.Sequence != last {
			s.messages++
			last = h.Sequence
		}
		s.mails++
		return nil
	})
	if err != nil {
		return s, fmt.Errorf("looking at the first mails of a range: %w", err)
	}
	if b.To >= b.From {
		s.sequences = b.To - b.From + 1
	}
	return s, nil
}

// estimate is how many mails so many messages with mails carry, estimateSequences how many so many messages of any kind,
// parts of large mails among them.
func (s sampled) estimate(messages uint64) uint64 { return share(messages, s.mails, s.messages) }

func (s sampled) estimateSequences(n uint64) uint64 { return share(n, s.mails, s.sequences) }

func share(n, part, whole uint64) uint64 {
	if whole == 0 {
		return n
	}
	return uint64(float64(n)*float64(part)/float64(whole) + 0.5)
}

func oneStream(ctx context.Context, js jetstream.JetStream, name string) (streamInfo, error) {
	s, err := js.Stream(ctx, name)
	if err != nil {
		return streamInfo{}, fmt.Errorf("looking at stream %s (storer migrate creates it): %w", name, err)
	}
	i := s.CachedInfo()
	return streamInfo{
		Name: name, Messages: i.State.Msgs, Mails: i.State.Msgs, Bytes: i.State.Bytes, MaxBytes: i.Config.MaxBytes,
		First: i.State.FirstSeq, Last: i.State.LastSeq, FirstTime: i.State.FirstTime,
		Replicas: i.Config.Replicas, Durability: i.Config.Metadata[stream.DurabilityKey],
	}, nil
}

func writeStreams(w io.Writer, infos []streamInfo) {
	fmt.Fprintln(w, "STREAM\tMESSAGES\tMAILS\tBYTES\tFULL\tSEQUENCES\tSINCE\tREPLICAS\tDURABILITY")
	for _, s := range infos {
		since := "-"
		if s.Messages > 0 {
			since = time.Since(s.FirstTime).Round(time.Second).String()
		}
		fmt.Fprintf(w, "%s\t%d\t~%d\t%s\t%.1f%%\t%d-%d\t%s\t%d\t%s\n", s.Name, s.Messages, s.Mails, size(int64(s.Bytes)),
			100*float64(s.Bytes)/float64(max(1, s.MaxBytes)), s.First, s.Last, since, s.Replicas, s.Durability)
	}
	fmt.Fprintln(w, "\nCONSUMER\tLAG\tMAILS\tUNACKED\tREDELIVERED\tACK FLOOR\tOLDEST")
	for _, s := range infos {
		for _, c := range s.Consumers {
			oldest := "-"
			if !c.Oldest.IsZero() {
				oldest = time.Since(c.Oldest).Round(time.Second).String()
			}
			fmt.Fprintf(w, "%s/%s\t%d\t~%d\t%d\t%d\t%d\t%s\n", s.Name, c.Name, c.Lag, c.LagMails, c.Unacked, c.Redelivered, c.AckFloor, oldest)
		}
	}
}
