package mailparse

import "github.com/sluice-mail/sluice/pkg/mailparse/transfer"

// Message is an indexed mail. It keeps the raw bytes it was made from and copies nothing; one that was read from a
// stream keeps the header blocks only, and Raw is nil. It may be used by several goroutines at once.
type Message struct {
	Raw []byte // the mail as received
	// Parts holds the whole tree in the order of the bytes; Parts[0] is the mail itself. The index of a part is its
	// number from here on: the same bytes always give the same tree.
	Parts []Part
	Flags Flags // what was wrong with it

	// text is what the values of fields are spans of: the raw mail, or the kept header blocks of a stream.
	text     []byte
	streamed bool
	charset  string // declared by the first text
	hint     string // to try for raw 8-bit text
	page     bool   // has an HTML body
}

// Part is one entity: a body with its header, a multipart, or an attached message.
type Part struct {
	msg *Message
	// Parent is the index of the enclosing part in Message.Parts; -1 for the mail itself.
	Parent int
	// Depth is 0 for the mail itself.
	Depth int
	// Within is the index of the attached message it is a part of, the innermost; -1 for a part of the mail itself.
	Within int
	// Header runs from the first line up to the line that ends it (the empty line, or a boundary). Body
	// begins after the empty line; the line end before a boundary line belongs to the boundary (RFC 2046
	// section 5.1.1).
	Header, Body Span
	// Type is the lower-case media type; the default when none is given.
	Type string
	// Role is what a reader should do with the part.
	Role Role

	// Spans of Message.text: the header block, and the values of the fields that say how to read the body, empty
	// when absent.
	head, contentType, disposition, contentID Span

	encoding transfer.Encoding
	disposed disposition
	named    bool // has a file name; looked up for text only
	hasID    bool
	page     bool // is an attached message with an HTML body

	// Of streams only.
	leadKept   Span // the beginning of a page, in Message.text
	decodedLen int
}

// Index finds the parts of a mail in one pass.
func Index(raw []byte) *Message {
	ix := indexer{msg: &Message{Raw: raw, text: raw}, window: window{buf: raw}}
	ix.run()
	return ix.msg
}

// bytes is a value of a field.
func (p *Part) bytes(s Span) []byte { return p.msg.text[s.Start:s.End] }

// body is the raw body, of which a stream has nothing.
func (p *Part) body() []byte {
	if p.msg.streamed {
		return nil
	}
	return p.msg.Raw[p.Body.Start:p.Body.End]
}

// lead is the beginning of a body, at most leadBytes of it; of a stream, only where keepLead has kept it.
func (p *Part) lead() []byte {
	lead := p.body()
	if p.msg.streamed {
		lead = p.bytes(p.leadKept)
	}
	return lead[:min(len(lead), p.Body.Len(), leadBytes)]
}
