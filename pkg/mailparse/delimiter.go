package mailparse

import "bytes"

// delimiter is one boundary line (RFC 2046 section 5.1.1) of an open multipart.
type delimiter struct {
	frame   int // the multipart's place on the stack
	closing bool
	end     int // where the part before it ends: the line end before the delimiter is part of it
	next    int // behind the delimiter's own line end
}

// nextDelimiter finds the first delimiter of any open multipart at or after pos, which is the start of a
// line.
func (ix *indexer) nextDelimiter(pos int) (delimiter, bool) {
	raw := ix.msg.Raw
	for ix.live > 0 {
		if d, ok := ix.delimiterAt(pos); ok {
			return d, true
		}
		i := bytes.Index(raw[pos:], []byte("\n--"))
		if i < 0 {
			ix.steps += len(raw) - pos
			break
		}
		ix.steps += i + 1
		pos += i + 1
	}
	return delimiter{}, false
}

// delimiterAt compares the line at pos with the boundaries of the open multiparts, innermost first. An
// outer one that matches ends everything inside it.
func (ix *indexer) delimiterAt(pos int) (delimiter, bool) {
	raw := ix.msg.Raw
	if ix.live == 0 || !bytes.HasPrefix(raw[pos:], []byte("--")) {
		return delimiter{}, false
	}
	line := raw[pos+2 : min(len(raw), pos+2+MaxBoundary+2)]
	for f := ix.open - 1; f >= 0; f-- {
		boundary := ix.stack[f].boundary
		ix.steps += min(len(boundary), len(line))
		if boundary == nil || !bytes.HasPrefix(line, boundary) {
			continue
		}
		after, closing := pos+2+len(boundary), false
		if bytes.HasPrefix(raw[after:], []byte("--")) {
			after, closing = after+2, true
		}
		if next, ok := ix.onlySpace(after); ok {
			return delimiter{frame: f, closing: closing, end: lineEndBefore(raw, pos), next: next}, true
		}
	}
	return delimiter{}, false
}

// onlySpace says whether nothing but white space follows on the line (the RFC's transport padding), and
// where the next line begins.
func (ix *indexer) onlySpace(pos int) (next int, ok bool) {
	raw := ix.msg.Raw
	for ; pos < len(raw); pos++ {
		ix.steps++
		switch raw[pos] {
		case ' ', '\t', '\r':
		case '\n':
			return pos + 1, true
		default:
			return 0, false
		}
	}
	return pos, true
}

// lineEndBefore returns where the line before the one at pos ends, without its line end.
func lineEndBefore(raw []byte, pos int) int {
	if pos > 0 && raw[pos-1] == '\n' {
		pos--
		if pos > 0 && raw[pos-1] == '\r' {
			pos--
		}
	}
	return pos
}
