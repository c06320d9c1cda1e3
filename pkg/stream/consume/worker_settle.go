package consume

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/stream/internal/wait"
)

// settle acts on the verdicts: this is the only place where a mail is acknowledged, and it is reached only
// after the handler has returned. It gives back what has to be tried again, and why.
func (l lane) settle(batch []item, verdicts []Verdict) (again []item, why error) {
	for i, it := range batch {
		switch v := verdicts[i]; v.kind {
		case done:
			l.count.done.Add(1)
			l.count.bytes.Add(it.mail.Envelope.GetSize())
			l.metrics.settled(it.delivery)
			l.settled(it)
		case dead:
			l.bury(it, v.reason)
		default:
			again, why = append(again, it), v.err
		}
	}
	if len(again) > 0 && why == nil {
		why = errors.New("the handler asked for another try")
	}
	return again, why
}

// settled notes the final verdict about a mail; with the last one its message is acknowledged.
func (l lane) settled(it item) {
	if it.open--; it.open == 0 {
		l.finish(it.delivery, it.msg.Ack)
	}
}

// finish ends our hold of a delivery with the given word to the server. An unheard word is no loss: the
// mail is delivered again, and storing it again changes nothing.
func (e *engine) finish(d *delivery, word func() error) {
	e.held.drop(d)
	if err := word(); err != nil && !errors.Is(err, jetstream.ErrMsgAlreadyAckd) {
		e.logger.Debug("the log did not hear of a settled mail and will deliver it again", "sequence", d.record.Sequence, "error", err)
	}
}

// giveBack keeps mails that we cannot settle any more until run returns them to whoever consumes next. Not at
// once: while our own fetch is still open they would come straight back and use up their deliveries.
func (e *engine) giveBack(batch ...item) {
	e.returnMu.Lock()
	defer e.returnMu.Unlock()
	for _, it := range batch {
		if !slices.Contains(e.returned, it.delivery) {
			e.returned = append(e.returned, it.delivery)
		}
	}
}

func (e *engine) returnAll() {
	e.returnMu.Lock()
	defer e.returnMu.Unlock()
	for _, d := range e.returned {
		e.finish(d, d.msg.Nak)
	}
	e.returned = nil
}

// refuse holds a mail this version does not understand. It is never a dead letter: the program is too old,
// so it pauses until it is replaced.
func (l lane) refuse(d *delivery, why error) {
	if l.gate.close("requires", fmt.Errorf("mail at sequence %d of %s: %w; update this program", d.record.Sequence, d.record.Stream, why)) {
		l.logger.Error("paused: a mail in the log requires a newer version of this program; update it",
			"stream", d.record.Stream, "sequence", d.record.Sequence, "reason", why)
	}
	l.giveBack(item{delivery: d})
}

// bury makes a dead letter of a mail and only then takes it out of the consumer's hands. When there is no room
// for dead letters the worker pauses: nothing is dropped.
func (l lane) bury(it item, reason string) {
	reason = oneLine(reason)
	id := it.mail.Key()
	if l.cfg.Grave == nil {
		l.metrics.dead.Inc()
		l.count.dead.Add(1)
		l.logger.Warn("skipping a mail that cannot be handled", "id", id, "reason", reason)
		l.settled(it)
		return
	}
	for n := 0; ; n++ {
		err := l.cfg.Grave.Bury(l.work, it.mail, reason)
		if err == nil {
			break
		}
		err = fmt.Errorf("writing a dead letter: %w (make room with: sluicectl dead retry or dead drop)", err)
		if l.gate.close(l.name+" dead", err) {
			l.logger.Error("paused: a mail cannot be stored and its dead letter cannot be written", "id", id, "reason", reason, "error", err)
		}
		if !wait.For(l.ctx, l.pace.Backoff(n)) {
			l.giveBack(it)
			return
		}
	}
	l.gate.open(l.name + " dead")
	l.metrics.dead.Inc()
	l.count.dead.Add(1)
	l.logger.Error("dead letter: a mail cannot be stored", "id", id, "place", it.mail.Place(), "attempts", it.delivered, "reason", reason)
	l.settled(it)
}

// maxReason keeps a reason, which may quote an error of any length, to what fits a header and a log line.
const maxReason = 500

// oneLine makes a text fit for a header.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if len(s) > maxReason {
		s = strings.ToValidUTF8(s[:maxReason], "") + "…"
	}
	if s == "" {
		s = "no reason given"
	}
	return s
}
