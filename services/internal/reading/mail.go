package reading

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"io"
	"slices"
	"strings"
	"sync"

	"github.com/sluice-mail/sluice/pkg/mailparse"
	"github.com/sluice-mail/sluice/pkg/mailstore"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

const (
	// BodyBudget bounds the text and HTML of one mail together, in bytes of UTF-8. What is beyond it is in the source.
	BodyBudget = 1 << 20
	// FieldBudget bounds the decoded header fields of one mail together, in bytes.
	FieldBudget = 256 << 10
)

// Mail is an open mail of a mailbox. It may be used by several goroutines at once, until it is closed.
type Mail struct {
	Entry mailstore.Entry

	envelope *mailv1.Envelope // with this mailbox as its only recipient
	trace    func() []byte    // the trace headers, rendered once from the envelope; nobody may change the bytes
	raw      io.ReaderAt      // the bytes as sent
	index    *mailparse.Message
	release  func()
	closing  sync.Once
}

// Close gives back what an open mail holds.
func (m *Mail) Close() { m.closing.Do(m.release) }

// Field is a header field, its value decoded to one line of UTF-8.
type Field struct{ Name, Value string }

// Fields returns the header fields in their order, those of the final delivery to this mailbox first. cut is set when
// there is more than FieldBudget.
func (m *Mail) Fields() (fields []Field, cut bool) {
	budget := FieldBudget
	for _, block := range []*mailparse.Message{mailparse.Index(m.trace()), m.index} {
		block.Parts[0].DecodedFields(func(name, value string) bool {
			if budget -= len(name) + len(value); budget < 0 {
				cut = true
				return false
			}
			fields = append(fields, Field{name, value})
			return true
		})
	}
	return fields, cut
}

// RawFields calls fn with the name and the value of every header field, in the order of Fields: unfolded and valid UTF-8,
// but not decoded.
func (m *Mail) RawFields(fn func(name, value string)) {
	budget := FieldBudget
	for _, block := range []*mailparse.Message{mailparse.Index(m.trace()), m.index} {
		block.Parts[0].Fields(func(name string, value []byte) bool {
			if budget -= len(name) + len(value); budget < 0 {
				return false
			}
			lines := strings.NewReplacer("\r\n", "", "\n", "", "\r", "").Replace(string(value))
			fn(name, strings.ToValidUTF8(strings.TrimSpace(lines), "\uFFFD"))
			return true
		})
	}
}

// Bodies returns the plain text and the HTML of the mail as they came, together at most BodyBudget. HTML is as hostile as
// its sender. cut is set when there is more.
func (m *Mail) Bodies() (text, html string, cut bool, err error) {
	text, html, flags, err := m.index.BodiesFrom(m.raw, BodyBudget)
	return text, html, flags.Has(mailparse.Cut), err
}

// Flags says what was unusual about the mail.
func (m *Mail) Flags() mailparse.Flags { return m.index.Flags }

// Sent is the mail as it was sent.
func (m *Mail) Sent() io.ReadSeeker { return io.NewSectionReader(m.raw, 0, m.Entry.Size) }

// SentTag is the SHA-256 of Sent in hexadecimal digits.
func (m *Mail) SentTag() string { return hex.EncodeToString(m.envelope.GetSha256()) }

// Delivered is the mail with the trace headers of its delivery to this mailbox before it.
func (m *Mail) Delivered() io.ReadSeeker {
	trace := m.trace()
	both := joined{head: bytes.NewReader(trace), split: int64(len(trace)), tail: m.raw}
	return io.NewSectionReader(both, 0, int64(len(trace))+m.Entry.Size)
}

// DeliveredTag names the bytes of Delivered: the same as long as they are.
func (m *Mail) DeliveredTag() string {
	sum := sha256.Sum256(slices.Concat(m.trace(), m.envelope.GetSha256()))
	return hex.EncodeToString(sum[:])
}

// joined is two files read as one.
type joined struct {
	head  io.ReaderAt
	split int64
	tail  io.ReaderAt
}

func (j joined) ReadAt(p []byte, off int64) (n int, err error) {
	if off < j.split {
		n, err = j.head.ReadAt(p[:min(int64(len(p)), j.split-off)], off)
		if err != nil && err != io.EOF {
			return n, err
		}
		if n == len(p) {
			return n, nil
		}
	}
	more, err := j.tail.ReadAt(p[n:], off+int64(n)-j.split)
	return n + more, err
}

// Sender is the envelope's return path; empty for a bounce.
func (m *Mail) Sender() string { return m.envelope.GetMailFrom() }

// Encrypted is the TLS version of the connection that the mail came in by, or "".
func (m *Mail) Encrypted() string { return strings.TrimSpace(m.envelope.GetTls().GetVersion()) }
