// Package api is the inbox for programs: JSON below /api/v1, described by /openapi.json, errors as RFC 9457 has them.
//
//	GET    /api/v1/mailboxes/{address}/messages              list, newest first; before, after, limit, q, wait
//	GET    /api/v1/mailboxes/{address}/messages/{id}         one mail, decoded
//	GET    /api/v1/mailboxes/{address}/messages/{id}/raw     its source; Range
//	GET    /api/v1/mailboxes/{address}/messages/{id}/parts/{n}   a part, as a download
//	DELETE /api/v1/mailboxes/{address}/messages/{id}         from this mailbox
//	DELETE /api/v1/mailboxes/{address}/messages              all that are there now
//
// A mailbox that a request may not read looks as if the mail were not there. Nothing an answer says is about other
// mailboxes or about our insides.
package api
