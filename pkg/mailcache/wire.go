package mailcache

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net/netip"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
)

// format is the first byte of every value. A value of another version of this program is a miss.
const format = 3

var errFormat = errors.New("not a cache item of this version")

// encoder appends fields: numbers as varints, strings with their length in front.
type encoder struct{ b []byte }

func newEncoder(size int) *encoder { return &encoder{append(make([]byte, 0, size), format)} }

func (e *encoder) number(n uint64) { e.b = binary.AppendUvarint(e.b, n) }

func (e *encoder) text(s string) {
	e.number(uint64(len(s)))
	e.b = append(e.b, s...)
}

func (e *encoder) derived(d mailstore.Derived) {
	for _, s := range [...]string{d.HdrFrom, d.HdrTo, d.Subject, d.Charset, d.ContentType} {
		e.text(s)
	}
	e.boolean(d.HasAttachment)
}

func (e *encoder) boolean(v bool) {
	if v {
		e.number(1)
		return
	}
	e.number(0)
}

// decoder reads fields. After an error all of them are empty, and bad is true.
type decoder struct {
	b   []byte
	bad bool
	// all is what b began as, when its texts shall be shares of one string instead of one each.
	all string
}

func newDecoder(b []byte) *decoder {
	if len(b) == 0 || b[0] != format {
		return &decoder{bad: true}
	}
	return &decoder{b: b[1:]}
}

func (d *decoder) number() uint64 {
	n, size := binary.Uvarint(d.b)
	if size <= 0 {
		d.b, d.bad = nil, true
		return 0
	}
	d.b = d.b[size:]
	return n
}

func (d *decoder) bytes() []byte {
	n := d.number()
	if n > uint64(len(d.b)) {
		d.b, d.bad = nil, true
		return nil
	}
	v := d.b[:n:n]
	d.b = d.b[n:]
	return v
}

func (d *decoder) text() string {
	v := d.bytes()
	if d.all == "" {
		return string(v)
	}
	end := len(d.all) - len(d.b)
	return d.all[end-len(v) : end]
}

func (d *decoder) derived() mailstore.Derived {
	return mailstore.Derived{HdrFrom: d.text(), HdrTo: d.text(), Subject: d.text(), Charset: d.text(), ContentType: d.text(),
		HasAttachment: d.number() == 1}
}

// mail appends the value of a mail, and nothing when it is too large.
func (e *encoder) mail(m *Mail) (fits bool) {
	if m.Raw == nil {
		return false
	}
	begin := len(e.b)
	e.b = append(e.b, format)
	e.number(uint64(len(m.Envelope)))
	e.b = append(e.b, m.Envelope...)
	e.number(uint64(mailstore.CodecNone)) // one byte, whichever codec it is in the end
	start := len(e.b)
	body, codec := mailstore.PackFast(e.b[start:], m.Raw)
	if len(body) > MaxBody {
		e.b = e.b[:begin]
		return false
	}
	e.b[start-1] = byte(codec)
	e.b = append(e.b, body...) // onto itself, when it was packed there
	return true
}

// room is how much mail appends at most.
func (m *Mail) room() int {
	return 3*binary.MaxVarintLen64 + len(m.Envelope) + mailstore.FastRoom(len(m.Raw))
}

func decodeItem(b []byte) (Item, error) {
	d := newDecoder(b)
	i := Item{Envelope: d.bytes(), Codec: mailstore.Codec(d.number())}
	i.Body = d.b
	if d.bad {
		return Item{}, errFormat
	}
	return i, nil
}

func encodePage(entries []mailstore.Entry) []byte {
	e := newEncoder(len(entries) * 256)
	e.number(uint64(len(entries)))
	for _, entry := range entries {
		e.b = append(e.b, entry.ID[:]...)
		e.text(entry.Mailbox)
		e.text(entry.Sender)
		e.number(uint64(entry.Size))
		e.number(entry.Flags)
		e.text(string(entry.IP.AsSlice()))
		e.number(uint64(entry.Received.UnixMilli()))
		e.number(uint64(entry.Stored.UnixMilli()))
		e.boolean(entry.Seen)
		e.derived(entry.Derived)
	}
	return e.b
}

// decodePage reads the newest most entries of a page. whole says that there are no others.
func decodePage(b []byte, most int) (entries []mailstore.Entry, whole bool, err error) {
	d := newDecoder(b)
	n := d.number()
	if d.bad || n > PageEntries {
		return nil, false, errFormat
	}
	d.all = string(d.b)
	whole = n <= uint64(most)
	entries = make([]mailstore.Entry, min(n, uint64(most)))
	for i := range entries {
		d.entry(&entries[i])
	}
	if d.bad || whole && len(d.b) > 0 {
		return nil, false, errFormat
	}
	return entries, whole, nil
}

// findEntry finds a mail's entry in a page, whose entries are in the falling order of their ids.
func findEntry(b []byte, id ulid.ULID) (e mailstore.Entry, found bool) {
	d := newDecoder(b)
	for n := d.number(); n > 0 && len(d.b) >= len(id); n-- {
		switch bytes.Compare(d.b[:len(id)], id[:]) {
		case 0:
			d.entry(&e)
			return e, !d.bad
		case -1:
			return e, false
		}
		d.skipEntry()
	}
	return e, false
}

// entryFields are the fields of an entry after its id: texts and numbers.
const entryFields = "ttnntnnntttttn"

// skipEntry goes over what entry reads.
func (d *decoder) skipEntry() {
	d.b = d.b[len(ulid.ULID{}):]
	for _, kind := range entryFields {
		if kind == 't' {
			d.bytes()
		} else {
			d.number()
		}
	}
}

func (d *decoder) entry(e *mailstore.Entry) {
	if len(d.b) < len(ulid.ULID{}) {
		d.b, d.bad = nil, true
		return
	}
	d.b = d.b[copy(e.ID[:], d.b):]
	e.Mailbox, e.Sender, e.Size, e.Flags = d.text(), d.text(), int64(d.number()), d.number()
	e.IP, _ = netip.AddrFromSlice(d.bytes())
	e.Received, e.Stored = time.UnixMilli(int64(d.number())).UTC(), time.UnixMilli(int64(d.number())).UTC()
	e.Seen = d.number() == 1
	e.Derived = d.derived()
}
