package storer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/stream"
)

// item is one mail of a batch with its place in it.
type item struct {
	index   int
	mail    mailstore.Mail
	message *stream.Message
}

// attempt is one call of Handle.
type attempt struct {
	*handler
	verdicts []stream.Verdict
	visible  []stream.StoredMail
}

// store writes items in one transaction. When the database refuses one of them, it halves until that one is alone:
// the rest is stored, whatever the one is.
func (a *attempt) store(ctx context.Context, items []item) {
	if len(items) == 0 {
		return
	}
	mails := make([]mailstore.Mail, len(items))
	for i, it := range items {
		mails[i] = it.mail
	}
	result, err := a.handler.store.PutBatch(ctx, mails)
	switch {
	case err == nil:
		a.done(items, result)
	case !hopeless(err) && mailstore.Classify(err) != mailstore.Data:
		for _, it := range items {
			a.settle(it.index, err)
		}
	case len(items) > 1:
		half := len(items) / 2
		a.store(ctx, items[:half])
		a.store(ctx, items[half:])
	default:
		a.lastAttempt(ctx, items[0], err)
	}
}

// lastAttempt stores a mail that was refused with empty derived columns: its raw bytes and its envelope are what
// matters.
func (a *attempt) lastAttempt(ctx context.Context, it item, refusal error) {
	if hopeless(refusal) {
		a.settle(it.index, refusal)
		return
	}
	a.logger.Warn("the database refused a mail; storing it without its derived columns",
		"id", it.mail.ID.String(), "error", refusal)
	result, err := a.handler.store.PutOne(ctx, it.mail)
	if err != nil {
		a.settle(it.index, err)
		return
	}
	a.done([]item{it}, result)
}

// hopeless says whether the mail itself is at fault, so that no other attempt can end better.
func hopeless(err error) bool {
	return errors.Is(err, errBadEnvelope) || errors.Is(err, stream.ErrDamaged) || errors.Is(err, mailstore.ErrMismatch)
}

// settle turns an error about one mail into its verdict. What is not known to be the mail's fault is tried again, for
// as long as it takes.
func (a *attempt) settle(index int, err error) {
	switch {
	case hopeless(err):
		a.verdicts[index] = stream.Dead(err.Error())
	case mailstore.Classify(err) == mailstore.Data:
		a.verdicts[index] = stream.Dead(fmt.Sprintf("the database refuses the mail: %v", err))
	default:
		a.verdicts[index] = stream.Retry(err)
	}
}

func (a *attempt) done(items []item, result mailstore.Result) {
	a.totals.add(result)
	for _, it := range items {
		a.verdicts[it.index] = stream.Done()
		a.visible = append(a.visible, stream.StoredMail{ID: it.mail.ID, Mailboxes: it.mail.Mailboxes})
		if a.delay != nil {
			// Ingress and storer may run on different machines: a negative delay is skew, not a measurement.
			a.delay.Observe(max(0, time.Since(it.mail.Received).Seconds()))
		}
	}
}
