package publish

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/sluice-mail/sluice/pkg/stream"
)

const (
	// answerWait is how long one attempt waits. An election of a leader takes 4 to 9 seconds; a second attempt
	// during it costs little, a fsync that takes longer than this costs a copy.
	answerWait = 5 * time.Second
	firstPause = 50 * time.Millisecond
	longPause  = 2 * time.Second
	// tooLargeLimit: a batch may be refused as too large after a change of leader, because its beginning is
	// unknown to the new one; when it happens again, it is too large.
	tooLargeLimit = 2
)

// commit publishes a flight until each of its mails is decided or given up by its Publish. Its first attempt goes on with
// the open batch, if some was sent ahead.
func (c *committer) commit(ctx context.Context, flight []*item, open *openBatch) {
	single, tooLarge := false, 0
	for wait := firstPause; ; wait = min(2*wait, longPause) {
		flight = c.remaining(flight)
		if len(flight) == 0 {
			return
		}
		if !c.publisher.link.wait(ctx) {
			giveUp(flight)
			return
		}
		var pause bool
		if open != nil || len(flight) >= breakEven && !single && c.shard.grouped() {
			b := cmp.Or(open, newBatch(c.publisher.nc))
			open = nil
			a, sent := c.sendBatch(ctx, b, flight)
			if !sent { // those who could carry the commit gave up just now, which says nothing about the shard
				continue
			}
			if pause = c.settle(flight, a); classify(a) == wrong {
				single = true
			}
			if a.Error != nil && a.Error.ErrCode == codeBatchTooLarge {
				tooLarge++
				single = single || tooLarge >= tooLargeLimit
			}
		} else {
			pause = c.sendSingly(ctx, flight)
		}
		if pause {
			flight = c.publisher.reroute(c, flight)
			select {
			case <-ctx.Done():
				giveUp(flight)
				return
			case <-time.After(wait):
			}
		}
	}
}

// remaining drops the mails that are decided or whose Publish has returned.
func (c *committer) remaining(flight []*item) []*item {
	rest := flight[:0]
	for _, it := range flight {
		it.mu.Lock()
		if !it.abandoned && !it.decided {
			rest = append(rest, it)
		}
		it.mu.Unlock()
	}
	return rest
}

func giveUp(flight []*item) {
	for _, it := range flight {
		it.mu.Lock()
		err := fmt.Errorf("%w: this ingress is stopping", ErrUnavailable)
		if it.unsure {
			err = fmt.Errorf("%w: this ingress is stopping", ErrUnconfirmed)
		}
		it.mu.Unlock()
		it.finish(err)
	}
}

// sendBatch publishes the flight as one atomic batch, or the rest of it when some was sent ahead, and waits for its one
// answer. Nothing is sent when no Publish of that rest waits any more.
func (c *committer) sendBatch(ctx context.Context, b *openBatch, flight []*item) (a answer, sent bool) {
	p := c.publisher
	p.metrics.batchSize.Observe(float64(len(flight)))
	lost := p.link.disconnected()
	t := p.replies.open(1)
	defer t.close()
	sent, err := c.sendMembers(b, flight, t.subject(0))
	if err != nil {
		// The commit was not sent, so the batch is not in the log; saying unsure costs nothing.
		return answer{lost: fmt.Errorf("%w: %w", errDisconnected, err)}, true
	}
	if !sent {
		return answer{}, false
	}
	_, a = t.await(ctx, lost, p.answerWait)
	if classify(a) == stored && !b.confirmed(a) {
		a = answer{lost: fmt.Errorf("%w: it names batch %q of %d, not %q of %d", errStrange, a.Batch, a.Count, b.id, b.size)}
	}
	return a, true
}

// sendMembers sends the mails that are not in the batch yet and whose Publish still waits, if there is one. None can
// give up meanwhile: the bytes of one that did are another mail's by now.
func (c *committer) sendMembers(b *openBatch, flight []*item, reply string) (sent bool, err error) {
	live := make([]*item, 0, len(flight))
	for _, it := range flight {
		it.mu.Lock()
		defer it.mu.Unlock()
		if !it.abandoned && it.batch != b {
			live = append(live, it)
		}
	}
	if len(live) == 0 {
		return false, nil
	}
	last := len(live) - 1
	for _, it := range live {
		it.batch, it.awaited = b, true
	}
	for _, it := range live[:last] {
		if err := b.add(it.message(stream.HeadSubject(c.shard.number))); err != nil {
			return true, err
		}
	}
	msg := live[last].message(stream.HeadSubject(c.shard.number))
	msg.Reply = reply
	return true, b.commit(msg)
}

// sendSingly publishes each mail by itself, all at once, and settles each as its answer comes.
func (c *committer) sendSingly(ctx context.Context, flight []*item) (pause bool) {
	p := c.publisher
	lost := p.link.disconnected()
	t := p.replies.open(len(flight))
	defer t.close()
	waiting := make(map[int]*item, len(flight))
	for i, it := range flight {
		p.metrics.batchSize.Observe(1)
		it.mu.Lock()
		if it.abandoned { // its bytes are another mail's by now
			it.mu.Unlock()
			continue
		}
		msg := it.message(stream.HeadSubject(c.shard.number))
		msg.Reply = t.subject(i)
		err := p.nc.PublishMsg(msg)
		it.awaited = err == nil
		it.mu.Unlock()
		if err != nil {
			pause = c.settle([]*item{it}, answer{lost: fmt.Errorf("%w: %w", errDisconnected, err)}) || pause
			continue
		}
		waiting[i] = it
	}
	deadline := time.Now().Add(p.answerWait)
	for len(waiting) > 0 {
		i, a := t.await(ctx, lost, time.Until(deadline))
		if i < 0 {
			for _, it := range waiting {
				c.settle([]*item{it}, a)
			}
			return true
		}
		if it := waiting[i]; it != nil {
			delete(waiting, i)
			pause = c.settleSingle(it, a) || pause
		}
	}
	return pause
}
