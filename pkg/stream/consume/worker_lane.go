package consume

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
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
	var together, alone []item
	for _, d := range batch {
		if d.delivered > 1 {
			e.metrics.redeliveries.Inc()
		}
		for _, it := range l.open(d) {
			if it.mail.Alone {
				alone = append(alone, it)
			} else {
				together = append(together, it)
			}
		}
	}
	for some := range slices.Chunk(together, e.cfg.BatchMails) {
		l.handle(some)
	}
	for _, it := range alone {
		l.handle([]item{it})
	}
}

// open returns the mails of a message that are to be handled. The others, or the whole message, are settled.
func (l lane) open(d *delivery) (handle []item) {
	mails, err := stream.Decode(d.record, l.log)
	if errors.Is(err, stream.ErrTooNew) {
		l.refuse(d, err)
		return nil
	}
	if err != nil {
		mails = []*stream.Message{stream.Unreadable(d.record, l.log)}
	}
	d.open = len(mails)
	for _, m := range mails {
		m.Delivered, m.Alone = d.delivered, d.delivered >= aloneAfter
		it, bad := item{d, m}, err
		if bad == nil {
			bad = m.Verify()
		}
		switch {
		case bad != nil:
			l.bury(it, bad.Error())
		case l.selected != nil && !l.selected(m):
			l.count.skipped.Add(1)
			l.settled(it)
		case d.delivered >= deadAfter:
			l.bury(it, fmt.Sprintf("delivered %d times without being settled: its handling seems to end the process", d.delivered))
		default:
			handle = append(handle, it)
		}
	}
	return handle
}

// handle calls the handler until every mail of the batch is settled.
func (l lane) handle(batch []item) {
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
func (l lane) call(batch []item) (verdicts []Verdict, fault error) {
	defer func() {
		if p := recover(); p != nil {
			fault = fmt.Errorf("panic: %v", p)
			l.logger.Error("the handler panicked", "mails", len(batch), "panic", p, "stack", string(debug.Stack()))
		}
	}()
	mails := make([]*stream.Message, len(batch))
	for i, it := range batch {
		mails[i] = it.mail
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
func (l lane) fault(batch []item, fault error) {
	if len(batch) > 1 {
		for _, it := range batch {
			l.handle([]item{it})
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
	l.finish(d.delivery, func() error { return d.msg.NakWithDelay(delay) })
}
