package mailparse

import (
	"fmt"
	"io"

	"github.com/sluice-mail/sluice/pkg/mailparse/charset"
	"github.com/sluice-mail/sluice/pkg/mailparse/transfer"
)

// MaxStreamedHeaders bounds the header blocks that Read keeps, all parts together, in bytes. Parts beyond it have their
// place in the tree, their type and their role, but no fields and no file name; HeaderTooBig is set.
const MaxStreamedHeaders = 1 << 20

// leadBytes is how much of a page is looked at for the charset it declares, before decoding.
const leadBytes = 2 * charset.DeclaredIn

// Read is Index for a mail that is too large to have in memory. It reads r to its end, once, and keeps less than 4 MiB
// whatever the size: the header blocks, and the offsets and decoded sizes of the parts. The bodies are read later, with
// DecodeFrom, TextFrom and BodiesFrom. The error is one of r, wrapped; then the message describes what came before.
func Read(r io.Reader) (*Message, error) {
	ix := indexer{msg: &Message{streamed: true}, window: window{from: r}}
	return ix.msg, ix.read()
}

// SummariseFrom is Summarise for a mail that is read from a stream, in as little memory as Read needs. It stops reading
// as soon as nothing that it tells can change, which sets Truncated: then the other flags are those of what was read.
func SummariseFrom(r io.Reader) (Summary, error) {
	ix := indexer{msg: &Message{streamed: true}, window: window{from: r}, enough: true}
	err := ix.read()
	return ix.msg.Summary(), err
}

func (ix *indexer) read() error {
	ix.run()
	if ix.err != nil {
		ix.msg.Flags |= Truncated
		return fmt.Errorf("reading a mail, at byte %d: %w", ix.end(), ix.err)
	}
	return nil
}

// keepHeader returns the text to scan for the fields of a header block, and where the block stands in it. That of a
// stream is copied to the message while there is room.
func (ix *indexer) keepHeader(p *Part) (text []byte, block Span, kept bool) {
	m := ix.msg
	if !m.streamed {
		return m.text, p.Header, true
	}
	header := ix.window.bytes(p.Header)
	if len(m.text)+len(header) > MaxStreamedHeaders {
		m.Flags |= HeaderTooBig
		return header, Span{0, len(header)}, false
	}
	start := len(m.text)
	m.text = append(m.text, header...)
	return m.text, Span{start, len(m.text)}, true
}

// keepLead keeps the beginning of part i of a stream, if it is a page and the charset it declares may be needed.
func (ix *indexer) keepLead(i int) {
	m := ix.msg
	p := &m.Parts[i]
	if !m.streamed || p.Type != "text/html" || len(m.text)+leadBytes > MaxStreamedHeaders {
		return
	}
	if ix.noteCharsets(i); m.hint != "" || charset.Says(p.Charset()) {
		return
	}
	ix.load(p.Body.Start + leadBytes)
	lead := ix.at(p.Body.Start)
	start := len(m.text)
	m.text = append(m.text, lead[:min(len(lead), leadBytes)]...)
	p.leadKept = Span{start, len(m.text)}
}

// noteCharsets asks the parts before i, of which all texts have ended.
func (ix *indexer) noteCharsets(i int) {
	for ; ix.charsets < i; ix.charsets++ {
		ix.msg.noteCharset(&ix.msg.Parts[ix.charsets])
	}
}

// summaryKnown says whether the rest of the mail, after the header of part i, cannot change the summary any more: an attachment
// and a declared charset have been found, and the charset says how to read raw 8-bit text, or there is none to read.
func (ix *indexer) summaryKnown(i int) bool {
	m := ix.msg
	if p := &m.Parts[i]; p.Within < 0 && m.roleOf(p, true) == RoleAttachment {
		ix.attaching = true
	}
	if !ix.attaching {
		return false
	}
	ix.noteCharsets(i)
	root := &m.Parts[0]
	return m.charset != "" && (m.hint != "" || charset.IsASCII(root.bytes(root.head)))
}

// skipRest reads to the end of a stream in which no delimiter can come any more.
func (ix *indexer) skipRest() {
	for {
		ix.countTo(ix.end())
		ix.keep = ix.end()
		if !ix.more() {
			return
		}
	}
}

func (ix *indexer) startCounting() {
	p := &ix.msg.Parts[ix.stack[ix.open-1].part]
	ix.counter, ix.counted = transfer.NewCounter(p.encoding), p.Body.Start
}

// countTo counts the decoded bytes of the open leaf; the mail before pos must be in memory, and belong to the leaf.
func (ix *indexer) countTo(pos int) {
	if ix.msg.streamed && !ix.enough && pos > ix.counted {
		ix.counter.Add(ix.window.bytes(Span{ix.counted, pos}))
		ix.counted = pos
	}
}

func (ix *indexer) stopCounting(end int) {
	if ix.open > 0 {
		ix.countTo(end)
		p := &ix.msg.Parts[ix.stack[ix.open-1].part]
		p.decodedLen = ix.counter.Len()
	}
}
