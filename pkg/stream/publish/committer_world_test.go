package publish

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/stream"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// world is everything around a committer, made up: a clock, senders, a connection and a log. It holds the committer to
// its promises whatever happens in which order.
type world struct {
	t       testing.TB
	now     time.Time
	c       *committer
	mails   []*sent
	byItem  map[*item]*sent
	transit []*shipment       // published, and not yet decided by the log
	sizes   map[string]string // by id: what was published under it
	log     map[string]bool   // ids of messages that are stored, for de-duplication
	held    int               // bytes, as the publisher counts them
}

// sent is one mail and what its sender knows.
type sent struct {
	*item
	bytes    []byte // as they were
	told     bool
	err      error
	stored   int  // how often the log stored it
	accepted bool // its message was acknowledged as new
}

// shipment is one attempt as it left.
type shipment struct {
	attempt
	mails   []*sent
	written bool
	handed  bool // the connection has it
	decided bool // by the log
	answer  *answer
}

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func newWorld(t testing.TB) *world {
	w := &world{t: t, now: start, c: newCommitter(defaultLimits()), byItem: map[*item]*sent{}, log: map[string]bool{}, sizes: map[string]string{}}
	w.c.link(w.now, true)
	w.settle()
	return w
}

const patience = 60 * time.Second

// add has a sender publish a mail of that size.
func (w *world) add(size int) *sent {
	raw := bytes.Repeat([]byte{byte(len(w.mails)), byte(len(w.mails) >> 8), byte(size)}, size/3+1)[:size]
	id := ulid.ULID{0: 1, 14: byte(len(w.mails) >> 8), 15: byte(len(w.mails))}
	env := &mailv1.Envelope{Id: id[:], Size: uint64(size), Sha256: bytes.Repeat([]byte{7}, 32)}
	it, err := newItem(id.String(), Mail{Envelope: env, Raw: raw}, w.now.Add(patience))
	if err != nil {
		w.t.Fatal(err)
	}
	m := &sent{item: it, bytes: slices.Clone(raw)}
	w.mails, w.byItem[it] = append(w.mails, m), m
	w.held += size
	w.c.add(w.now, it)
	w.settle()
	return m
}

// settle does what the committer wants, as the driver does, and checks it.
func (w *world) settle() {
	out := w.c.take()
	for _, r := range out.settle {
		w.tell(w.byItem[r.item], r.err)
	}
	w.held -= out.release
	for _, a := range out.send {
		w.ship(a)
	}
	w.check()
}

func (w *world) tell(m *sent, err error) {
	if m.told {
		w.t.Fatalf("mail %s is told %v after it was told %v", m.id, err, m.err)
	}
	m.told, m.err = true, err
	if err == nil && !m.accepted {
		w.t.Fatalf("mail %s: 250, but no message with it was acknowledged", m.id)
	}
	if sure(err) && m.stored > 0 {
		w.t.Fatalf("mail %s is told that it is not in the log, but it is: %v", m.id, err)
	}
	for i := range m.bytes { // its bytes are another mail's now
		if m.raw != nil {
			m.raw[i] = 0xff
		}
	}
}

// sure says whether an error tells the sender that the mail is not in the log.
func sure(err error) bool { return err != nil && !errors.Is(err, ErrUnconfirmed) }

func (w *world) ship(a attempt) {
	if a.pack.awaited == 0 {
		w.t.Fatalf("attempt %d of a pack that nobody awaits", a.number)
	}
	s := &shipment{attempt: a}
	for _, it := range a.pack.items {
		s.mails = append(s.mails, w.byItem[it])
	}
	w.transit = append(w.transit, s)
}

// write makes the message of a shipment, as the driver does some time after it was told to send it, and checks it.
func (w *world) write(s *shipment) {
	if s.written {
		return
	}
	s.written = true
	msg := s.message("mail.in.0", "")
	got, err := stream.Unpack(msg.Header, msg.Data)
	if err != nil || len(got) != len(s.mails) {
		w.t.Fatalf("attempt %d of %d mails has %d: %v", s.number, len(s.mails), len(got), err)
	}
	if len(got) > 1 && (len(msg.Data) > stream.MaxPackBytes || headerSize(msg.Header) > stream.MaxPackHeader) {
		w.t.Fatalf("a pack of %d mails has %d bytes and %d of headers", len(got), len(msg.Data), headerSize(msg.Header))
	}
	var sum stream.Digest
	for _, m := range got {
		sum.Add(stream.DigestOf(m.Envelope))
	}
	if text := msg.Header.Get(stream.DigestHeader); len(got) > 1 && text != sum.String() || len(got) == 1 && text != "" {
		w.t.Fatalf("the digest of %d mails is %q, want %s", len(got), text, sum)
	}
	for i, m := range s.mails {
		if got[i].ID.String() != m.id || !bytes.Equal(got[i].Raw, m.bytes) {
			w.t.Fatalf("attempt %d: mail %d is not %s with its own bytes", s.number, i, m.id)
		}
	}
	content := fmt.Sprint(len(s.mails), len(msg.Data), s.mails[0].id)
	if was, ok := w.sizes[s.id]; ok && was != content {
		w.t.Fatalf("id %s is used for other bytes: %s, was %s", s.id, content, was)
	}
	w.sizes[s.id] = content
}

