package mailparse

import (
	"io"
	"strings"

	"github.com/sluice-mail/sluice/pkg/mailparse/transfer"
)

// Attachments lists the files of the mail by their index in Parts, in order. Those of attached messages are not among
// them.
func (m *Message) Attachments() []int {
	var files []int
	for i := range m.Parts {
		if p := &m.Parts[i]; p.Role == RoleAttachment && p.Within < 0 {
			files = append(files, i)
		}
	}
	return files
}

// ContentIDs finds the parts that a page of the mail can show, by their Content-ID: their indexes in Parts. Of several
// with the same one the first counts. A "cid:" URL has the id percent-encoded (RFC 2392 section 2).
func (m *Message) ContentIDs() map[string]int {
	ids := make(map[string]int)
	for i := range m.Parts {
		p := &m.Parts[i]
		if !p.hasID || p.Within >= 0 || p.Role == RoleStructure {
			continue
		}
		if id := p.ContentID(); id != "" {
			if _, taken := ids[id]; !taken {
				ids[id] = i
			}
		}
	}
	return ids
}

// Bodies returns the plain and the HTML text a reader shows, together at most limit bytes. A mail may
// have several of each: they are joined in their order. Attached messages keep theirs.
func (m *Message) Bodies(limit int) (plain, html string, flags Flags) {
	plain, html, flags, _ = m.bodies(limit, func(p *Part, limit int) (string, Flags, error) {
		text, flags := p.Text(limit)
		return text, flags, nil
	})
	return plain, html, flags
}

// BodiesFrom is Bodies of a mail whose bytes are elsewhere. The error is one of raw; the texts before it are returned.
func (m *Message) BodiesFrom(raw io.ReaderAt, limit int) (plain, html string, flags Flags, err error) {
	return m.bodies(limit, func(p *Part, limit int) (string, Flags, error) { return p.TextFrom(raw, limit) })
}

func (m *Message) bodies(limit int, read func(*Part, int) (string, Flags, error)) (plain, html string, flags Flags, err error) {
	var plains, htmls []string
	for i := range m.Parts {
		p := &m.Parts[i]
		if p.Role != RoleText || p.Within >= 0 {
			continue
		}
		text, more, readErr := read(p, limit)
		flags |= more
		limit -= len(text)
		if p.Type == "text/html" {
			htmls = append(htmls, text)
		} else {
			plains = append(plains, text)
		}
		if err = readErr; err != nil {
			break
		}
	}
	return strings.Join(plains, ""), strings.Join(htmls, ""), flags, err
}

// DecodedLen is the length of the body with its transfer encoding undone, in bytes: the size of a file. It costs a pass
// over the body, but for a mail that was read from a stream, which has it counted already.
func (p *Part) DecodedLen() int {
	switch {
	case p.encoding == transfer.Identity:
		return p.Body.Len()
	case p.msg.streamed:
		return p.decodedLen
	}
	return transfer.Len(p.encoding, p.body())
}

// DecodeFrom is Decoded, without a limit, of a mail whose bytes are elsewhere: raw is the whole mail, of which the body
// is read as the result is. Damage is passed over; errors are those of raw.
func (p *Part) DecodeFrom(raw io.ReaderAt) io.Reader {
	return transfer.NewReader(p.encoding, io.NewSectionReader(raw, int64(p.Body.Start), int64(p.Body.Len())))
}

// TextFrom is Text of a mail whose bytes are elsewhere. The error is one of raw; the text before it is returned. Damaged
// transfer encodings are not flagged.
func (p *Part) TextFrom(raw io.ReaderAt, limit int) (string, Flags, error) {
	limit = max(limit, 0)
	data, err := io.ReadAll(io.LimitReader(p.DecodeFrom(raw), int64(limit)+1))
	var flags Flags
	if len(data) > limit {
		data, flags = data[:limit], Cut
	}
	text, flags := p.text(data, flags, limit)
	return text, flags, err
}
