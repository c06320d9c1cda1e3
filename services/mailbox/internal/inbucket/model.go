package inbucket

import (
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"net/mail"
	"net/textproto"
	"strings"
	"time"

	"golang.org/x/net/html"

	"github.com/sluice-mail/sluice/pkg/mailparse"
	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/services/internal/reading"
	"github.com/sluice-mail/sluice/services/mailbox/internal/access"
	"github.com/sluice-mail/sluice/services/mailbox/internal/api"
)

// header is a line of a list, as Inbucket names its fields.
type header struct {
	Mailbox     string    `json:"mailbox"`
	ID          string    `json:"id"`
	From        string    `json:"from"`
	To          []string  `json:"to"`
	Subject     string    `json:"subject"`
	Date        time.Time `json:"date"`
	PosixMillis int64     `json:"posix-millis"`
	Size        int64     `json:"size"`
	Seen        bool      `json:"seen"`
}

type message struct {
	header
	Body        body                `json:"body"`
	Header      map[string][]string `json:"header"`
	Attachments []attachment        `json:"attachments"`
}

type body struct {
	Text string `json:"text"`
	HTML string `json:"html"`
}

type attachment struct {
	FileName     string `json:"filename"`
	ContentType  string `json:"content-type"`
	DownloadLink string `json:"download-link"`
	ViewLink     string `json:"view-link"`
	MD5          string `json:"md5"`
}

func newHeader(name string, e mailstore.Entry) header {
	h := header{
		Mailbox: name, ID: e.ID.String(), From: "<" + e.Sender + ">", To: []string{"<" + e.Mailbox + ">"}, Subject: e.Subject,
		Date: e.Received, PosixMillis: e.Received.UnixMilli(), Size: e.Size, Seen: e.Seen,
	}
	if from, err := mail.ParseAddress(e.HdrFrom); err == nil {
		h.From = display(from)
	}
	if to, err := mail.ParseAddressList(e.HdrTo); err == nil {
		h.To = nil
		for _, a := range to {
			h.To = append(h.To, display(a))
		}
	}
	return h
}

func display(a *mail.Address) string {
	return strings.TrimSpace(a.Name + " <" + a.Address + ">")
}

func newMessage(name string, m *reading.Mail, link func(reading.Part) string) (*message, error) {
	text, page, _, err := m.Bodies()
	if err != nil {
		return nil, err
	}
	if text == "" {
		text = textOf(page)
	}
	msg := &message{header: newHeader(name, m.Entry), Body: body{text, page}, Header: make(map[string][]string), Attachments: []attachment{}}
	m.RawFields(func(name, value string) {
		name = textproto.CanonicalMIMEHeaderKey(name)
		msg.Header[name] = append(msg.Header[name], value)
	})
	var files []reading.Part
	for _, p := range m.Parts() {
		if p.Role == mailparse.RoleInline && !p.Foreign {
			files = append(files, p)
		}
	}
	for _, p := range append(files, m.Attachments()...) {
		sum := md5.New()
		if _, err := io.Copy(sum, m.Content(p.Number)); err != nil {
			return nil, err
		}
		msg.Attachments = append(msg.Attachments, attachment{p.Name, p.Type, link(p), link(p), hex.EncodeToString(sum.Sum(nil))})
	}
	return msg, nil
}

// partLinks makes absolute links to the parts of a mail.
func partLinks(r *http.Request, m *reading.Mail) func(reading.Part) string {
	scheme := "http"
	if access.IsHTTPS(r) {
		scheme = "https"
	}
	path := scheme + "://" + r.Host + api.MessagePath(m.Entry.Mailbox, m.Entry.ID.String())
	return func(p reading.Part) string { return fmt.Sprintf("%s/parts/%d", path, p.Number) }
}

// textOf is what a page says, without its looks.
func textOf(page string) string {
	var out strings.Builder
	hidden := 0
	for z := html.NewTokenizer(strings.NewReader(page)); ; {
		switch z.Next() {
		case html.ErrorToken:
			return strings.TrimSpace(out.String())
		case html.TextToken:
			if hidden == 0 {
				out.WriteString(strings.Join(strings.Fields(string(z.Text())), " "))
			}
		case html.StartTagToken:
			switch name, _ := z.TagName(); string(name) {
			case "script", "style", "head", "title":
				hidden++
			case "p", "div", "tr", "li", "br", "h1", "h2", "h3", "h4":
				out.WriteByte('\n')
			default:
				out.WriteByte(' ')
			}
		case html.EndTagToken:
			switch name, _ := z.TagName(); string(name) {
			case "script", "style", "head", "title":
				hidden = max(0, hidden-1)
			}
		}
	}
}
