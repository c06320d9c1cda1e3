package storer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/consume"
)

// item is one mail of a batch with its place in it.
type item struct {
	index int
	mail  mailstore.Mail
}

// attempt is one call of Handle.
type attempt struct {
	*handler
	batch    []*stream.Message
	verdicts []consume.Verdict
	visible  []stream.StoredMail // committed, not announced yet
	suspects []suspect
}

// convert makes an item of a message. It returns none if the message already has its verdict.
func (a *attempt) convert(ctx context.Context, index int) []item {
	mail, err := convert(ctx, a.batch[index])
	if err != nil {
		a.settle(index, err)
		return nil
	}
	return []item{{index, mail}}
}

// store writes items in one transaction. When the database refuses one of them, store bisects the batch until that one is alone;
// the rest is stored. An error without a known class counts as a refusal only if the database accepts a
// probe; an item that then fails alone is left to judge.
func (a *attempt) store(ctx context.Context, items []item) {
	if len(items) == 0 {
		return
	}
	mails := make([]mailstore.Mail, len(items))
	for i, it := range items {
		mails[i] = it.mail
	}
	result, err := a.handler.store.PutBatch(ctx, mails)
	if unclear(err) {
		if state := a.handler.store.Probe(ctx); state != nil {
			err = hitsAll(err, state)
		}
	}
	switch {
	case err == nil:
		a.done(items, result)
	case !refusal(err):
		for _, it := range items {
			a.settle(it.index, err)
		}
	case len(items) > 1:
		half := len(items) / 2
		a.store(ctx, items[:half])
		a.store(ctx, items[half:])
	case unclear(err):
		a.conclude(items[0], result, err)
	default:
		result, err = a.putOne(ctx, items[0], err)
		a.conclude(items[0], result, err)
	}
}

// putOne stores a refused mail again with empty derived columns, because only its raw bytes and its envelope are essential.
func (a *attempt) putOne(ctx context.Context, it item, refusal error) (mailstore.Result, error) {
	if hopeless(refusal) {
		return mailstore.Result{}, refusal
	}
	a.logger.Warn("the database refused a mail; trying without its derived columns",
		"id", it.mail.ID.String(), "error", refusal)
	return a.handler.store.PutOne(ctx, it.mail)
}

// conclude turns the outcome of storing one mail alone into a verdict, or makes the mail a suspect.
func (a *attempt) conclude(it item, result mailstore.Result, err error) {
	switch {
	case err == nil:
		a.done([]item{it}, result)
	case unclear(err):
		a.suspects = append(a.suspects, suspect{it, err})
	default:
		a.settle(it.index, err)
	}
}

// hopeless says whether the mail itself is at fault, so that no other attempt can end better.
func hopeless(err error) bool {
	return errors.Is(err, errBadEnvelope) || errors.Is(err, stream.ErrDamaged) || errors.Is(err, mailstore.ErrMismatch)
}

// refusal says whether an error is about one of the mails, as far as is known.
func refusal(err error) bool {
	return hopeless(err) || mailstore.Classify(err) == mailstore.Data || unclear(err)
}

// settle turns an error about one mail into its verdict. If the mail is not known to be at fault, it is retried until it
// succeeds.
func (a *attempt) settle(index int, err error) {
	switch {
	case hopeless(err):
		a.verdicts[index] = consume.Dead(err.Error())
	case mailstore.Classify(err) == mailstore.Data:
		a.verdicts[index] = consume.Dead(fmt.Sprintf("the database refuses the mail: %v", err))
	default:
		a.verdicts[index] = consume.Retry(err)
	}
}

func (a *attempt) done(items []item, result mailstore.Result) {
	a.totals.add(result)
	now := time.Now()
	for _, it := range items {
		a.verdicts[it.index] = consume.Done()
		a.visible = append(a.visible, stream.StoredMail{ID: it.mail.ID, Mailboxes: it.mail.Mailboxes})
		if a.delay != nil {
			// Ingress and storer may run on different machines; a negative delay is clock skew and not measured.
			a.delay.Observe(max(0, now.Sub(it.mail.Received).Seconds()))
		}
	}
}

// announce tells readers what has become visible in the database.
func (a *attempt) announce() {
	if a.stored != nil && len(a.visible) > 0 {
		a.stored(a.batch[0].Shard, a.visible)
	}
	a.visible = nil
}
