package load

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strconv"
	"time"
)

// Mail is one generated mail.
type Mail struct {
	Index    uint64   // number of the mail in the run, from 0
	From     string   // address of the envelope
	Rcpts    []string // addresses of the envelope
	EightBit bool     // has bytes above 127, so it wants BODY=8BITMIME (RFC 6152)
	Raw      []byte   // CRLF line ends, not dot-stuffed
}

// Generator makes the mails of one Config. It is safe for concurrent use.
type Generator struct {
	seed      uint64
	sizes     Sizes
	rcpts     Range
	mailboxes uint64
	domains   []string

	// Text is cut from these; making it anew for each mail would cost more than sending it.
	plain, html, eightBit, binary block
}

// block is text in whole lines.
type block struct {
	data   []byte
	starts []int // where lines begin
}

const blockSize = 256 << 10

// NewGenerator makes the generator for a configuration.
func NewGenerator(cfg Config) *Generator {
	c := cfg.withDefaults()
	g := &Generator{seed: c.Seed, sizes: c.Sizes, rcpts: c.Rcpts, mailboxes: uint64(c.Mailboxes), domains: c.Domains}
	r := newRandom(c.Seed, 1<<63)
	ascii := []string{"the", "mail", "of", "today", "is", "about", "water", "and", "a", "sluice", "gate", "which", "opens", "slowly", "From", "now", "--", "on."}
	wide := []string{"Grüße", "aus", "Köln", "привет", "会議", "の", "議事録", "één", "naïve", "☺", "mail", "and", "more", "—", "ürgent", "İstanbul"}
	g.plain = makeBlock(&r, ascii, "", "")
	g.html = makeBlock(&r, ascii, "<p>", "</p>")
	g.eightBit = makeBlock(&r, wide, "", "")
	g.binary = makeBinary(&r)
	return g
}

func makeBlock(r *random, words []string, before, after string) (b block) {
	for len(b.data) < blockSize {
		b.starts = append(b.starts, len(b.data))
		// Dots at line starts must survive dot-stuffing (RFC 5321 section 4.5.2).
		switch r.below(24) {
		case 0:
			b.data = append(b.data, ".\r\n"...)
			continue
		case 1:
			b.data = append(b.data, ".."...)
		case 2:
			b.data = append(b.data, ".hidden "...)
		}
		b.data = append(b.data, before...)
		for range 4 + r.below(10) {
			b.data = append(b.data, words[r.below(uint64(len(words)))]...)
			b.data = append(b.data, ' ')
		}
		b.data = append(b.data, after...)
		b.data = append(b.data, "\r\n"...)
	}
	return b
}

const base64Line = 76 + 2

func makeBinary(r *random) (b block) {
	var raw [57]byte
	for len(b.data) < blockSize {
		for i := range raw {
			raw[i] = byte(r.next())
		}
		b.starts = append(b.starts, len(b.data))
		b.data = base64.StdEncoding.AppendEncode(b.data, raw[:])
		b.data = append(b.data, "\r\n"...)
	}
	return b
}

// Mail makes mail number i in the memory of buf. Its size is the drawn one, or a little more than its
// header when that was asked too small.
func (g *Generator) Mail(i uint64, buf []byte) Mail {
	r := newRandom(g.seed, i)
	size := g.sizes.pick(&r)
	m := Mail{Index: i, From: fmt.Sprintf("sender%d@example.net", r.below(1000)), Rcpts: g.pickRcpts(&r)}
	dst := g.header(buf[:0], &m, &r)
	const smallestMultipart = 3 << 10
	switch kind := r.below(8); {
	case kind < 2 && size >= smallestMultipart:
		dst = g.multipart(dst, i, size, &r)
	case kind < 4:
		dst = append(dst, "Content-Type: text/html; charset=us-ascii\r\nContent-Transfer-Encoding: 7bit\r\n\r\n"...)
		dst = g.html.fill(dst, size-len(dst), &r)
	case kind < 6:
		m.EightBit = true
		dst = append(dst, "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n\r\n"...)
		dst = g.eightBit.fill(dst, size-len(dst), &r)
	default:
		dst = append(dst, "Content-Type: text/plain; charset=us-ascii\r\n\r\n"...)
		dst = g.plain.fill(dst, size-len(dst), &r)
	}
	m.Raw = dst
	return m
}

