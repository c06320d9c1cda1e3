package smtp

// This file has all replies of the engine (this package and smtpd). Two other places make replies: services/ingress/sink.go, for the
// result of a mail, and pkg/policy, for recipients and senders that are refused. These reach the client through Reject and
// Fail.

import "strconv"

// RelayingDenied is the text of 550 5.7.1: in this package for recipients that no policy can allow, in pkg/policy for others.
const RelayingDenied = "Relaying denied: not a domain of this server"

// The replies that are always the same. Enhanced codes are those of RFC 3463 and its registry, and have the class
// of the code (RFC 2034 section 4). The last field is the reason for logs and metrics. They are variables only because Go has
// no constant structs; nothing writes to them.
var (
	replyOK     = Reply{250, "2.0.0", "Ok", ""}
	replyBye    = Reply{221, "2.0.0", "Bye", "quit"}
	replyHelp   = Reply{214, "2.0.0", "See RFC 5321", ""}
	replyVerify = Reply{252, "2.5.0", "Cannot verify the address; send the mail", ""}

	replyTLSReady  = Reply{220, "2.0.0", "Ready to start TLS", ""}
	replySender    = Reply{250, "2.1.0", "Ok", ""}
	replyRecipient = Reply{250, "2.1.5", "Ok", ""}
	replySendData  = Reply{354, "", "End data with <CR><LF>.<CR><LF>", ""}

	// For protocol errors of the client; these are counted (MaxErrors).
	replyEmptyLine      = Reply{500, "5.5.2", "Empty command", "syntax"}
	replyUnknown        = Reply{500, "5.5.1", "Unknown command", "unknown_command"}
	replyNotUTF8        = Reply{500, "5.5.2", "Command is neither ASCII nor UTF-8", "syntax"}
	replyLongLine       = Reply{500, "5.5.2", "Command line too long", "long_line"}
	replyControl        = Reply{501, "5.5.2", "Control character in command", "syntax"}
	replyBadHelo        = Reply{501, "5.5.2", "Give your name in printable ASCII", "syntax"}
	replyArgument       = Reply{501, "5.5.4", "Argument missing", "syntax"}
	replyNoArgument     = Reply{501, "5.5.4", "No argument allowed", "syntax"}
	replyMailSyntax     = Reply{501, "5.5.4", "Syntax: MAIL FROM:<address>", "syntax"}
	replyRcptSyntax     = Reply{501, "5.5.4", "Syntax: RCPT TO:<address>", "syntax"}
	replyBadParam       = Reply{501, "5.5.4", "Malformed parameter", "parameter"}
	replyUnknownParam   = Reply{555, "5.5.4", "Unsupported parameter", "parameter"}
	replyBadSender      = Reply{501, "5.1.7", "Bad sender address syntax", "bad_sender"}
	replyBadRecipient   = Reply{501, "5.1.3", "Bad recipient address syntax", "bad_recipient"}
	replyNotImplemented = Reply{502, "5.5.1", "Command not implemented", "not_implemented"}
	replyHeloFirst      = Reply{503, "5.5.1", "Send HELO or EHLO first", "sequence"}
	replyNested         = Reply{503, "5.5.1", "A mail transaction is already in progress", "sequence"}
	replyMailFirst      = Reply{503, "5.5.1", "Send MAIL first", "sequence"}
	replyRcptFirst      = Reply{503, "5.5.1", "Send RCPT first", "sequence"}
	replyInTransaction  = Reply{503, "5.5.1", "Not allowed during a mail transaction", "sequence"}
	replyInChunks       = Reply{503, "5.5.1", "Continue with BDAT, or send RSET", "sequence"}
	replyTLSActive      = Reply{503, "5.5.1", "TLS is already active", "sequence"}
	replyNoRecipients   = Reply{554, "5.5.1", "No valid recipients", "no_recipients"}
	replyEmptyChunk     = Reply{501, "5.5.4", "An empty chunk must be the last", "syntax"}
	replyJunk           = Reply{503, "5.5.1", "Too many commands without a mail", "junk"}
	replyRefusedService = Reply{503, "5.5.1", "No service here, send QUIT", "sequence"}

	// Replies that end the session.
	replyBareLF        = Reply{550, "5.5.2", "Lines must end with <CR><LF>", "bare_lf_command"}
	replySync          = Reply{554, "5.5.0", "You must wait for the server's reply", "no_wait"}
	replyNotSMTP       = Reply{221, "2.7.0", "This is SMTP, goodbye", "not_smtp"}
	replyBadChunk      = Reply{521, "5.5.4", "Bad chunk size, cannot find the next command", "bad_chunk"}
	replyTooManyErrors = Reply{421, "4.7.0", "Too many errors", "too_many_errors"}
	replyTooManyRcpts  = Reply{421, "4.7.0", "Too many refused recipients", "too_many_refused"}
	replyTooManyMails  = Reply{421, "4.7.0", "Too many mails on one connection", "too_many_mails"}
	replyTimeout       = Reply{421, "4.4.2", "Timeout", "timeout"}
	replyShutdown      = Reply{421, "4.3.2", "Shutting down, try again", "shutdown"}

	// Replies of the driver, smtpd. A limit is reached before there is a session that could answer.
	ReplyTooManyConns = Reply{421, "4.7.0", "Too many connections, try again later", "limit"}
	ReplyNoClient     = Reply{451, "4.7.0", "The load balancer did not give your address", "unknown_client"}
	ReplyTLSBusy      = Reply{454, "4.7.0", "TLS not available due to load, try again later", "tls_busy"}

	// What is wrong with an address.
	replySenderUTF8    = Reply{553, "5.6.7", "Sender needs SMTPUTF8", "needs_smtputf8"}
	replyRecipientUTF8 = Reply{553, "5.6.7", "Recipient needs SMTPUTF8", "needs_smtputf8"}
	replyRelay         = Reply{550, "5.7.1", RelayingDenied, "relay"}
	replyRcptMax       = Reply{452, "4.5.3", "Too many recipients, send the rest in another mail", "too_many_recipients"}
	replyEnvelopeMax   = Reply{452, "4.5.3", "Envelope too large, send the rest in another mail", "too_many_recipients"}

	// What is wrong with a mail.
	replyTooLarge = Reply{552, "5.3.4", "Mail exceeds the size limit", "too_large"}
	replyEndings  = Reply{550, "5.5.2", "Bare <CR>, or <LF> without <CR>, in the mail", "line_endings"}
	replyLoop     = Reply{554, "5.4.6", "Mail loop: too many Received fields", "loop"}

	// Our own faults are temporary.
	replyFault = Reply{451, "4.3.0", "Temporary failure, try again later", "fault"}
)

