package mailparse

import (
	"bytes"

	"github.com/sluice-mail/sluice/pkg/mailparse/transfer"
)

// Limits of the index. What lies beyond them stays in the mail, is not looked into, and sets a flag.
const (
	MaxDepth       = 20
	MaxParts       = 1000
	MaxHeaderBytes = 256 << 10
	MaxFields      = 2000
	MaxParams      = 64
	// MaxBoundary is more than the 70 characters of RFC 2046 section 5.1.1, because senders exceed it.
	MaxBoundary = 200
	// MaxPadding is how many blanks may follow a boundary: as many as a line may have bytes (RFC 5322 section 2.1.1).
	MaxPadding = 998
)

// Span is a range of bytes of the raw mail: raw[Start:End].
type Span struct{ Start, End int }

// Len is the number of bytes.
func (s Span) Len() int { return s.End - s.Start }

// indexer reads the mail once. The header scan or the delimiter search looks at each byte, and each
// line that begins with "--" is compared with at most MaxDepth boundaries. So the work is linear in the length of the mail,
// whatever the nesting.
type indexer struct {
	msg *Message
	window
	// stack holds the open parts from the mail itself down to the current one.
	stack [MaxDepth + 1]frame
	open  int
	// live counts the frames whose boundary is still looked for.
	live int
	// contentType is the value of the last header read.
	contentType []byte
	// charsets counts the parts that were asked for their charset.
	charsets int
	// steps counts the bytes looked at; the tests hold it to a multiple of the length.
	steps int

	// Of streams only.
	counter   transfer.Counter // counts the decoded bytes of the open leaf
	counted   int              // up to here
	enough    bool             // a summary is wanted: stop when it can be told
	attaching bool             // an attachment was seen that will stay one
}

type frame struct {
	part int
	// boundary is nil for a leaf, an attached message, and a multipart after its closing delimiter.
	boundary []byte
	seen     bool
}

func (ix *indexer) run() {
	d, found := ix.entity(-1, 0)
	for found {
		ix.closeTo(d.frame+1, d.end)
		f := &ix.stack[d.frame]
		f.seen = true
		switch {
		case d.closing:
			f.boundary = nil
			ix.live--
			d, found = ix.nextDelimiter(d.next)
		case len(ix.msg.Parts) >= MaxParts:
			ix.msg.Flags |= TooManyParts
			found = false
		default:
			d, found = ix.entity(f.part, d.next)
		}
	}
	if ix.msg.Flags.Has(Truncated) || ix.msg.Flags.Has(TooManyParts) {
		ix.forgetBoundaries() // they may stand in what was not looked at
	}
	if !ix.enough {
		ix.skipRest()
	}
	ix.closeTo(0, ix.end())
	ix.msg.setRoles()
	ix.noteCharsets(len(ix.msg.Parts))
}

// entity adds the part that begins at pos, and the messages directly inside it, and returns the
// delimiter that ends the innermost of them.
func (ix *indexer) entity(parent, pos int) (delimiter, bool) {
	for {
		i := ix.add(parent, pos)
		d, found := ix.readHeader(i)
		boundary := ix.boundaryOf(i)
		ix.push(i, boundary)
		if found {
			return d, true
		}
		if ix.enough && ix.summaryKnown(i) {
			ix.msg.Flags |= Truncated
			return delimiter{}, false
		}
		body := ix.msg.Parts[i].Body.Start
		if boundary != nil || !ix.holdsMessage(i) {
			return ix.nextDelimiter(body)
		}
		parent, pos = i, body
	}
}

func (ix *indexer) add(parent, pos int) int {
	m := ix.msg
	if m.Parts == nil {
		m.Parts = make([]Part, 0, 4)
	}
	p := Part{msg: m, Parent: parent, Within: -1, Header: Span{pos, pos}, Body: Span{pos, pos}, Type: "text/plain"}
	if parent >= 0 {
		outer := &m.Parts[parent]
		p.Depth, p.Within = outer.Depth+1, outer.Within
		switch {
		case outer.Type == "multipart/digest": // RFC 2046 section 5.1.5
			p.Type = "message/rfc822"
		case !isMultipart(outer.Type):
			p.Within = parent
		}
	}
	m.Parts = append(m.Parts, p)
	return len(m.Parts) - 1
}

// boundaryOf returns the boundary of a multipart that can be descended into, or nil.
func (ix *indexer) boundaryOf(i int) []byte {
	p := &ix.msg.Parts[i]
	if !isMultipart(p.Type) {
		return nil
	}
	boundary, _ := param(ix.contentType, "boundary").token()
	boundary = bytes.TrimRight(boundary, " \t") // RFC 2046 section 5.1.1: never ends in white space
	switch {
	case len(boundary) == 0 || len(boundary) > MaxBoundary:
		ix.msg.Flags |= MissingBoundary
		return nil
	case p.Depth >= MaxDepth:
		ix.msg.Flags |= Deep
		return nil
	case ix.msg.streamed:
		return bytes.Clone(boundary) // the window moves on
	}
	return boundary
}

// holdsMessage says whether the part is an attached message that can be descended into. An encoded one
// (forbidden by RFC 2046 section 5.2.1, but sent) is left as it is: its offsets are not in the raw mail.
func (ix *indexer) holdsMessage(i int) bool {
	p := &ix.msg.Parts[i]
	switch {
	case p.Type != "message/rfc822" && p.Type != "message/global", p.encoding != transfer.Identity:
		return false
	case p.Depth >= MaxDepth:
		ix.msg.Flags |= Deep
		return false
	case len(ix.msg.Parts) >= MaxParts:
		ix.msg.Flags |= TooManyParts
		return false
	}
	return true
}

func (ix *indexer) push(part int, boundary []byte) {
	ix.stack[ix.open] = frame{part: part, boundary: boundary}
	ix.open++
	if boundary != nil {
		ix.live++
	}
	ix.startCounting()
}

// closeTo ends all open parts but the outermost n. The line end that end leaves out may be the empty line
// behind a header; then the part, and what encloses it, is empty but does not end before it begins.
func (ix *indexer) closeTo(n, end int) {
	ix.stopCounting(end)
	for ix.open > n {
		ix.open--
		f := &ix.stack[ix.open]
		p := &ix.msg.Parts[f.part]
		end = max(end, p.Body.Start)
		p.Body.End = end
		if f.boundary == nil {
			continue
		}
		ix.live--
		if f.seen {
			ix.msg.Flags |= Unclosed
		} else {
			ix.msg.Flags |= MissingBoundary
		}
	}
}

func (ix *indexer) forgetBoundaries() {
	for i := range ix.stack[:ix.open] {
		ix.stack[i].boundary = nil
	}
	ix.live = 0
}