func headerSize(h nats.Header) (n int) {
	for k, v := range h {
		n += len(k) + len(v[0]) + 4
	}
	return n + 12
}

// check holds the books to what is there.
func (w *world) check() {
	held := 0
	for _, it := range w.c.queue {
		held += it.size
	}
	for _, p := range w.c.packs {
		held += len(p.payload)
		if p.awaited == 0 || p.dropped {
			w.t.Fatal("a pack that nobody awaits is kept")
		}
	}
	if held != w.held {
		w.t.Fatalf("the committer holds %d bytes, the publisher counts %d", held, w.held)
	}
	if len(w.c.spare) > keepSpare {
		w.t.Fatalf("%d payloads are kept for reuse", len(w.c.spare))
	}
}

// handed tells that the connection took a shipment, or failed.
func (w *world) handed(s *shipment, err error) {
	if s.handed {
		return
	}
	w.write(s)
	s.handed = true
	w.c.sent(w.now, s.attempt, err)
	w.settle()
}

// decide has the log act on a shipment. With refusal it stores nothing.
func (w *world) decide(s *shipment, refusal *refusal) {
	if s.decided {
		return
	}
	s.decided = true
	w.write(s)
	if refusal != nil {
		s.answer = &answer{Error: refusal}
		return
	}
	if w.log[s.id] {
		s.answer = &answer{Stream: "MAIL_0", Sequence: 1, Duplicate: true}
		return
	}
	w.log[s.id] = true
	s.answer = &answer{Stream: "MAIL_0", Sequence: 1}
	for _, m := range s.mails {
		m.stored++
		if m.told && sure(m.err) {
			w.t.Fatalf("mail %s was told that it is not in the log (%v), and now it is", m.id, m.err)
		}
	}
}

// reply brings the log's answer to a shipment back.
func (w *world) reply(s *shipment) {
	if s.answer == nil {
		return
	}
	a := *s.answer
	s.answer = nil
	if classify(a) == wrong {
		delete(w.sizes, s.pack.items[0].id) // its mails go one by one, the first under the same id
		delete(w.sizes, s.id)
	}
	if a.Error == nil && !a.Duplicate {
		for _, m := range s.mails {
			m.accepted = true
		}
	}
	w.c.answered(w.now, s.number, a)
	w.settle()
}

func (w *world) leave(m *sent) {
	if m.told || m.decided {
		return
	}
	err := w.c.leave(w.now, m.item, errors.New("the session is over"))
	w.tell(m, err)
	w.settle()
}

// pass lets time pass, with the ticks that the committer asks for.
func (w *world) pass(d time.Duration) {
	end := w.now.Add(d)
	for n := 0; ; n++ {
		at := w.c.wake()
		if at.IsZero() || at.After(end) {
			break
		}
		if n > 10_000 {
			w.t.Fatal("it wants to be ticked without end")
		}
		if at.After(w.now) {
			w.now = at
		}
		w.c.tick(w.now)
		w.settle()
	}
	w.now = end
}

func (w *world) link(up bool) {
	w.c.link(w.now, up)
	w.settle()
}

// end lets everything come to its end: nobody may be left without a word, nothing may be held.
func (w *world) end() {
	w.pass(patience + time.Second)
	for _, s := range w.transit { // what is still under way may arrive however late
		w.decide(s, nil)
		w.handed(s, nil)
		w.reply(s)
	}
	for _, m := range w.mails {
		if !m.told {
			w.t.Fatalf("mail %s was told nothing", m.id)
		}
	}
	if w.held != 0 || !w.c.idle() || len(w.c.attempts) != 0 {
		w.t.Fatalf("in the end %d bytes, %d mails, %d packs and %d attempts are held", w.held, len(w.c.queue), len(w.c.packs), len(w.c.attempts))
	}
}
