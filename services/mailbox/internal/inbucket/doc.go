// Package inbucket implements the REST API of Inbucket 3 under /inbucket/api/v1, so that clients written for Inbucket work
// unmodified, such as github.com/inbucket/inbucket/v3/pkg/rest/client with the base URL http://HOST/inbucket.
//
// It differs from Inbucket on purpose in these points:
//   - A bare name is the mailbox of that name at the primary domain; without a primary domain it has no mail.
//   - A name that cannot be a mailbox has no mail, instead of status 500.
//   - PATCH with an empty body marks a mail as seen: that client sends an empty body, which Inbucket itself refuses.
//   - The field size is the size of the mail as sent.
//   - When the header field To cannot be read, the field to has only the mailbox.
//   - A list has the newest 500 mails.
//   - Links lead to Sluice's own API.
//   - There is no WebSocket.
package inbucket
