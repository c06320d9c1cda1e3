package consume

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/wait"
)

// lane handles batches until there are no more. When ctx ends nothing is waited for any longer; work is the
// context of the handler, which lives a little longer so that a batch under way can be committed.
func (e *engine) lane(ctx, work context.Context, name string) {
	for batch := range e.batches {
		e.take(lane{e, ctx, work, name}, batch)
	}
}

// lane is one handler goroutine's view of the engine.
type lane struct {
	*engine
	ctx, work context.Context
	name      string
}

// take sorts a fetched batch: what can be handled together, what has to be handled alone, what not at all.
func (e *engine) take(l lane, batch []*delivery) {
	together := make([]*delivery, 0, len(batch))
	var alone []*delivery
	for _, d := range batch {
		if d.delivered > 1 {
			e.metrics.redeliveries.Inc()
		}
		mail, err := stream.Decode(d.record, e.log)
		switch {
		case errors.Is(err, stream.ErrTooNew):
			l.refuse(d, err)
		case err != nil:
			l.bury(d, err.Error())
		case e.selected != nil && !e.selected(mail):
			e.count.skipped.Add(1)
			l.finish(d, d.msg.Ack)
		case d.delivered >= deadAfter:
			d.mail = mail
			l.bury(d, fmt.Sprintf("delivered %d times without being settled: its handling seems to end the process", d.delivered))
		default:
			d.mail, mail.Delivered, mail.Alone = mail, d.delivered, d.delivered >= aloneAfter
			if mail.Alone {
				alone = append(alone, d)
			} else {
				together = append(together, d)
			}
		}
	}
	if len(together) > 0 {
		l.handle(together)
	}
	for _, d := range alone {
		l.handle([]*delivery{d})
	}
}

// handle calls the handler until every mail of the batch is settled.
func (l lane) handle(batch []*delivery) {
	if l.before != nil && l.before(l.ctx, len(batch)) != nil {
		l.giveBack(batch...)
		return
	}
	l.metrics.batchSize.Observe(float64(len(batch)))
	for n := 0; ; n++ {
		verdicts, fault := l.call(batch)
		if fault != nil {
			l.fault(batch, fault)
			break
		}
		var why error
		batch, why = l.settle(batch, verdicts)
		if len(batch) == 0 {
			break
		}
		if l.gate.close(l.name, why) {
			l.logger.Warn("cannot go on; keeping the mail and trying until it works", "mails", len(batch), "reason", why)
		}
		if !wait.For(l.ctx, l.pace.Backoff(n)) {
			l.giveBack(batch...)
			break
		}
	}
	if l.gate.open(l.name) && l.ctx.Err() == nil {
		l.logger.Info("going on")
	}
}

// call runs the handler. A fault is a panic or an answer of the wrong length: a bug, not a state of the world.
func (l lane) call(batch []*delivery) (verdicts []Verdict, fault error) {
	defer func() {
		if p := recover(); p != nil {
			fault = fmt.Errorf("panic: %v", p)
			l.logger.Error("the handler panicked", "mails", len(batch), "panic", p, "stack", string(debug.Stack()))
		}
	}()
	mails := make([]*stream.Message, len(batch))
	for i, d := range batch {
		mails[i] = d.mail
	}
	start := time.Now()
	verdicts = l.handler.Handle(l.work, mails)
	l.metrics.handle.Observe(time.Since(start).Seconds())
	if len(verdicts) != len(batch) {
		return nil, fmt.Errorf("the handler gave %d verdicts for %d mails", len(verdicts), len(batch))
	}
	for _, v := range verdicts {
		if v.kind == noVerdict {
			return nil, errors.New("the handler left a mail without a verdict")
		}
	}
	return verdicts, nil
}

// fault finds the mail at fault: a batch is handled one by one. A single mail uses up a delivery each time,
// is then handled alone, and is a dead letter when that does not help either.
func (l lane) fault(batch []*delivery, fault error) {
	if len(batch) > 1 {
		for _, d := range batch {
			l.handle([]*delivery{d})
		}
		return
	}
	d := batch[0]
	l.metrics.faults.Inc()
	if d.delivered+1 >= deadAfter {
		l.bury(d, fmt.Sprintf("failed in every one of %d attempts: %v", d.delivered, fault))
		return
	}
	l.logger.Error("a mail made the handler fail; it is tried again, alone in the end", "id", d.mail.ID, "delivered", d.delivered, "error", fault)
	delay := l.pace.Backoff(int(d.delivered))
	l.finish(d, func() error { return d.msg.NakWithDelay(delay) })
}
