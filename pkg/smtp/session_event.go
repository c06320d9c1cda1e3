package smtp

// EventKind says what an Event is.
type EventKind uint8

const (
	// EventNone: all input is consumed, nothing to do until more comes. Now is the time to write Output.
	EventNone EventKind = iota
	// EventMail is a question: may a mail come now? The sender is in Envelope().MailFrom.
	EventMail
	// EventRcpt is a question: is Event.Rcpt accepted? Accept takes the mailbox.
	EventRcpt
	// EventBegin is a question: open a delivery for Envelope().
	EventBegin
	// EventData carries the next bytes of the mail in Event.Span, which aliases the input of Feed.
	EventData
	// EventEnd is a question: commit the delivery with Flags(). Accept takes the id.
	EventEnd
	// EventAbort: drop the open delivery; the session continues. Event.Refused says what is wrong with the mail; its code
	// is 0 when the client withdrew the mail.
	EventAbort
	// EventStartTLS is a question: Accept, write Output, do the handshake unless Closed(), then TLSStarted; or
	// Reject. A handshake that fails ends the connection.
	EventStartTLS
	// EventXClient: an XCLIENT command changed Peer().Client.
	EventXClient
	// EventClose: write Output, drop the open delivery if there is one, close the connection.
	EventClose
)

// Event is something the driver has to do.
type Event struct {
	Kind EventKind // what happened
	Span []byte    // the bytes of an EventData, in the input of Feed
	Rcpt Rcpt      // belongs to EventRcpt
	// Refused belongs to EventAbort.
	Refused Reply
}

// Rcpt is the recipient of an EventRcpt.
type Rcpt struct {
	Local   string // without quotes and backslashes
	Domain  string // as given; empty for <postmaster>
	AsGiven string // the forward-path without angle brackets and source route
	UTF8    bool   // the mail was announced with SMTPUTF8
}
