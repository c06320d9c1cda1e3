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
// What it refuses to be lenient about is the end of a message: only CRLF "." CRLF ends DATA, a line feed beside
// a dot or a bare carriage return is refused after that true end, and after a timeout or an overrun inside a
// message the session is over, so no byte of a message is ever taken for a command.
package smtp
