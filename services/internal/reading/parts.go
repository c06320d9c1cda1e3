package reading

import (
	"io"

	"github.com/sluice-mail/sluice/pkg/mailparse"
)

// Part is a part of a mail. Its number, the index in the tree, stays the same: the same bytes have the same tree.
type Part struct {
	Number int
	// Parent is the number of the part it is in, -1 for the mail itself, which is number 0.
	Parent int
	// Type is the lower-case media type that the sender gave.
	Type string
	Role mailparse.Role
	// Name is a file name that is safe to show and to save under; empty when the sender gave none.
	Name string
	// ContentID is what "cid:" links call it.
	ContentID string
	Charset   string
	// Size is the length of the decoded body in bytes.
	Size int64
	// Foreign says that it belongs to an attached message, not to the mail.
	Foreign bool
}

// Parts lists the tree in the order of the bytes.
func (m *Mail) Parts() []Part {
	parts := make([]Part, len(m.index.Parts))
	for i := range m.index.Parts {
		parts[i] = m.part(i)
	}
	return parts
}

// Attachments are the parts to offer as files.
func (m *Mail) Attachments() []Part {
	var files []Part
	for _, i := range m.index.Attachments() {
		files = append(files, m.part(i))
	}
	return files
}

// Inline finds the parts that a page of the mail shows by Content-ID.
func (m *Mail) Inline() map[string]Part {
	ids := m.index.ContentIDs()
	parts := make(map[string]Part, len(ids))
	for id, i := range ids {
		parts[id] = m.part(i)
	}
	return parts
}

// Part returns a part by its number; false when there is none.
func (m *Mail) Part(number int) (Part, bool) {
	if number < 0 || number >= len(m.index.Parts) {
		return Part{}, false
	}
	return m.part(number), true
}

func (m *Mail) part(i int) Part {
	p := &m.index.Parts[i]
	size := 0
	if p.Role != mailparse.RoleStructure {
		size = p.DecodedLen()
	}
	return Part{
		Number: i, Parent: p.Parent, Type: p.Type, Role: p.Role, Name: SafeName(p.Filename()), ContentID: p.ContentID(),
		Charset: p.Charset(), Size: int64(size), Foreign: p.Within >= 0,
	}
}

// Content reads the decoded body of a part as it is asked for.
func (m *Mail) Content(number int) io.Reader { return m.index.Parts[number].DecodeFrom(m.raw) }
