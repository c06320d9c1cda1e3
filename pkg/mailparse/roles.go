package mailparse

import (
	"strings"

	"github.com/sluice-mail/sluice/pkg/mailparse/charset"
	"github.com/sluice-mail/sluice/pkg/mailparse/transfer"
)

// Role is what a part is there for: what a reader should do with it.
type Role uint8

const (
	// RoleStructure: a multipart, which only holds others.
	RoleStructure Role = iota
	// RoleText: text to show, plain or HTML (RFC 2046 section 4.1.4: an unknown kind of text is shown as plain).
	RoleText
	// RoleInline: a picture, or another piece of a page, that the page shows by its Content-ID (RFC 2392).
	RoleInline
	// RoleAttachment: a file to offer; an attached message (message/rfc822) is one as a whole.
	RoleAttachment
	// RoleMachine: for programs: a signature (RFC 1847), the status of a bounce and the mail it is about (RFC 6522),
	// text in a form that only other readers know.
	RoleMachine
)

// disposition is the first word of Content-Disposition (RFC 2183).
type disposition uint8

const (
	undisposed disposition = iota
	dispInline
	dispAttachment
)

func dispositionOf(value []byte) disposition {
	switch word := firstWord(value); {
	case equalFold(word, "attachment"):
		return dispAttachment
	case equalFold(word, "inline"):
		return dispInline
	}
	return undisposed
}

// setRoles gives every part its role. It needs the whole tree: a picture with a Content-ID is inline only if there is
// a page that can show it.
func (m *Message) setRoles() {
	for i := range m.Parts {
		if p := &m.Parts[i]; p.Type == "text/html" && m.roleOf(p, false) == RoleText {
			m.pageSeen(p.Within)
		}
	}
	for i := range m.Parts {
		p := &m.Parts[i]
		p.Role = m.roleOf(p, m.hasPage(p.Within))
	}
}

func (m *Message) pageSeen(within int) {
	if within < 0 {
		m.page = true
	} else {
		m.Parts[within].page = true
	}
}

func (m *Message) hasPage(within int) bool {
	if within < 0 {
		return m.page
	}
	return m.Parts[within].page
}

// roleOf decides by structure first, because what belongs to the structure is often marked as an attachment for
// readers that do not know the structure.
func (m *Message) roleOf(p *Part, page bool) Role {
	parent := ""
	if p.Parent >= 0 {
		parent = m.Parts[p.Parent].Type
	}
	signature := strings.HasSuffix(p.Type, "-signature")
	switch {
	case isMultipart(p.Type):
		return RoleStructure
	case parent == "multipart/signed" && signature,
		parent == "multipart/encrypted" && p.Type == "application/pgp-encrypted",
		parent == "multipart/report" && (strings.HasPrefix(p.Type, "message/") || p.Type == "text/rfc822-headers"):
		return RoleMachine
	case p.disposed == dispAttachment:
		return RoleAttachment
	case signature, p.Type == "application/pgp-encrypted":
		return RoleMachine
	case isText(p.Type):
		return textRole(p, parent)
	case p.hasID && (parent == "multipart/related" || page && strings.HasPrefix(p.Type, "image/")):
		return RoleInline
	}
	return RoleAttachment
}

func textRole(p *Part, parent string) Role {
	switch {
	case p.named:
		return RoleAttachment
	case p.Type != "text/plain" && p.Type != "text/html" && parent == "multipart/alternative":
		return RoleMachine // such as an invitation, or AMP: its text is there in plain as well
	}
	return RoleText
}

// noteCharset keeps the charset of the first text that declares one, and the one to try for raw 8-bit text elsewhere:
// the first declared one that can tell.
func (m *Message) noteCharset(p *Part) {
	if m.hint != "" || !isText(p.Type) {
		return
	}
	label := p.Charset()
	if p.Type == "text/html" && !charset.Says(label) {
		data, _, _ := transfer.Decode(p.encoding, p.lead(), charset.DeclaredIn)
		label = declaredBy(data, label)
	}
	if m.charset == "" {
		m.charset = label
	}
	if charset.Says(label) {
		m.hint = label
	}
}

// declaredBy is the charset that a page declares in itself, when that says more than the label in its header.
func declaredBy(page []byte, label string) string {
	if inside := charset.InHTML(page); charset.Says(inside) || label == "" {
		return inside
	}
	return label
}
