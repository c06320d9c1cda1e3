// Package dead keeps the mails that cannot be handled, each with its reason, in the stream MAIL_DEAD: it buries them,
// lists them, and gives them back to the log or drops them when an operator says so.
package dead
