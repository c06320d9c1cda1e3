package smtp

import (
	"bytes"
	"encoding/binary"

	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// The states of a scanner between two bytes.
const (
	scanBOL   = iota // at the start of the data or after CRLF
	scanText         // inside a line
	scanCR           // after a CR that is part of the data
	scanLF           // after a bare LF
	scanDot          // after a dot at the start of a line; the dot is not data
	scanDotCR        // after dot CR at the start of a line; the CR is not data yet
)

// heldCR is the CR of scanDotCR when it turns out to be data.
var heldCR = []byte{'\r'}

// scanner reads the bytes of a mail: it finds the end of DATA, removes stuffed dots and notes irregular line endings.
// It returns spans of its input, so the mail is neither copied nor held back.
//
// Only CRLF "." CRLF ends the data (RFC 5321 section 4.1.1.4). All similar sequences that other servers have
// taken for it (LF "." LF, CR "." CR, CRLF "." LF and so on) contain a line feed next to a dot at the start of a
// line, or a bare carriage return. They set suspect, and the session refuses the mail after its true end. A dot
// that ends a line of text before a bare line feed is not such a sequence; it is common in mails with bare line feeds.
type scanner struct {
	state   uint8
	chunked bool   // BDAT: dots mean nothing, the end is known by counting
	suspect bool   // a bare CR, or a bare LF beside a dot at the start of a line
	flags   uint64 // mailv1.Flag bits
}

// next consumes n bytes of in, which is not empty, and returns the data among them. end says that the end of
// the data was among them; then span is empty.
func (d *scanner) next(in []byte) (span []byte, n int, end bool) {
	switch d.state {
	case scanDot:
		switch in[0] {
		case '\r':
			d.state = scanDotCR
			return nil, 1, false
		case '\n':
			d.suspect = true
		}
		d.state = scanText
	case scanDotCR:
		if in[0] == '\n' {
			return nil, 1, true
		}
		d.state = scanCR
		return heldCR, 0, false
	case scanBOL:
		if in[0] == '.' && !d.chunked {
			d.state = scanDot
			return nil, 1, false
		}
	}
	span, n = d.lines(in)
	d.look(span)
	return span, n, false
}

// lines returns the longest span that has no dot to remove. It hunts line feeds: the vector code behind
// IndexByte makes that several times faster than any byte-wise machine.
func (d *scanner) lines(in []byte) (span []byte, n int) {
	crlf, i := 0, 0
	switch {
	case d.state == scanCR && in[0] == '\n':
		d.state, i = scanBOL, 1
		if len(in) > 1 && in[1] == '.' && !d.chunked {
			d.state = scanDot
			return in[:1], 2
		}
	case d.state == scanCR:
		d.bareCR()
	case d.state == scanLF && in[0] == '.':
		d.suspect = true
	}
	for i < len(in) {
		j := bytes.IndexByte(in[i:], '\n')
		if j < 0 {
			d.state = scanText
			break
		}
		i += j + 1
		if i < 2 || in[i-2] != '\r' {
			d.flags |= uint64(mailv1.Flag_FLAG_BARE_LF)
			d.state = scanLF
			if i < len(in) && in[i] == '.' {
				d.suspect = true
			}
			continue
		}
		crlf++
		d.state = scanBOL
		if i < len(in) && in[i] == '.' && !d.chunked {
			d.state = scanDot
			d.countCR(in[:i], crlf)
			return in[:i], i + 1
		}
	}
	if d.state == scanText && in[len(in)-1] == '\r' {
		d.state = scanCR
		crlf++ // not known to be bare yet
	}
	d.countCR(in, crlf)
	return in, len(in)
}

// countCR notices bare carriage returns: span has more of them than it has line endings.
func (d *scanner) countCR(span []byte, crlf int) {
	if bytes.Count(span, heldCR) != crlf {
		d.bareCR()
	}
}

func (d *scanner) bareCR() {
	d.suspect = true
	d.flags |= uint64(mailv1.Flag_FLAG_BARE_CR)
}

// finish is the end of the mail: a carriage return at the very end of a BDAT mail is a bare one.
func (d *scanner) finish() {
	if d.state == scanCR {
		d.bareCR()
	}
}

// look notices NUL and 8-bit bytes, each until the first.
func (d *scanner) look(span []byte) {
	if d.flags&uint64(mailv1.Flag_FLAG_NUL) == 0 && bytes.IndexByte(span, 0) >= 0 {
		d.flags |= uint64(mailv1.Flag_FLAG_NUL)
	}
	if d.flags&uint64(mailv1.Flag_FLAG_8BIT_UNDECLARED) == 0 && !isASCII(span) {
		d.flags |= uint64(mailv1.Flag_FLAG_8BIT_UNDECLARED)
	}
}

// isASCII reports whether all bytes of b are below 128.
func isASCII(b []byte) bool {
	const high = 0x8080808080808080
	for len(b) >= 64 {
		w := binary.LittleEndian.Uint64(b) | binary.LittleEndian.Uint64(b[8:]) |
			binary.LittleEndian.Uint64(b[16:]) | binary.LittleEndian.Uint64(b[24:]) |
			binary.LittleEndian.Uint64(b[32:]) | binary.LittleEndian.Uint64(b[40:]) |
			binary.LittleEndian.Uint64(b[48:]) | binary.LittleEndian.Uint64(b[56:])
		if w&high != 0 {
			return false
		}
		b = b[64:]
	}
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
