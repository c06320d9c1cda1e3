// Package mailbox is the inbox: it serves stored mail over HTTP, to programs and to browsers. It reads the cache, and the
// database for what the cache does not have. NATS tells it when mail has been stored; it never writes to the log.
//
//	GET  ──▶ reading.Reader ──▶ cache, else database ──▶ JSON (internal/api, internal/inbucket), HTML (internal/web)
//	DELETE ──▶ reading.Reader ──▶ database, then the cache's page ──▶ answer
//	mail.stored.<p> ──▶ internal/push ──▶ readers who wait (events, long poll)
//
// Every request passes, from the outside in: internal/requests (id, log, metrics), internal/access (which client, by which host
// name, how often, for which mailboxes), the mux. Consumes: mail.stored.<p>. Produces: HTTP answers; deletions and "seen" marks in
// the database. Any number may run side by side.
package mailbox
