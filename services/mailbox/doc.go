// Package mailbox is the inbox: it shows stored mail over HTTP, to programs and in a browser. It reads the cache first and
// the database for what is not there, and hears from the log when mail has been stored; it never writes to the log.
//
//	GET  ──▶ reading.Reader ──▶ cache, else database ──▶ JSON (internal/api, internal/inbucket), HTML (internal/web)
//	DELETE ──▶ reading.Reader ──▶ database, then the cache's page ──▶ answer
//	mail.stored.<p> ──▶ internal/push ──▶ readers who wait (events, long poll)
//
// Every request passes, from the outside in: internal/requests (id, log, metrics), internal/access (who asks, under which
// name, how often, for which mailboxes), the mux. Consumes: mail.stored.<p>. Produces: answers; deletions and marks in the
// database. Any number may run side by side.
package mailbox
