package mailparse

import (
	"bytes"
	"io"
	"slices"
)

// window is the part of a mail that is in memory: all of it, or what was read last from a stream. Positions are
// offsets into the mail.
type window struct {
	buf  []byte
	base int // where buf begins
	// keep is the first position that may still be asked for.
	keep int
	from io.Reader // nil at the end of the stream
	err  error     // why a stream ended early
}

// readAhead is how much is read of a stream at a time, in bytes. With a header block of MaxHeaderBytes in it the window
// stays under 1 MiB.
const readAhead = 64 << 10

func (w *window) end() int { return w.base + len(w.buf) }

// at returns what is in memory from pos on.
func (w *window) at(pos int) []byte { return w.buf[pos-w.base:] }

func (w *window) bytes(s Span) []byte { return w.buf[s.Start-w.base : s.End-w.base] }

// more reads on in a stream, and forgets what lies before keep when it needs the room. It is false at the end.
func (w *window) more() bool {
	if w.from == nil {
		return false
	}
	if drop := min(w.keep-w.base, len(w.buf)); drop > 0 && len(w.buf)+readAhead > cap(w.buf) {
		w.buf = w.buf[:copy(w.buf, w.buf[drop:])]
		w.base += drop
	}
	w.buf = slices.Grow(w.buf, readAhead)
	for range 100 { // readers may return nothing a few times (io.Reader)
		n, err := w.from.Read(w.buf[len(w.buf):cap(w.buf)])
		w.buf = w.buf[:len(w.buf)+n]
		if err != nil {
			w.from = nil
			if err != io.EOF {
				w.err = err
			}
		}
		if n > 0 || err != nil {
			return n > 0
		}
	}
	w.from, w.err = nil, io.ErrNoProgress
	return false
}

// load reads until the bytes before pos are in memory, if the mail has them.
func (w *window) load(pos int) {
	for w.end() < pos && w.more() {
	}
}

// line returns the line at pos with its end, or what there is of it before limit.
func (w *window) line(pos, limit int) []byte {
	searched := 0
	for {
		rest := w.at(pos)
		rest = rest[:min(len(rest), limit-pos)]
		if n := bytes.IndexByte(rest[searched:], '\n'); n >= 0 {
			return rest[:searched+n+1]
		}
		searched = len(rest)
		if searched == limit-pos || !w.more() {
			return rest
		}
	}
}

// lineEndBefore returns where the line before the one at pos ends, without its line end.
func (w *window) lineEndBefore(pos int) int { return w.base + lineEndBefore(w.buf, pos-w.base) }
