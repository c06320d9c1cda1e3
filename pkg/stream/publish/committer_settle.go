package publish

import (
	"fmt"
	"strconv"
)

// settle applies one answer to all the mails it is about; pause says that it is no use to try again at once.
func (c *committer) settle(flight []*item, a answer) (pause bool) {
	c.publisher.metrics.answers.WithLabelValues(a.label()).Inc()
	result := classify(a)
	c.note(result, a, size(flight))
	for _, it := range flight {
		switch result {
		case stored:
			it.finish(nil)
		case full:
			it.finish(fmt.Errorf("%w: %w", ErrFull, a.reason()))
		default:
			it.later(result, a.reason())
		}
	}
	return result == unsure || result == busy || result == absent
}

// settleSingle is settle for a mail published by itself: what the log finds wrong with it now will not get better.
func (c *committer) settleSingle(it *item, a answer) (pause bool) {
	if classify(a) != wrong {
		return c.settle([]*item{it}, a)
	}
	c.publisher.metrics.answers.WithLabelValues(a.label()).Inc()
	c.publisher.logger.Error("the log refuses a mail as it is; its sender was told to try again", "id", it.id, "reason", a.reason())
	it.finish(fmt.Errorf("%w: %w", ErrRefused, a.reason()))
	return false
}

// later notes why a mail is not stored yet.
func (it *item) later(result outcome, reason error) {
	it.mu.Lock()
	defer it.mu.Unlock()
	it.last, it.awaited = reason, false
	switch result {
	case doubled:
		it.copy++
		it.unsure = true
	case unsure:
		it.unsure = true
	case busy:
		it.last = fmt.Errorf("%w: %w", ErrBusy, reason)
	case absent:
		it.last = fmt.Errorf("%w: %w", ErrUnavailable, reason)
	}
}

func size(flight []*item) (bytes int) {
	for _, it := range flight {
		bytes += it.size
	}
	return bytes
}

// note keeps the shard's health in step.
func (c *committer) note(result outcome, a answer, bytes int) {
	switch {
	case result == stored || result == doubled:
		c.shard.worked()
	case result == full:
		c.shard.isFull(bytes)
	case a.lost != nil || result == busy: // a full disk may look like being busy, for ever
		c.shard.failed()
	}
}

// copyID is the de-duplication id of the n-th message of a mail: the first carries the bare id. A copy is
// published when an earlier attempt is in the log but perhaps not on its disk; the database keeps one of them.
func copyID(id string, n int) string {
	if n <= 1 {
		return id
	}
	return id + "/" + strconv.Itoa(n)
}
