// Package push tells readers of new mail as it comes: by Server-Sent Events, and by ending a long poll.
//
//	mail.stored.* (NATS) ─▶ Hub ─▶ one question to the database per mailbox that somebody waits for ─▶ its readers
//	          every 2 s  ─▶
//
// An announcement is only a reason to look. One that is lost costs two seconds, because mailboxes that somebody waits for are
// looked at anyway (CheckRate bounds how many per second; 10,000 of them take longer).
//
// The id of an event is when its mail was stored, in Unix milliseconds, and the mail's id: 1764390000123-01KB…. Mails become
// visible in the order of their transactions' ends, not of these times, so who resumes after an event is sent everything
// stored since a minute before it, and drops the ids it knows. What a connection has sent it does not send again.
//
// A reader's connection is taken over from net/http (which would keep 27 KiB for it) and has one goroutine; behind a proxy that
// speaks HTTP/2 to us, and cannot be taken over, it is served plainly. A reader that does not read is cut off, and resumes.
package push
