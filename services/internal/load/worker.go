package load

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"time"
)

// worker sends mails over one connection at a time.
type worker struct {
	*run
	conn   *client
	before bool // there was a connection before this one
	raw    []byte
	wire   []byte
}

// outageError says that the server stayed away for longer than Config.Outage.
type outageError struct {
	to   string
	time time.Duration
	last error
}

func (e *outageError) Error() string {
	return fmt.Sprintf("no usable connection to %s for %v: %v", e.to, e.time, e.last)
}

func (e *outageError) Unwrap() error { return e.last }

// loop sends mails until bound is over; ctx ends earlier than its mails only when the run is cancelled.
func (w *worker) loop(ctx, bound context.Context) error {
	defer w.drop()
	for {
		if err := w.connect(bound); err != nil || bound.Err() != nil {
			return err
		}
		index, ok := w.take(bound)
		if !ok {
			return nil
		}
		if err := w.deliver(ctx, bound, index); err != nil {
			return err
		}
	}
}

// deliver tries one mail, again when it is wanted and makes sense.
func (w *worker) deliver(ctx, bound context.Context, index uint64) error {
	m := w.mails.Mail(index, w.raw)
	w.raw = m.Raw
	w.wire = appendWire(w.wire[:0], m.Raw)
	sum := sha256.Sum256(m.Raw)
	for try := 0; ; try++ {
		if err := w.connect(bound); err != nil || bound.Err() != nil {
			return err
		}
		ack := Ack{Index: index, Seed: w.cfg.Seed, SHA256: hex.EncodeToString(sum[:]), Size: len(m.Raw), From: m.From, SentAt: time.Now()}
		o := w.try(ctx, &m)
		ack.AckAt = time.Now()
		w.tally.add(&o, len(m.Raw), ack.AckAt.Sub(ack.SentAt))
		if err := w.remember(ack, &o); err != nil {
			return err
		}
		if !o.usable {
			w.drop()
		}
		again := o.state == Cut || o.state == Refused && o.reply.code < 500
		if !again || try >= w.cfg.Resend {
			return nil
		}
		if !sleep(bound, backoff(try)) {
			return nil
		}
	}
}

// try sends the mail once. When the run is cancelled meanwhile, it has two more seconds.
func (w *worker) try(ctx context.Context, m *Mail) outcome {
	conn, done := w.conn.conn, make(chan struct{})
	defer close(done)
	stop := context.AfterFunc(ctx, func() {
		select {
		case <-done:
		case <-time.After(grace):
			_ = conn.Close()
		}
	})
	defer stop()
	return w.conn.send(m, w.wire)
}

func (w *worker) remember(ack Ack, o *outcome) error {
	if w.record == nil {
		return nil
	}
	ack.State, ack.Rcpts = o.state, o.rcpts
	if ack.Rcpts == nil {
		ack.Rcpts = []string{}
	}
	if o.reply.code != 0 {
		ack.Reply = o.reply.String()
		if o.state == Acked || o.state == Unconfirmed {
			ack.ID = idOf(o.reply.text)
		}
	}
	if o.err != nil {
		ack.Error = o.err.Error()
	}
	return w.record.add(ack)
}

// connect makes sure there is a connection, however often it must try within Config.Outage.
func (w *worker) connect(ctx context.Context) error {
	since := time.Now()
	for try := 0; w.conn == nil && ctx.Err() == nil; try++ {
		conn, err := dial(ctx, &w.cfg)
		if err == nil {
			w.conn = conn
			if w.before {
				w.tally.reconnected()
			}
			w.before = true
			return nil
		}
		if ctx.Err() != nil {
			return nil
		}
		w.tally.lost(err)
		if away := time.Since(since); away > w.cfg.Outage {
			return &outageError{w.cfg.To, away.Round(time.Second), err}
		}
		sleep(ctx, backoff(try))
	}
	return nil
}

func (w *worker) drop() {
	if w.conn != nil {
		w.conn.close()
		w.conn = nil
	}
}

// backoff grows from 50 ms to 2 s; the random half keeps connections from coming back all at once.
func backoff(try int) time.Duration {
	most := 50 * time.Millisecond << min(try, 6)
	most = min(most, 2*time.Second)
	return most/2 + rand.N(most/2)
}