// The replies below have variable parts: the host name, the extensions, an id. None of them repeats what a client sent.

// greeting is the 220 of RFC 5321 section 4.2, which XCLIENT asks for once more.
func greeting(hostname string) Reply { return Reply{220, "", hostname + " ESMTP", ""} }

// heloReply answers HELO.
func heloReply(hostname string) Reply { return Reply{250, "", hostname, ""} }

// ehloReply answers EHLO with the keywords of what we offer this client. Not among them, on purpose: AUTH, VRFY,
// DSN, BINARYMIME, REQUIRETLS.
func ehloReply(cfg *SessionConfig, peer *Peer) Reply {
	if r := cfg.ehlo; r != nil && peer.TLS == nil && !peer.XClient {
		return *r
	}
	list := cfg.Hostname + "\nPIPELINING\nSIZE " + strconv.FormatInt(cfg.MaxMessageBytes, 10) +
		"\n8BITMIME\nSMTPUTF8\nENHANCEDSTATUSCODES\nCHUNKING\n"
	if cfg.StartTLS && peer.TLS == nil {
		list += "STARTTLS\n"
	}
	if peer.XClient {
		list += "XCLIENT ADDR PORT\n"
	}
	list += "LIMITS RCPTMAX=" + strconv.Itoa(cfg.MaxRcpts) // RFC 9422
	if cfg.MaxMails > 0 {
		list += " MAILMAX=" + strconv.Itoa(cfg.MaxMails)
	}
	return Reply{250, "", list, ""}
}

// queuedReply is the promise: the mail is stored under this id.
func queuedReply(id string) Reply { return Reply{250, "2.0.0", "Ok: queued as " + id, ""} }

// badXClientReply tells the trusted proxy what is wrong with its XCLIENT.
func badXClientReply(err error) Reply {
	return Reply{501, "5.5.4", "Bad XCLIENT: " + err.Error(), "syntax"}
}
