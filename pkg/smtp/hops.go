package smtp

import "bytes"

// maxHops is how many Received fields make a mail loop (RFC 5321 section 6.3 wants at least 100).
const maxHops = 100

const receivedName = "received:"

// hopCounter counts the Received fields in the header of a mail that comes in spans.
type hopCounter struct {
	hops    int
	matched int8 // characters of receivedName matched at the start of this line; -1: this line is another field
	began   bool // this line has a byte other than CR
	done    bool // the header is over
}

// scan looks at the next span.
func (h *hopCounter) scan(span []byte) {
	for len(span) > 0 && !h.done {
		if h.matched >= 0 {
			h.match(span[0])
			span = span[1:]
			continue
		}
		i := bytes.IndexByte(span, '\n')
		if i < 0 {
			return
		}
		span = span[i+1:]
		h.matched, h.began = 0, false
	}
}

// match takes one byte of the part of a line that may still be the field name.
func (h *hopCounter) match(c byte) {
	switch {
	case c == '\n':
		h.done = !h.began
		h.matched, h.began = 0, false
		return
	case c != '\r':
		h.began = true
	}
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	if c != receivedName[h.matched] {
		if h.began {
			h.matched = -1
		}
		return
	}
	h.matched++
	if int(h.matched) == len(receivedName) {
		h.hops++
		h.matched = -1
	}
}

// looping reports whether the mail has been through too many servers.
func (h *hopCounter) looping() bool { return h.hops >= maxHops }
