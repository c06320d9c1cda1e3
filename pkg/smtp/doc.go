// Package smtp is the protocol of a receive-only SMTP server (RFC 5321 and the extensions a mail exchanger needs):
// commands, replies, paths, parameters, the end of a mail, the header fields of final delivery. It has no socket, no
// clock and no goroutine; package smtpd is the driver that has them.
//
// Session is a pure state machine. Bytes go in by Feed, replies come out by Output, and everything that needs the
// outside world comes out as an Event. The same bytes give the same replies and the same stored mail however the
// network cut them up; that is what the fuzz targets check.
//
//	bytes ─▶ Feed ─┬─▶ EventMail, EventRcpt      may we? ─▶ Accept or Reject
//	               ├─▶ EventBegin                open a delivery ─▶ Accept (354) or Reject
//	               ├─▶ EventData                 a span of the mail, aliasing the read buffer
//	               ├─▶ EventEnd                  commit ─▶ Accept ("250 queued as id") or Reject
//	               ├─▶ EventAbort                drop the delivery
//	               ├─▶ EventStartTLS             handshake ─▶ TLSStarted
//	               └─▶ EventClose                flush, close
//
// It is strict about the end of a message. Only CRLF "." CRLF ends DATA. A message with a line feed next to a dot, or with a bare
// carriage return, is refused after that end. A timeout or an overrun inside a message ends the session. So no byte of
// a message is ever interpreted as a command.
package smtp
