package api

import (
	"fmt"
	"net/url"
	"time"

	"github.com/sluice-mail/sluice/pkg/mailparse"
	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/services/internal/reading"
)

// Summary is a line of a list.
type Summary struct {
	ID         string    `json:"id" doc:"Sorts by time of arrival."`
	Mailbox    string    `json:"mailbox" doc:"The mailbox it is in."`
	Sender     string    `json:"sender" doc:"The return path of the envelope; empty for a bounce."`
	From       string    `json:"from" doc:"The field From, decoded."`
	To         string    `json:"to" doc:"The field To, decoded."`
	Subject    string    `json:"subject" doc:"The field Subject, decoded."`
	Received   time.Time `json:"received" doc:"When it was accepted."`
	Stored     time.Time `json:"stored" doc:"When it became visible."`
	Size       int64     `json:"size" doc:"In bytes, as sent."`
	Seen       bool      `json:"seen" doc:"Whether it has been marked as seen."`
	Attachment bool      `json:"attachment" doc:"Whether it has attachments."`
}

// NewSummary describes an entry.
func NewSummary(e mailstore.Entry) Summary {
	return Summary{
		ID: e.ID.String(), Mailbox: e.Mailbox, Sender: e.Sender, From: e.HdrFrom, To: e.HdrTo, Subject: e.Subject,
		Received: e.Received.UTC(), Stored: e.Stored.UTC(), Size: e.Size, Seen: e.Seen, Attachment: e.HasAttachment,
	}
}

// List is a page of a mailbox.
type List struct {
	Mailbox  string    `json:"mailbox" doc:"The requested address in its normal form."`
	Messages []Summary `json:"messages" nullable:"false" doc:"Newest first."`
	Next     string    `json:"next,omitempty" doc:"The value of before for the next page, with older mail; missing when there is none."`
}

// Message is one mail.
type Message struct {
	Summary
	Fields    []Field  `json:"fields" nullable:"false" doc:"The header fields, decoded and in order; those added at delivery come first."`
	Text      string   `json:"text" doc:"The plain text."`
	HTML      string   `json:"html" doc:"The sanitised HTML. Still, show it only in a sandboxed frame."`
	Truncated bool     `json:"truncated" doc:"Whether text, html or fields were cut; the source has everything."`
	Parts     []Part   `json:"parts" nullable:"false" doc:"The tree of parts; the first is the mail itself."`
	Unusual   []string `json:"unusual" nullable:"false" doc:"Names of what is malformed or unusual in the mail."`
	Source    string   `json:"source" doc:"Path of the source."`
}

// Field is a header field.
type Field struct {
	Name  string `json:"name" doc:"As in the mail, without the colon."`
	Value string `json:"value" doc:"Unfolded and decoded."`
}

// Part is a part of a mail.
type Part struct {
	Number    int    `json:"number" doc:"For the path of its content; 0 is the mail itself."`
	Parent    int    `json:"parent" doc:"The number of the part it is in; -1 for the mail itself."`
	Type      string `json:"type" doc:"The media type that the sender gave."`
	Role      string `json:"role" enum:"structure,text,inline,attachment,machine" doc:"The purpose of the part."`
	Name      string `json:"name" doc:"A file name that is safe to save under; may be empty."`
	ContentID string `json:"content_id" doc:"The field Content-ID, without angle brackets; may be empty."`
	Size      int64  `json:"size" doc:"In bytes, decoded."`
	URL       string `json:"url" doc:"Path of its content; empty when it only contains other parts."`
}

func newPart(p reading.Part, mail string) Part {
	part := Part{
		Number: p.Number, Parent: p.Parent, Type: p.Type, Role: roleName(p.Role), Name: p.Name, ContentID: p.ContentID, Size: p.Size,
	}
	if p.Role != mailparse.RoleStructure {
		part.URL = fmt.Sprintf("%s/parts/%d", mail, p.Number)
	}
	return part
}

func roleName(r mailparse.Role) string {
	switch r {
	case mailparse.RoleStructure:
		return "structure"
	case mailparse.RoleText:
		return "text"
	case mailparse.RoleInline:
		return "inline"
	case mailparse.RoleAttachment:
		return "attachment"
	default:
		return "machine"
	}
}

// MessagePath is the path of a mail below the API.
func MessagePath(mailbox, id string) string {
	return "/api/v1/mailboxes/" + url.PathEscape(mailbox) + "/messages/" + id
}
