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
	HasAttachment bool
	Flags         Flags
}

// MaxSummaryText bounds each text of a Summary, in bytes.
const MaxSummaryText = 4096

// Summarise reads the derived columns of a whole mail.
func Summarise(raw []byte) Summary { return Index(raw).Summary() }

// SummarisePrefix does the same for the first bytes of a larger mail. MaxHeaderBytes of it are enough
// for everything but HasAttachment, which tells what was seen. The Truncated flag is always set.
func SummarisePrefix(prefix []byte) Summary { return IndexPrefix(prefix).Summary() }

// Summary reads the derived columns of an indexed mail.
func (m *Message) Summary() Summary {
	root := &m.Parts[0]
	s := Summary{ContentType: root.Type, Charset: m.hint(), Flags: m.Flags}
	for i := range m.Parts {
		if m.Parts[i].IsAttachment() {
			s.HasAttachment = true
			break
		}
	}
	fields := fieldScanner{raw: m.Raw, pos: root.Header.Start, end: root.Header.End}
	for fields.next() {
		s.take(root.bytes(fields.name), root.bytes(fields.value))
	}
	return s
}

// take keeps the first field of each kind. Later ones are forgeries or accidents (RFC 5322 section 3.6
// allows one), and the first is what most readers show.
func (s *Summary) take(name, value []byte) {
	switch len(name) {
	case len("to"):
		s.text(&s.To, "to", name, value)
	case len("from"):
		s.text(&s.From, "from", name, value)
		if s.Date.IsZero() && equalFold(name, "date") {
			date, ok := parseDate(value)
			if !ok {
				s.Flags |= BadDate
			}
			s.Date = date
		}
	case len("subject"):
		s.text(&s.Subject, "subject", name, value)
	case len("message-id"):
		if s.MessageID == "" && equalFold(name, "message-id") {
			s.text(&s.MessageID, "message-id", name, value)
			s.MessageID = trimBrackets(s.MessageID)
		}
	}
}

func (s *Summary) text(dst *string, want string, name, value []byte) {
	if *dst != "" || !equalFold(name, want) {
		return
	}
	text, flags := decodeText(value, s.Charset, MaxSummaryText)
	*dst = text
	s.Flags |= flags
}
