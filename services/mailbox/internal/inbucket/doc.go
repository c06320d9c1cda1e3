// Package inbucket answers as the REST API of Inbucket 3 does, below /inbucket/api/v1, so that its clients work unmodified:
// theirs is github.com/inbucket/inbucket/v3/pkg/rest/client, with http://HOST/inbucket as its base.
//
// What differs, on purpose: a bare name is the mailbox of that name at the primary domain (without one it has no mail); a
// name that cannot be a mailbox has no mail, instead of status 500; an empty body of PATCH marks a mail as seen, which is
// what that client sends and what Inbucket itself refuses; size is that of the mail as sent; to names nobody but the
// mailbox when the field To cannot be read; a list has the newest 500 mails; links lead to our own API; there is no
// WebSocket.
package inbucket
