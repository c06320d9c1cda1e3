package mailparse

import "time"

// Summary is what a mailbox list shows of one mail: every text is valid UTF-8 without control
// characters and at most MaxSummaryText bytes long.
type Summary struct {
	Subject string
	// From and To are the decoded text of the first such field, for display and search; they are not
	// meant to be parsed for addresses.
	From, To string
	// Date is the Date field in UTC; zero when it is missing or unreadable (then BadDate is set).
	Date time.Time
	// MessageID is without its angle brackets.
	MessageID string
	// ContentType is the lower-case media type of the whole mail; "text/plain" when none is given.
	ContentType string
	// Charset is the declared charset of the first text body, in lower case; empty when none is given.
	Charset       string
	HasAttachment bool  // there is a part to download that is no signature, inline image or part of an attached message
	Flags         Flags // what was wrong with the mail
}

// MaxSummaryText bounds each text of a Summary, in bytes.
const MaxSummaryText = 4096

// Summarise reads the derived columns of a whole mail.
func Summarise(raw []byte) Summary { return Index(raw).Summary() }

// Summary reads the derived columns of an indexed mail.
func (m *Message) Summary() Summary {
	root := &m.Parts[0]
	r := summaryReader{Summary: Summary{ContentType: root.Type, Charset: m.charset, Flags: m.Flags}, hint: m.hint}
	r.HasAttachment = m.hasAttachment()
	fields := fieldScanner{raw: m.text, pos: root.head.Start, end: root.head.End}
	for fields.next() {
		r.take(root.bytes(fields.name), root.bytes(fields.value))
	}
	return r.Summary
}

// hasAttachment: those of attached messages are theirs.
func (m *Message) hasAttachment() bool {
	for i := range m.Parts {
		if p := &m.Parts[i]; p.Role == RoleAttachment && p.Within < 0 {
			return true
		}
	}
	return false
}

// summaryReader keeps the first field of each kind, even if it is empty. Later ones are forgeries or accidents (RFC
// 5322 section 3.6 allows one), and the first is what most readers show.
type summaryReader struct {
	Summary
	hint                               string
	subject, from, to, date, messageID bool // seen
}

func (s *summaryReader) take(name, value []byte) {
	switch {
	case equalFold(name, "to"):
		s.text(&s.To, &s.to, value)
	case equalFold(name, "from"):
		s.text(&s.From, &s.from, value)
	case equalFold(name, "subject"):
		s.text(&s.Subject, &s.subject, value)
	case equalFold(name, "message-id") && !s.messageID:
		s.text(&s.MessageID, &s.messageID, value)
		s.MessageID = trimBrackets(s.MessageID)
	case equalFold(name, "date") && !s.date:
		var ok bool
		s.Date, ok = parseDate(value)
		s.Flags |= unless(ok, BadDate)
		s.date = true
	}
}

func (s *summaryReader) text(dst *string, seen *bool, value []byte) {
	if *seen {
		return
	}
	*seen = true
	text, flags := decodeText(value, s.hint, MaxSummaryText)
	*dst = text
	s.Flags |= flags
}
