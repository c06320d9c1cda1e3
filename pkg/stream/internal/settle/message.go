package settle

import (
	"strconv"
	"time"

	"github.com/sluice-mail/sluice/pkg/stream"
)

// Place is where a message stands in the log.
type Place struct {
	Stream   string
	Sequence uint64
}

func (p Place) String() string { return p.Stream + "/" + strconv.FormatUint(p.Sequence, 10) }

// Message is one message of the log, with its mails.
type Message struct {
	Place
	Shard     int     // number of its stream
	Delivered uint64  // deliveries so far, this one included
	Mails     []*Mail // in the order of the payload
	open      int     // mails without a final verdict
	Bytes     int     // of the payload
	taken     time.Time
	returned  bool
	// Deliveries are to be acknowledged. There are none when the message was read because its mark was found, and more
	// than one when it was delivered again meanwhile.
	Deliveries []any

	// What is known from marks that were found.
	singly bool  // its mails are to be handled one by one
	buried []int // those that are dead letters already
}

// Mail is one mail of a message.
type Mail struct {
	*stream.Message
	Of         *Message
	Unselected bool  // a replay leaves it out
	Bad        error // why it cannot be handed on at all
	Verified   bool  // its bytes are those that its envelope names
	final      bool
	doomed     bool
	panics     int // of calls with this mail alone
	found      int // how often a mark of this mail alone was found
}

func (it *Mail) size() int { return len(it.Raw) + len(it.EnvelopeBytes) }

// suspicious: an earlier attempt with this mail alone failed badly. It is handled with Alone set, without optional steps.
func (it *Mail) suspicious() bool { return it.panics > 0 || it.found > 0 }

// shelf has the mails of a shard that wait for a call, in the order of the log.
type shelf struct {
	shard int
	mails []*Mail
	bytes int
}

func (s *Settler) shelf(shard int) *shelf {
	for _, b := range s.shelves {
		if b.shard == shard {
			return b
		}
	}
	b := &shelf{shard: shard}
	s.shelves = append(s.shelves, b)
	return b
}

func (b *shelf) add(m *Message) {
	for _, it := range m.Mails {
		if !it.final {
			b.mails = append(b.mails, it)
			b.bytes += it.size()
		}
	}
}

// ready returns a shelf with a full batch, or one where a mail has waited long enough for others; nil: none.
func (s *Settler) ready(now time.Time) *shelf {
	var first *shelf
	for _, b := range s.shelves {
		if len(b.mails) == 0 {
			continue
		}
		full := len(b.mails) >= s.BatchMails || b.bytes >= s.BatchBytes
		if !full && !s.stopping && now.Sub(b.mails[0].Of.taken) < s.Linger {
			continue
		}
		if first == nil || b.mails[0].Of.taken.Before(first.mails[0].Of.taken) {
			first = b
		}
	}
	return first
}

// cut takes a batch: as many mails as fit, one at least.
func (b *shelf) cut(mails, bytes int) []*Mail {
	n, size := fitting(b.mails, mails, bytes)
	cut := b.mails[:n:n]
	b.bytes -= size
	if b.mails = b.mails[n:]; len(b.mails) == 0 {
		b.mails = nil
	}
	return cut
}

// fitting is how many of them make up a batch, and their bytes.
func fitting(all []*Mail, mails, bytes int) (n, size int) {
	for n < len(all) && n < mails {
		more := all[n].size()
		if n > 0 && size+more > bytes {
			break
		}
		n, size = n+1, size+more
	}
	return n, size
}