func (g *Generator) pickRcpts(r *random) []string {
	n := uint64(g.rcpts.Min) + r.below(uint64(g.rcpts.Max-g.rcpts.Min+1))
	// Neighbours from a random start are distinct without looking.
	start := r.below(g.mailboxes)
	rcpts := make([]string, n)
	for k := range rcpts {
		box := (start + uint64(k)) % g.mailboxes
		rcpts[k] = "user" + strconv.FormatUint(box, 10) + "@" + g.domains[box%uint64(len(g.domains))]
	}
	return rcpts
}

// loadEpoch is the Date of mail 0: a clock would make the bytes different each time.
const loadEpoch = 1767225600 // 2026-01-01

func (g *Generator) header(dst []byte, m *Mail, r *random) []byte {
	subjects := []string{"Water levels", "=?utf-8?q?Gr=C3=BC=C3=9Fe_aus_K=C3=B6ln?=", "=?iso-2022-jp?b?GyRCMnE1RBsoQg==?=", "Re: the gate"}
	dst = fmt.Appendf(dst, "From: Sender <%s>\r\nTo: %s\r\nSubject: %s %d\r\n", m.From, m.Rcpts[0], subjects[r.below(uint64(len(subjects)))], m.Index)
	dst = append(dst, "Date: "...)
	dst = time.Unix(loadEpoch+int64(m.Index%(1<<30)), 0).UTC().AppendFormat(dst, time.RFC1123Z)
	return fmt.Appendf(dst, "\r\nMessage-ID: <%d.%d@load.example.net>\r\nX-Load-Id: %s\r\nMIME-Version: 1.0\r\n", g.seed, m.Index, LoadID(g.seed, m.Index))
}

// LoadID is the value of the X-Load-Id field, unique for each mail.
func LoadID(seed, index uint64) string {
	return strconv.FormatUint(seed, 10) + "-" + strconv.FormatUint(index, 10)
}

// multipart adds text and an attachment that fills the size, and an epilogue for the last odd bytes.
func (g *Generator) multipart(dst []byte, i uint64, size int, r *random) []byte {
	boundary := "=_load." + strconv.FormatUint(i, 10)
	dst = fmt.Appendf(dst, "Content-Type: multipart/mixed; boundary=\"%s\"\r\n\r\n--%s\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n", boundary, boundary)
	dst = g.plain.fill(dst, size/10, r)
	dst = fmt.Appendf(dst, "--%s\r\nContent-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=\"load-%d.bin\"\r\nContent-Transfer-Encoding: base64\r\n\r\n", boundary, i)
	room := size - len(dst) - len("--\r\n--\r\n") - len(boundary)
	lines := room / base64Line
	if room%base64Line == 1 {
		lines-- // fill needs two bytes
	}
	dst = g.binary.fill(dst, lines*base64Line, r)
	dst = fmt.Appendf(dst, "\r\n--%s--\r\n", boundary)
	return g.plain.fill(dst, size-len(dst), r)
}

// fill adds n bytes of text from a random line on, ending with a line end. Fewer than 2 give none, or 2.
func (b *block) fill(dst []byte, n int, r *random) []byte {
	at := b.starts[r.below(uint64(len(b.starts)))]
	if n <= 0 {
		return dst
	}
	end := len(dst) + max(n, 2)
	for len(dst) < end {
		piece := b.data[at:]
		dst = append(dst, piece[:min(len(piece), end-len(dst))]...)
		at = 0
	}
	// The cut must not leave half a line end or half a character.
	for k := end - 3; k >= end-max(n, 2) && (dst[k] == '\r' || dst[k] >= 0x80); k-- {
		dst[k] = 'x'
	}
	copy(dst[end-2:], "\r\n")
	return dst
}

// appendWire adds the form sent after 354: lines beginning with a dot get a second one, and the final dot
// follows.
func appendWire(dst, raw []byte) []byte {
	if len(raw) > 0 && raw[0] == '.' {
		dst = append(dst, '.')
	}
	for {
		n := bytes.Index(raw, []byte("\r\n."))
		if n < 0 {
			break
		}
		dst = append(dst, raw[:n+3]...)
		dst = append(dst, '.')
		raw = raw[n+3:]
	}
	dst = append(dst, raw...)
	return append(dst, ".\r\n"...)
}
