// Package smtpd is a receive-only SMTP engine (RFC 5321 and the extensions a mail exchanger needs).
//
// It has two halves. Session is the protocol: a pure state machine without sockets, clock or goroutines.
// Bytes go in by Feed, replies come out by Output, and everything that needs the outside world comes out as
// an Event. The same bytes give the same replies and the same stored mail however the network cut them up;
// that is what the fuzz targets check. Server is the driver around it: listeners, TLS, PROXY protocol,
// deadlines, limits and draining.
//
//	bytes ─▶ Feed ─┬─▶ EventMail, EventRcpt      may we? ─▶ Accept or Reject
//	               ├─▶ EventBegin                open a delivery ─▶ Accept (354) or Reject
//	               ├─▶ EventData                 a span of the mail, aliasing the read buffer
//	               ├─▶ EventEnd                  commit ─▶ Accept ("250 queued as id") or Reject
//	               ├─▶ EventAbort                drop the delivery
//	               ├─▶ EventStartTLS             handshake ─▶ TLSStarted
//	               └─▶ EventClose                flush, close
//
// The mail goes to a Sink; which recipients exist is asked of a Recipients. The engine stores nothing, parses
// no MIME and sends no mail.
//
// What it refuses to be lenient about is the end of a message: only CRLF "." CRLF ends DATA, a line feed beside
// a dot or a bare carriage return is refused after that true end, and after a timeout or an overrun inside a
// message the connection is closed, so no byte of a message is ever taken for a command.
package smtpd
