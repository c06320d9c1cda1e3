package stream

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/digest"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// DigestHeader sums up the mails of a pack, as whoever accepted them computed it: an audit compares it with what the database has,
// and decodes the envelopes only when there is a difference. A message of one mail has none, and a pack may have none.
const DigestHeader = "Mail-Digest"

// Digest is what DigestHeader says. The zero value is of no mail. For the checks see package digest.
type Digest struct {
	First, Last ulid.ULID // the smallest and the largest id
	Mails       int64
	Bytes       int64  // of the raw mails
	Check       uint64 // digest.Mail of each mail, summed up
	Lines       int64  // for each mail, how many different mailboxes it is for
	LinesCheck  uint64 // digest.Line of each of them, summed up
}

// DigestOf is the digest of one mail, which has an id.
func DigestOf(env *mailv1.Envelope) Digest {
	var id ulid.ULID
	var sum [32]byte
	copy(id[:], env.GetId())
	copy(sum[:], env.GetSha256())
	d := Digest{First: id, Last: id, Mails: 1, Bytes: int64(env.GetSize()), Check: digest.Mail(id, sum)}
	var some [8][16]byte // most mail has few recipients
	boxes := some[:0]
	for _, to := range env.GetRecipients() {
		if box := digest.Mailbox([]byte(to.GetMailbox())); !slices.Contains(boxes, box) {
			boxes = append(boxes, box)
			d.LinesCheck += digest.Line(box, id)
		}
	}
	d.Lines = int64(len(boxes))
	return d
}

// Add adds other mails.
func (d *Digest) Add(o Digest) {
	if d.Mails == 0 {
		*d = o
		return
	}
	if o.First.Compare(d.First) < 0 {
		d.First = o.First
	}
	if o.Last.Compare(d.Last) > 0 {
		d.Last = o.Last
	}
	d.Mails += o.Mails
	d.Bytes += o.Bytes
	d.Check += o.Check
	d.Lines += o.Lines
	d.LinesCheck += o.LinesCheck
}

// String is the header's value: first,last,mails,bytes,check,lines,linesCheck, the ids as text, the numbers decimal.
func (d Digest) String() string {
	b := make([]byte, 0, 128)
	b = append(append(append(b, d.First.String()...), ','), d.Last.String()...)
	for _, n := range [...]uint64{uint64(d.Mails), uint64(d.Bytes), d.Check, uint64(d.Lines), d.LinesCheck} {
		b = strconv.AppendUint(append(b, ','), n, 10)
	}
	return string(b)
}

var errDigest = errors.New("it is no digest: want first,last,mails,bytes,check,lines,linesCheck")

// parseDigest is the reverse of String.
func parseDigest(s string) (d Digest, err error) {
	var fields [7]string
	for i := range fields {
		more := false
		if fields[i], s, more = strings.Cut(s, ","); more != (i < len(fields)-1) {
			return Digest{}, errDigest
		}
	}
	if d.First, err = ulid.ParseStrict(fields[0]); err != nil {
		return Digest{}, fmt.Errorf("%w: %w", errDigest, err)
	}
	if d.Last, err = ulid.ParseStrict(fields[1]); err != nil {
		return Digest{}, fmt.Errorf("%w: %w", errDigest, err)
	}
	var n [5]uint64
	for i := range n {
		bits := 64
		if i != 2 && i != 4 {
			bits = 63
		}
		if n[i], err = strconv.ParseUint(fields[2+i], 10, bits); err != nil {
			return Digest{}, fmt.Errorf("%w: %w", errDigest, err)
		}
	}
	d.Mails, d.Bytes, d.Check, d.Lines, d.LinesCheck = int64(n[0]), int64(n[1]), n[2], int64(n[3]), n[4]
	return d, nil
}

// headerDigest is the digest of a message with these headers. ok is false when it has none that can be used: then the envelopes say
// what it carries.
func headerDigest(h nats.Header) (d Digest, ok bool) {
	text := h.Get(DigestHeader)
	if text == "" {
		return Digest{}, false
	}
	d, err := parseDigest(text)
	return d, err == nil && d.Mails == int64(Mails(h)) && d.First.Compare(d.Last) <= 0
}
