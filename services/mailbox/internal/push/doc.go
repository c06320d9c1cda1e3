// Package push tells readers of new mail when it arrives: by Server-Sent Events, and by answering a long poll.
//
//	mail.stored.* (NATS) ─▶ Hub ─▶ one database query per mailbox that has waiting readers ─▶ its readers
//	          every 2 s  ─▶
//
// An announcement only triggers a query. If one is lost, readers are told two seconds late, because mailboxes with waiting readers
// are queried regularly anyway (CheckRate bounds how many per second; with 10,000 of them it takes longer).
//
// The id of an event consists of the time its mail was stored, in Unix milliseconds, and the mail's id: 1764390000123-01KB….
// Mails become visible in the order in which their transactions end, which is not the order of these times. So a client that
// resumes after an event is sent everything stored since a minute before it, and ignores the ids it knows. A connection never
// sends the same mail twice.
//
// The connection of an event stream is hijacked from net/http (which would keep 27 KiB for it) and has one goroutine. With HTTP/2,
// where hijacking is not possible, the stream is served the usual way. A reader that does not keep up is disconnected, and resumes.
package push
