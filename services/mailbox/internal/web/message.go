package web

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/mail"
	"strings"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/services/internal/reading"
	"github.com/sluice-mail/sluice/services/internal/token"
	"github.com/sluice-mail/sluice/services/mailbox/internal/api"
	"github.com/sluice-mail/sluice/services/mailbox/internal/safehtml"
)

// maxSource bounds how much of a source a page shows, in bytes.
const maxSource = 256 << 10

// mailView is a mail as it is shown.
type mailView struct {
	row
	Address string // who wrote it, when the name is shown
	View    string
	Views   []string
	Text    string
	Fields  []reading.Field
	Source  string
	Frame   string // the address of the frame
	Images  bool   // pictures of others are shown
	Remote  int    // how many there are
	Cut     bool
	Files   []file
	Raw     string
	Bounds  bool // a bounce
}

type file struct {
	Name string
	Type string
	Size int64
	Path string
}

func (p *Pages) message(w http.ResponseWriter, r *http.Request) {
	mailbox, ok := p.mailbox(w, r, token.Read)
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), pageTimeout)
	defer cancel()
	m, err := p.openMail(ctx, mailbox, r.PathValue("id"))
	if err != nil {
		p.failed(w, r, err)
		return
	}
	defer m.Close()
	view, err := p.view(ctx, m, r)
	if err != nil {
		p.failed(w, r, err)
		return
	}
	data, err := p.rows(ctx, mailbox, r)
	if err != nil {
		p.failed(w, r, err)
		return
	}
	for i := range data.Rows {
		data.Rows[i].Open = data.Rows[i].Entry.ID == m.Entry.ID
	}
	data.Mail = view
	title := m.Entry.Subject
	if title == "" {
		title, _ = p.words.say("mail.nosubject")
	}
	p.show(w, r, http.StatusOK, "inbox", page{Title: title, Address: mailbox, Data: data})
}

func (p *Pages) openMail(ctx context.Context, mailbox, text string) (*reading.Mail, error) {
	id, err := ulid.ParseStrict(text)
	if err != nil {
		return nil, mailstore.ErrNotFound
	}
	return p.Reader.Open(ctx, mailbox, id)
}

func (p *Pages) view(ctx context.Context, m *reading.Mail, r *http.Request) (*mailView, error) {
	text, html, cut, err := m.Bodies()
	if err != nil {
		return nil, err
	}
	v := &mailView{row: row{Entry: m.Entry}, Text: text, Cut: cut, Images: r.URL.Query().Get("images") == "1"}
	if parsed, err := mail.ParseAddress(m.Entry.HdrFrom); err == nil && parsed.Address != v.From() {
		v.Address = parsed.Address
	}
	v.choose(r.URL.Query().Get("view"), text != "" || html == "", html != "")
	base := api.MessagePath(m.Entry.Mailbox, m.Entry.ID.String())
	v.Raw = base + "/raw"
	for _, a := range m.Attachments() {
		f := file{Name: a.Name, Type: a.Type, Size: a.Size, Path: fmt.Sprintf("%s/parts/%d", base, a.Number)}
		if f.Name == "" {
			f.Name = fmt.Sprintf("part-%d", a.Number)
		}
		v.Files = append(v.Files, f)
	}
	switch v.View {
	case "html":
		found, err := p.Sanitiser.Clean(ctx, html, safehtml.Options{})
		if err != nil {
			return nil, err
		}
		v.Remote, v.Cut = found.Remote, v.Cut || found.Cut
		v.Frame = v.Path() + "/html"
		if v.Images {
			v.Frame += "?images=1"
		}
	case "header":
		v.Fields, v.Cut = m.Fields()
	case "source":
		source, err := io.ReadAll(io.LimitReader(m.Delivered(), maxSource))
		if err != nil {
			return nil, err
		}
		v.Source, v.Cut = strings.ToValidUTF8(string(source), "\uFFFD"), len(source) == maxSource
	}
	return v, nil
}

// choose picks what is shown: what was asked for if there is such a thing.
func (v *mailView) choose(asked string, hasText, hasHTML bool) {
	if hasHTML {
		v.Views = append(v.Views, "html")
	}
	if hasText {
		v.Views = append(v.Views, "text")
	}
	v.Views = append(v.Views, "header", "source")
	v.View = v.Views[0]
	for _, view := range v.Views {
		if view == asked {
			v.View = view
		}
	}
}
