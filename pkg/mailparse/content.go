package mailparse

import (
	"bytes"
	"strings"

	"github.com/sluice-mail/sluice/pkg/mailparse/charset"
	"github.com/sluice-mail/sluice/pkg/mailparse/transfer"
)

// maxFieldText bounds a decoded field or file name, in bytes.
const maxFieldText = 64 << 10

// Decoded returns the body with its transfer encoding (base64, quoted-printable) undone, at most limit
// bytes of it. Cut is set when there was more. Unencoded bodies alias the raw mail.
func (p *Part) Decoded(limit int) ([]byte, Flags) {
	data, clean, cut := transfer.Decode(p.encoding, p.body(), limit)
	return data, unless(clean, BadEncoding) | unless(!cut, Cut)
}

// unless is the flag of something that is not as it should be.
func unless(ok bool, flag Flags) Flags {
	if ok {
		return 0
	}
	return flag
}

// Text returns the body of a text part as UTF-8, at most limit bytes of it. Its charset is the declared one; when that
// says nothing, the one that a page declares in itself, and then what the mail declares elsewhere.
func (p *Part) Text(limit int) (string, Flags) {
	data, flags := p.Decoded(limit)
	return p.text(data, flags, limit)
}

func (p *Part) text(data []byte, flags Flags, limit int) (string, Flags) {
	label := p.Charset()
	if p.Type == "text/html" && !charset.Says(label) {
		label = declaredBy(data, label)
	}
	if flags.Has(Cut) {
		data = withoutCutRune(data)
	}
	text, ok := charset.Decode(data, label, p.msg.hint)
	return cutText(text, max(limit, 0), flags|unless(ok, BadCharset))
}

// withoutCutRune takes off the beginning of a UTF-8 character that a cut left at the end.
func withoutCutRune(data []byte) []byte {
	for i := len(data) - 1; i >= 0 && i >= len(data)-3; i-- {
		switch c := data[i]; {
		case c < 0x80:
			return data
		case c >= 0xf0 && len(data)-i < 4, c >= 0xe0 && c < 0xf0 && len(data)-i < 3, c >= 0xc0 && c < 0xe0 && len(data)-i < 2:
			return data[:i]
		case c >= 0xc0:
			return data
		}
	}
	return data
}

// Field returns the decoded text of the first field of that name, or "".
func (p *Part) Field(name string) string {
	name = strings.ToLower(name)
	raw := p.msg.text
	fields := fieldScanner{raw: raw, pos: p.head.Start, end: p.head.End}
	for fields.next() {
		if equalFold(raw[fields.name.Start:fields.name.End], name) {
			text, _ := decodeText(p.bytes(fields.value), p.msg.hint, maxFieldText)
			return text
		}
	}
	return ""
}

// Fields calls fn with the name and the raw, still folded value of every field in order, until fn
// returns false.
func (p *Part) Fields(fn func(name string, value []byte) bool) {
	fields := fieldScanner{raw: p.msg.text, pos: p.head.Start, end: p.head.End}
	for fields.next() {
		if !fn(string(p.bytes(fields.name)), p.bytes(fields.value)) {
			return
		}
	}
}

// DecodedFields calls fn with the name and the decoded text of every field in order, until fn returns false. A text is one
// line, at most 64 KiB of it.
func (p *Part) DecodedFields(fn func(name, text string) bool) {
	p.Fields(func(name string, value []byte) bool {
		text, _ := decodeText(value, p.msg.hint, maxFieldText)
		return fn(name, text)
	})
}

// Filename returns the decoded file name of an attachment, or "". It is the sender's: it may hold path separators and
// names that mean something to a shell or a browser.
func (p *Part) Filename() string {
	name := param(p.bytes(p.disposition), "filename")
	if !name.found {
		name = param(p.bytes(p.contentType), "name") // RFC 2183 took over from this one
	}
	text, _ := name.text(p.Charset(), maxFieldText)
	return text
}

// ContentID is the Content-ID without its angle brackets, as "cid:" links name it.
func (p *Part) ContentID() string {
	text, _ := decodeText(p.bytes(p.contentID), "", maxFieldText)
	return trimBrackets(text)
}

// Charset returns the declared charset in lower case, or "".
func (p *Part) Charset() string {
	label, found := param(p.bytes(p.contentType), "charset").token()
	if !found || len(label) > 64 || !isPlainText(label) {
		return ""
	}
	return strings.ToLower(string(label))
}

// IsAttachment says whether a reader should offer the part as a file. A part of an attached message may be one: of that
// message, not of the mail.
func (p *Part) IsAttachment() bool { return p.Role == RoleAttachment }

func firstWord(value []byte) []byte {
	value = skipSpace(value)
	if end := bytes.IndexAny(value, "; \t\r\n("); end >= 0 {
		value = value[:end]
	}
	return bytes.Trim(value, `"`)
}

func trimBrackets(s string) string {
	if i := strings.IndexByte(s, '<'); i >= 0 {
		if j := strings.IndexByte(s[i:], '>'); j >= 0 {
			return s[i+1 : i+j]
		}
	}
	return strings.Trim(s, "<> ")
}
