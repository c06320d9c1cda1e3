package mailparse

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math"
	"mime/quotedprintable"
	"strings"
	"testing"
)

// node is one entity of a constructed mail: how it is written, and what must be found of it.
type node struct {
	header   string // its Content-Type and what else describes it, with plain newlines
	encoding string // "", base64 or quoted-printable
	data     string // of a leaf, decoded
	boundary string // of a multipart
	children []node // of a multipart, or the one attached message

	mediaType, name, charset, id string
	role                         Role
}

func (n node) with(header string) node {
	n.header += header
	return n
}

func (n node) as(encoding string) node {
	n.encoding = encoding
	return n
}

func (n node) named(name string) node {
	n.name = name
	return n
}

func (n node) withID(id string) node {
	n.id = id
	return n.with("Content-ID: <" + id + ">\n")
}

func (n node) is(role Role) node {
	n.role = role
	return n
}

// leaf is written with its type, which may have parameters.
func leaf(role Role, contentType, data string) node {
	mediaType, _, _ := strings.Cut(contentType, ";")
	return node{header: "Content-Type: " + contentType + "\n", data: data, mediaType: strings.ToLower(mediaType), role: role}
}

func text(data string) node {
	n := leaf(RoleText, "text/plain; charset=utf-8", data)
	n.charset = "utf-8"
	return n
}

func html(data string) node {
	n := leaf(RoleText, "text/html; charset=utf-8", data)
	n.charset = "utf-8"
	return n
}

// file is an attachment of a type, named as both fields have it.
func file(mediaType, name string) node {
	return leaf(RoleAttachment, mediaType+"; name=\""+name+"\"", "data of "+name+"\x00\xff").
		with("Content-Disposition: attachment; filename=\"" + name + "\"\n").as("base64").named(name)
}

func picture(mediaType, id string) node {
	return leaf(RoleInline, mediaType, "\x89PNG "+id).as("base64").withID(id)
}

func multi(subtype string, children ...node) node {
	boundary := fmt.Sprintf("=_%s_%d", subtype, len(children))
	for _, c := range children {
		boundary += "." + c.boundary
	}
	boundary = boundary[:min(len(boundary), 70)] + "~"
	return bounded(subtype, boundary, "\""+boundary+"\"", children...)
}

func bounded(subtype, boundary, written string, children ...node) node {
	return node{header: "Content-Type: multipart/" + subtype + "; boundary=" + written + "\n",
		boundary: boundary, children: children, mediaType: "multipart/" + subtype, role: RoleStructure}
}

func attached(role Role, message node) node {
	n := leaf(role, "message/rfc822", "")
	n.children = []node{message}
	return n
}

// write writes an entity; newlines of headers and boundaries are plain.
func (n node) write(b *bytes.Buffer) {
	b.WriteString(n.header)
	if n.encoding != "" {
		b.WriteString("Content-Transfer-Encoding: " + n.encoding + "\n")
	}
	b.WriteString("\n")
	switch {
	case n.boundary != "":
		b.WriteString("This is MIME.\n")
		for _, c := range n.children {
			b.WriteString("--" + n.boundary + "\n")
			c.write(b)
			b.WriteString("\n")
		}
		b.WriteString("--" + n.boundary + "--\n")
	case len(n.children) > 0:
		n.children[0].write(b)
	case n.encoding == "base64":
		for data := []byte(n.data); len(data) > 0; data = data[min(len(data), 57):] {
			b.WriteString(base64.StdEncoding.EncodeToString(data[:min(len(data), 57)]) + "\n")
		}
	case n.encoding == "quoted-printable":
		w := quotedprintable.NewWriter(b)
		_, _ = w.Write([]byte(n.data)) // into memory
		_ = w.Close()
	default:
		b.WriteString(n.data)
	}
}

// flatten lists the entities in the order of their bytes.
func (n node) flatten() []node {
	all := []node{n}
	for _, c := range n.children {
		all = append(all, c.flatten()...)
	}
	return all
}

// constructed is one mail of the table.
type constructed struct {
	name        string
	root        node
	plain, html string
}

// TestConstructedMails: of 200 and more mails whose parts are known because they were put together from them, every
// part is found with its type, role, name, charset, Content-ID, size and bytes, from memory and from a stream.
func TestConstructedMails(t *testing.T) {
	var table []constructed
	table = append(table, textMails()...)
	table = append(table, namedMails()...)
	table = append(table, structuredMails()...)
	table = append(table, pictureMails()...)
	table = append(table, boundaryMails()...)
	if len(table) < 200 {
		t.Errorf("only %d mails", len(table))
	}
	for _, c := range table {
		t.Run(c.name, func(t *testing.T) {
			var b bytes.Buffer
			b.WriteString("Subject: x\nMIME-Version: 1.0\n")
			c.root.write(&b)
			raw := bytes.ReplaceAll(b.Bytes(), []byte("\r\n"), []byte("\n"))
			checkConstructed(t, c, raw)
			checkConstructed(t, c, bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n")))
		})
	}
	t.Logf("%d mails", len(table))
}

func checkConstructed(t *testing.T, c constructed, raw []byte) {
	t.Helper()
	m := Index(raw)
	streamed, err := Read(bytes.NewReader(raw))
	check(t, "error", err, nil)
	check(t, "flags", m.Flags, 0)
	want := c.root.flatten()
	if len(m.Parts) != len(want) || len(streamed.Parts) != len(want) {
		t.Fatalf("%d parts, from a stream %d, want %d: %s", len(m.Parts), len(streamed.Parts), len(want), outline(m))
	}
	ids := make(map[string]int)
	var files []int
	for i, w := range want {
		for _, p := range []*Part{&m.Parts[i], &streamed.Parts[i]} {
			what := fmt.Sprintf("part %d: ", i)
			check(t, what+"type", p.Type, w.mediaType)
			check(t, what+"role", p.Role, w.role)
			check(t, what+"name", p.Filename(), w.name)
			check(t, what+"charset", p.Charset(), w.charset)
			check(t, what+"id", p.ContentID(), w.id)
			if w.boundary == "" && len(w.children) == 0 {
				data, _ := m.Parts[i].Decoded(math.MaxInt32)
				check(t, what+"data", strings.ReplaceAll(string(data), "\r\n", "\n"), w.data)
				check(t, what+"size", p.DecodedLen(), len(data))
			}
		}
		if m.Parts[i].Within < 0 {
			if w.id != "" && w.role != RoleStructure {
				ids[w.id] = i
			}
			if w.role == RoleAttachment {
				files = append(files, i)
			}
		}
	}
	check(t, "attachments", fmt.Sprint(m.Attachments()), fmt.Sprint(files))
	check(t, "has attachment", m.Summary().HasAttachment, len(files) > 0)
	check(t, "content ids", fmt.Sprint(m.ContentIDs()), fmt.Sprint(ids))
	plain, html, flags := m.Bodies(1 << 20)
	check(t, "text flags", flags, 0)
	check(t, "plain", strings.ReplaceAll(plain, "\r\n", "\n"), c.plain)
	check(t, "html", strings.ReplaceAll(html, "\r\n", "\n"), c.html)
}
