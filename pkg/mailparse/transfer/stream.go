package transfer

import (
	"bytes"
	"io"
)

// NewReader undoes e while it reads r. Damaged text is decoded as far as it goes, as Decode does; errors are r's.
func NewReader(e Encoding, r io.Reader) io.Reader {
	if e == Identity {
		return r
	}
	return &reader{src: r, decoder: decoder{encoding: e}}
}

type reader struct {
	src     io.Reader
	decoder decoder
	in, out []byte // out waits to be read
	err     error
}

func (r *reader) Read(p []byte) (int, error) {
	if r.in == nil {
		r.in = make([]byte, 32<<10)
	}
	for len(r.out) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		var n int
		n, r.err = r.src.Read(r.in)
		r.out = r.decoder.decode(r.in[:n])
		if r.err != nil {
			r.out = r.decoder.finish(r.out)
		}
	}
	n := copy(p, r.out)
	r.out = r.out[n:]
	return n, nil
}

// Counter counts the bytes that encoded text decodes to, given in pieces.
type Counter struct {
	decoder decoder
	n       int
	count   uint // base64: bits that wait
}

// NewCounter returns a counter for text in e.
func NewCounter(e Encoding) Counter { return Counter{decoder: decoder{encoding: e}} }

// Add takes the next piece.
func (c *Counter) Add(src []byte) {
	switch c.decoder.encoding {
	case Identity:
		c.n += len(src)
	case QuotedPrintable:
		c.n += len(c.decoder.decode(src))
	case Base64:
		for _, b := range src {
			if _, ok := Sextet(b); ok {
				if c.count += 6; c.count >= 8 {
					c.count -= 8
					c.n++
				}
			} else if b == '=' {
				c.count = 0
			}
		}
	}
}

// Len ends the text and returns the number of bytes.
func (c *Counter) Len() int {
	c.n += len(c.decoder.finish(nil))
	return c.n
}

// Len is the number of bytes that src decodes to.
func Len(e Encoding, src []byte) int {
	c := NewCounter(e)
	for ; len(src) > 0; src = src[min(len(src), 32<<10):] { // bounds what the counter of quoted-printable holds
		c.Add(src[:min(len(src), 32<<10)])
	}
	return c.Len()
}

// decoder decodes text in pieces.
type decoder struct {
	encoding Encoding
	base64   Base64State
	line     []byte // quoted-printable: the end of the last piece, whose meaning depends on the next
	out      []byte // is used again for every piece
}

// decode returns what the next piece adds. It is valid until the next call.
func (d *decoder) decode(src []byte) []byte {
	d.out = d.out[:0]
	switch d.encoding {
	case Base64:
		d.out, _ = d.base64.Append(d.out, src, -1)
	case QuotedPrintable:
		d.line = append(d.line, src...)
		certain := decidable(d.line)
		lines := 1 + bytes.LastIndexByte(d.line[:certain], '\n')
		d.out = appendLines(d.out, d.line[:lines])
		d.out, _ = appendQuoted(d.out, d.line[lines:certain])
		d.line = d.line[:copy(d.line, d.line[certain:])]
	default:
		d.out = append(d.out, src...)
	}
	return d.out
}

// finish appends to dst what was held back.
func (d *decoder) finish(dst []byte) []byte {
	if len(d.line) > 0 {
		dst = appendLines(dst, d.line)
		d.line = d.line[:0]
	}
	return dst
}

// appendLines decodes whole lines.
func appendLines(dst, src []byte) []byte {
	for len(src) > 0 {
		var line, ending []byte
		line, ending, src = quotedLine(src)
		dst, _ = appendQuoted(dst, line)
		dst = append(dst, ending...)
	}
	return dst
}

// decidable returns how much of s can be decoded without knowing what follows: not the blanks that may end a line,
// and no escape that is cut. Blanks without end are taken as text.
func decidable(s []byte) int {
	const longestBlank = 64 << 10
	end := len(s)
	if end > 0 && s[end-1] == '\r' {
		end--
	}
	end = len(bytes.TrimRight(s[:end], " \t"))
	if len(s)-end > longestBlank {
		return len(s)
	}
	for back := 1; back <= 2 && back <= end; back++ {
		if s[end-back] == '=' {
			return end - back
		}
	}
	return end
}
