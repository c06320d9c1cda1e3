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
	for found := true; found && ix.live > 0; pos, found = ix.nextDashes(pos) {
		if d, ok := ix.delimiterAt(pos); ok {
			return d, true
		}
	}
	return delimiter{}, false
}

// nextDashes finds the next line behind pos that begins with "--".
func (ix *indexer) nextDashes(pos int) (int, bool) {
	for {
		ix.pass(pos)
		rest := ix.at(pos)
		if i := bytes.Index(rest, []byte("\n--")); i >= 0 {
			ix.steps += i + 1
			return pos + i + 1, true
		}
		ix.steps += len(rest)
		pos += max(0, len(rest)-len("\n-")) // these may be the beginning
		if !ix.more() {
			return 0, false
		}
	}
}

// pass lets the window forget what lies before pos, but for the line end that may belong to a delimiter at pos.
func (ix *indexer) pass(pos int) {
	ix.keep = max(0, pos-len("\r\n"))
	ix.countTo(ix.keep)
}

// delimiterAt compares the line at pos with the boundaries of the open multiparts, innermost first. An
// outer one that matches ends everything inside it.
func (ix *indexer) delimiterAt(pos int) (delimiter, bool) {
	if ix.live == 0 {
		return delimiter{}, false
	}
	ix.load(pos + len("--"))
	if !bytes.HasPrefix(ix.at(pos), []byte("--")) {
		return delimiter{}, false
	}
	ix.load(pos + len("--") + MaxBoundary + len("--") + MaxPadding + len("\n"))
	line := ix.at(pos)[2:]
	line = line[:min(len(line), MaxBoundary+2)]
	for f := ix.open - 1; f >= 0; f-- {
		boundary := ix.stack[f].boundary
		ix.steps += min(len(boundary), len(line))
		if boundary == nil || !bytes.HasPrefix(line, boundary) {
			continue
		}
		after, closing := pos+2+len(boundary), false
		if bytes.HasPrefix(ix.at(after), []byte("--")) {
			after, closing = after+2, true
		}
		if next, ok := ix.onlySpace(after); ok {
			return delimiter{frame: f, closing: closing, end: ix.lineEndBefore(pos), next: next}, true
		}
	}
	return delimiter{}, false
}

// onlySpace says whether nothing but white space follows on the line (the RFC's transport padding), and
// where the next line begins.
func (ix *indexer) onlySpace(pos int) (next int, ok bool) {
	rest := ix.at(pos)
	for i, c := range rest[:min(len(rest), MaxPadding+1)] {
		ix.steps++
		switch c {
		case ' ', '\t', '\r':
		case '\n':
			return pos + i + 1, true
		default:
			return 0, false
		}
	}
	return pos + len(rest), len(rest) <= MaxPadding
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
