package publish

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluice-mail/sluice/pkg/stream"
)

// pack has the mails of one message of the log. It owns a copy of their bytes, so a Publish can return at its deadline without
// waiting for the pack, and every attempt sends the same bytes under the same id.
type pack struct {
	items     []*item
	envelopes [][]byte
	digest    stream.Digest
	payload   []byte
	copy      int // 1, or n for the message <id>/n
	tries     int
	// attempt is the number of the attempt that is on its way, 0 if there is none. due is when that attempt times out, or when
	// the next one may be made.
	attempt uint64
	due     time.Time
	begun   time.Time // the first attempt
	awaited int       // mails whose Publish still waits
	unsure  bool      // an attempt may have stored it
	last    error     // why it is not stored yet
	// sending counts attempts that are being written to the connection. Until then the payload must not change, even if the pack
	// is decided.
	sending int
	dropped bool
}

// attempt is one publish of a pack.
type attempt struct {
	number uint64
	pack   *pack
	id     string
}

// message is what is published. The payload is not copied: tell sent when the connection has it.
func (a attempt) message(subject, reply string) *nats.Msg {
	msg := stream.EncodePack(subject, a.id, a.pack.envelopes, a.pack.digest, a.pack.payload)
	msg.Reply = reply
	return msg
}

// full says that more waits than fits into a pack, or just as much.
func (c *committer) full() bool {
	return c.bytes >= stream.MaxPackBytes || c.room >= stream.PackRoom || len(c.queue) >= maxPackMails
}

// half says that half of what fits into a pack waits.
func (c *committer) half() bool {
	return c.bytes >= stream.MaxPackBytes/2 || c.room >= stream.PackRoom/2
}

// maxPackMails bounds a pack of tiny mails, as the headers do.
const maxPackMails = 500

// cut makes a pack of as much of the queue as fits, at least one mail.
func (c *committer) cut() *pack {
	n, bytes, room := 0, 0, 0
	for ; n < len(c.queue) && n < maxPackMails; n++ {
		it := c.queue[n]
		if n > 0 && (bytes+it.size > stream.MaxPackBytes || room+it.room > stream.PackRoom) {
			break
		}
		bytes, room = bytes+it.size, room+it.room
	}
	p := &pack{items: slices.Clone(c.queue[:n]), copy: 1, awaited: n, payload: c.buffer(bytes)}
	for _, it := range p.items {
		p.payload = append(p.payload, it.raw...)
		p.envelopes = append(p.envelopes, it.envelope)
		p.digest.Add(it.digest)
		it.raw, it.pack = nil, p
		if it.last != nil {
			p.last = it.last
		}
	}
	c.queue = append(c.queue[:0], c.queue[n:]...)
	clear(c.queue[len(c.queue) : len(c.queue)+n])
	c.bytes, c.room = c.bytes-bytes, c.room-room
	c.packs = append(c.packs, p)
	return p
}

// send makes the next attempt of a pack.
func (c *committer) send(now time.Time, p *pack) {
	c.number++
	if p.tries++; p.tries == 1 {
		p.begun = now
	}
	p.attempt, p.due = c.number, now.Add(c.answer)
	p.sending++
	c.attempts[c.number] = p
	c.out.send = append(c.out.send, attempt{c.number, p, copyID(p.items[0].id, p.copy)})
}

// copyID is the de-duplication id of the n-th message of a pack: the first carries the bare id. A copy is published
// when an earlier attempt is in the log but perhaps not on its disk; the database keeps one of each of its mails.
func copyID(id string, n int) string {
	if n <= 1 {
		return id
	}
	return id + "/" + strconv.Itoa(n)
}

// unqueue takes a mail out of the queue.
func (c *committer) unqueue(it *item) {
	if i := slices.Index(c.queue, it); i >= 0 {
		c.queue = slices.Delete(c.queue, i, i+1)
		c.bytes, c.room = c.bytes-it.size, c.room-it.room
	}
}

// drop forgets a pack that is decided, or that nobody awaits any more.
func (c *committer) drop(p *pack) {
	if p.dropped {
		return
	}
	p.dropped = true
	c.forget(p)
	c.out.release += len(p.payload)
	c.recycle(p)
}

// forget: its attempts are nobody's any more.
func (c *committer) forget(p *pack) {
	c.packs = slices.DeleteFunc(c.packs, func(q *pack) bool { return q == p })
	maps.DeleteFunc(c.attempts, func(_ uint64, q *pack) bool { return q == p })
}

// sent tells that the connection has the message of an attempt, or does not: then err says why.
func (c *committer) sent(now time.Time, a attempt, err error) {
	a.pack.sending--
	c.recycle(a.pack)
	if err != nil && c.attempts[a.number] == a.pack && a.pack.attempt == a.number {
		c.lose(now, a.pack, err)
	}
	c.advance(now)
}

// keepSpare is how many payloads are kept for reuse.
const keepSpare = 4

func (c *committer) recycle(p *pack) {
	if !p.dropped || p.sending > 0 || p.payload == nil {
		return
	}
	if cap(p.payload) >= stream.MaxPackBytes && len(c.spare) < keepSpare {
		c.spare = append(c.spare, p.payload[:0])
	}
	p.payload = nil
}

// buffer is memory for a payload of n bytes: a small one is not worth keeping.
func (c *committer) buffer(n int) []byte {
	if n < stream.MaxPackBytes/8 {
		return make([]byte, 0, n)
	}
	if last := len(c.spare) - 1; last >= 0 {
		b := c.spare[last]
		c.spare = c.spare[:last]
		return b
	}
	return make([]byte, 0, max(n, stream.MaxPackBytes))
}
