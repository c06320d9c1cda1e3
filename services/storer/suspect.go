package storer

import (
	"context"
	"fmt"
	"time"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/stream/consume"
)

// suspect is a mail that failed alone with an error of no known class, although the database took a probe.
type suspect struct {
	item
	err error
}

const (
	trials     = 3
	trialPause = 2 * time.Second // before the second trial; twice that before the third
)

// unclear says that no class is known for an error, so it may be about one mail or about the state of the server.
func unclear(err error) bool {
	return err != nil && !hopeless(err) && mailstore.Classify(err) == mailstore.Unknown
}

// hitsAll is an unclear error that turned out to be the state of the server: a probe fails as well, with state.
func hitsAll(err, state error) error {
	return &mailstore.Error{Class: mailstore.Pause, Op: "storing mail, and a probe as well", Err: fmt.Errorf("%w; %w", err, state)}
}

// judge decides about the suspects. A mail is at fault, and becomes a dead letter, only if it fails in every trial, both complete and
// with empty derived columns, while the database accepts a probe before each trial and after the last. If the server is at fault,
// the probes fail too; if its fault comes and goes, the mail succeeds in one of the trials. In neither case is a mail buried.
// All suspects of a batch are tried together, so that many take no longer than one.
func (a *attempt) judge(ctx context.Context) {
	for n := range trials {
		if len(a.suspects) == 0 || !pause(ctx, time.Duration(n)*trialPause) || !a.probePasses(ctx) {
			a.release()
			return
		}
		suspects := a.suspects
		a.suspects = nil
		for _, s := range suspects {
			a.try(ctx, s.item)
		}
	}
	if len(a.suspects) == 0 || !a.probePasses(ctx) {
		a.release()
		return
	}
	for _, s := range a.suspects {
		a.verdicts[s.index] = consume.Dead(fmt.Sprintf("the database refuses the mail (alone, in %d attempts) and accepts other mail: %v", trials, s.err))
	}
}

// try tries a suspect alone, whole and then with empty derived columns.
func (a *attempt) try(ctx context.Context, it item) {
	result, err := a.handler.store.PutBatch(ctx, []mailstore.Mail{it.mail})
	if refusal(err) {
		result, err = a.putOne(ctx, it, err)
	}
	a.conclude(it, result, err)
}

// probePasses says whether the database accepts mail now. If it does not, the suspects are not at fault, and their errors
// are changed to say so.
func (a *attempt) probePasses(ctx context.Context) bool {
	state := a.handler.store.Probe(ctx)
	if state == nil {
		return true
	}
	for i := range a.suspects {
		a.suspects[i].err = hitsAll(a.suspects[i].err, state)
	}
	return false
}

// release gives all suspects the verdict Retry.
func (a *attempt) release() {
	for _, s := range a.suspects {
		a.settle(s.index, s.err)
	}
}

// pause waits, and says whether it could: not when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}
