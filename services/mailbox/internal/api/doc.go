// Package api is the inbox for programs: JSON under /api/v1, described by /openapi.json, with errors as in RFC 9457.
//
//	GET    /api/v1/mailboxes/{address}/messages              list, newest first; before, after, limit, q, wait
//	GET    /api/v1/mailboxes/{address}/messages/{id}         one mail, decoded
//	GET    /api/v1/mailboxes/{address}/messages/{id}/raw     its source; Range
//	GET    /api/v1/mailboxes/{address}/messages/{id}/parts/{n}   a part, as a download
//	DELETE /api/v1/mailboxes/{address}/messages/{id}         from this mailbox
//	DELETE /api/v1/mailboxes/{address}/messages              all that are there now
//
// To a request that may not read a mailbox, the answer is the same as if the mail did not exist. An answer never says anything about
// other mailboxes, or about errors inside the service.
package api
