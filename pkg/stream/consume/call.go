package consume

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/record"
	"github.com/sluice-mail/sluice/pkg/stream/internal/settle"
)

// work does jobs until there are no more. When ctx ends, it does not wait for further ones. handling is the context of the
// handler, which ends a little later, so that work in progress can be committed.
func (d *driver) work(ctx, handling context.Context) {
	for j := range d.jobs {
		switch {
		case j.Bury != nil:
			d.bury(handling, j)
		case d.before != nil && d.before(ctx, len(j.Mails)) != nil:
			d.tell(func(s *settle.Settler, now time.Time) { s.GaveUp(now, j) })
		default:
			verdicts, fault := d.verdicts(handling, j.Mails)
			d.tell(func(s *settle.Settler, now time.Time) { s.Answered(now, j, verdicts, fault) })
		}
	}
}

// verdicts are those of the handler, which is given verified mails unless it wants none. When some mails are damaged it is not called: they are dead, and the others still to be
// handled.
func (d *driver) verdicts(ctx context.Context, mails []*settle.Mail) ([]settle.Verdict, error) {
	batch, verdicts, damaged := make([]*stream.Message, len(mails)), make([]settle.Verdict, len(mails)), false
	for i, it := range mails {
		batch[i] = it.Message
		if it.Bad == nil && !it.Verified && !d.cfg.Unverified {
			it.Bad, it.Verified = it.Verify(), true
		}
		if it.Bad != nil {
			verdicts[i], damaged = settle.Dead(it.Bad.Error()), true
		}
	}
	if damaged {
		return verdicts, nil
	}
	return d.call(ctx, batch)
}

// call runs the handler. A fault is a panic or an answer of the wrong length: a bug, not a state of the world.
func (d *driver) call(ctx context.Context, batch []*stream.Message) (verdicts []settle.Verdict, fault error) {
	defer func() {
		if p := recover(); p != nil {
			fault = fmt.Errorf("panic: %v", p)
			d.logger.Error("the handler panicked", "mails", len(batch), "panic", p, "stack", string(debug.Stack()))
		}
	}()
	d.metrics.batchSize.Observe(float64(len(batch)))
	start := time.Now()
	verdicts = d.handler.Handle(ctx, batch)
	d.metrics.handle.Observe(time.Since(start).Seconds())
	if len(verdicts) != len(batch) {
		return nil, fmt.Errorf("the handler gave %d verdicts for %d mails", len(verdicts), len(batch))
	}
	for _, v := range verdicts {
		if v.None() {
			return nil, errors.New("the handler left a mail without a verdict")
		}
	}
	return verdicts, nil
}

// bury makes a dead letter of a mail. When there is no room for dead letters the worker pauses: nothing is dropped.
func (d *driver) bury(ctx context.Context, j *settle.Job) {
	m := j.Bury.Message
	if d.purged(ctx, m) {
		d.tell(func(s *settle.Settler, now time.Time) { s.Gone(now, j) })
		return
	}
	err := d.cfg.Grave.Bury(ctx, m, j.Reason)
	d.tell(func(s *settle.Settler, now time.Time) { s.Buried(now, j, err) })
}

// purged says whether a large mail was purged from the log while this process handled it. Retention purges only settled mail, so
// another process has stored the mail. Then missing parts do not mean that it is damaged.
func (d *driver) purged(ctx context.Context, m *stream.Message) bool {
	if m.Envelope.GetParts() == 0 {
		return false
	}
	_, err := d.log.Sequence(ctx, m.Stream, m.Sequence)
	return errors.Is(err, record.ErrNotFound)
}

// finish settles a delivery with the given answer to the server. If the answer does not arrive, nothing is lost: the message is
// delivered again, and storing its mails again changes nothing.
func (e *engine) finish(d *delivery, word func() error) {
	e.held.drop(d)
	if err := word(); err != nil && !errors.Is(err, jetstream.ErrMsgAlreadyAckd) {
		e.logger.Debug("an acknowledgement did not reach the log, which will deliver the message again", "sequence", d.record.Sequence, "error", err)
	}
}
