package mailparse

import (
	"bytes"

	"github.com/sluice-mail/sluice/pkg/mailparse/transfer"
)

// readHeader finds where the header of part i ends and reads the fields that say how to read its body. When a
// boundary line cuts the header short, that delimiter is returned.
func (ix *indexer) readHeader(i int) (d delimiter, found bool) {
	p := &ix.msg.Parts[i]
	pos := p.Header.Start
	ix.pass(pos)
	body, limit := -1, pos+MaxHeaderBytes
	for first := true; body < 0; first = false {
		line := ix.line(pos, limit)
		ix.steps += len(line)
		switch d, found = ix.delimiterAt(pos); {
		case len(line) == 0: // the end of the mail, or of what is looked at
			body = pos
			ix.load(limit + 1)
			if pos == limit && ix.end() > limit {
				ix.msg.Flags |= HeaderTooBig
			}
		case isBlank(line):
			body = pos + len(line)
		case found:
			body = pos
		case first && !beginsHeader(line):
			// No header at all: the text begins at once.
			ix.msg.Flags |= BadHeader
			body = pos
		default:
			pos += len(line)
		}
	}
	p.Header.End, p.Body.Start, p.Body.End = pos, body, body
	ix.readFields(p)
	if !found {
		ix.keepLead(i)
	}
	return d, found
}

// readFields takes note of the first of each field that describes the body.
func (ix *indexer) readFields(p *Part) {
	text, block, kept := ix.keepHeader(p)
	ix.steps += block.Len()
	var contentType, disposition, contentID Span
	fields := fieldScanner{raw: text, pos: block.Start, end: block.End}
	for fields.next() {
		name := text[fields.name.Start:fields.name.End]
		if len(name) < len("content-id") || name[0]|0x20 != 'c' {
			continue
		}
		switch {
		case equalFold(name, "content-type"):
			setOnce(&contentType, fields.value)
		case equalFold(name, "content-disposition"):
			setOnce(&disposition, fields.value)
		case equalFold(name, "content-id"):
			setOnce(&contentID, fields.value)
		case equalFold(name, "content-transfer-encoding") && p.encoding == transfer.Identity:
			p.encoding = transfer.Named(bytes.Trim(firstWord(text[fields.value.Start:fields.value.End]), "'"))
		}
	}
	ix.msg.Flags |= fields.flags
	if kept {
		p.head, p.contentType, p.disposition, p.contentID = block, contentType, disposition, contentID
	}
	ix.contentType = text[contentType.Start:contentType.End]
	ix.describe(p, text[disposition.Start:disposition.End], contentID.Len() > 0)
}

// describe fills in what the fields say about the part.
func (ix *indexer) describe(p *Part, disposition []byte, hasID bool) {
	p.disposed, p.hasID = dispositionOf(disposition), hasID
	if len(ix.contentType) > 0 {
		mediaType, ok := mediaType(ix.contentType)
		if ok {
			p.Type = mediaType
		} else {
			ix.msg.Flags |= BadHeader // RFC 2045 section 5.2: then the default applies
		}
	}
	switch {
	case isMultipart(p.Type):
		p.encoding = transfer.Identity // RFC 2045 section 6.4: an encoded one could not be cut into parts
	case isText(p.Type):
		p.named = param(disposition, "filename").found || param(ix.contentType, "name").found
	}
}

func setOnce(s *Span, value Span) {
	if s.Len() == 0 {
		*s = value
	}
}

// fieldScanner steps over the fields of a header block. A line that is no field is skipped with its
// continuation lines, because the fields behind it still say how to read the body.
type fieldScanner struct {
	raw         []byte
	pos, end    int
	name, value Span // value without the last line end, folded as it came
	count       int
	flags       Flags
}

func (f *fieldScanner) next() bool {
	for f.pos < f.end {
		start := f.pos
		nameLen, colon := fieldName(f.raw[start:f.end])
		valueEnd := f.skipField()
		if colon < 0 {
			f.flags |= BadHeader
			continue
		}
		if f.count++; f.count > MaxFields {
			f.flags |= HeaderTooBig
			return false
		}
		f.name = Span{start, start + nameLen}
		valueStart := start + colon + 1
		for valueStart < valueEnd && (f.raw[valueStart] == ' ' || f.raw[valueStart] == '\t') {
			valueStart++
		}
		f.value = Span{valueStart, max(valueStart, valueEnd)}
		return true
	}
	return false
}

// skipField moves behind the line at pos and its continuation lines (RFC 5322 section 2.2.3) and returns
// where their text ends.
func (f *fieldScanner) skipField() int {
	for {
		n := bytes.IndexByte(f.raw[f.pos:f.end], '\n')
		if n < 0 {
			f.pos = f.end
			return lineEndBefore(f.raw, f.end)
		}
		f.pos += n + 1
		if f.pos >= f.end || f.raw[f.pos] != ' ' && f.raw[f.pos] != '\t' {
			return lineEndBefore(f.raw, f.pos)
		}
	}
}

// fieldName returns the length of the name at the start of line and where its colon is, or -1. White
// space before the colon is obsolete (RFC 5322 section 4.5) but seen.
func fieldName(line []byte) (length, colon int) {
	for length < len(line) && line[length] > ' ' && line[length] < 127 && line[length] != ':' {
		length++
	}
	colon = length
	for colon < len(line) && (line[colon] == ' ' || line[colon] == '\t') {
		colon++
	}
	if length == 0 || colon == len(line) || line[colon] != ':' {
		return 0, -1
	}
	return length, colon
}

// beginsHeader says whether line may be the first of a header: a field, or the separator line of a mail
// folder that a careless program sent along.
func beginsHeader(line []byte) bool {
	if _, colon := fieldName(line); colon >= 0 {
		return true
	}
	return bytes.HasPrefix(line, []byte("From ")) || bytes.HasPrefix(line, []byte(">From "))
}

func isBlank(line []byte) bool {
	return line[0] == '\n' || len(line) == 2 && line[0] == '\r' && line[1] == '\n'
}
