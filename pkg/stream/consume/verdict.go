package consume

import "github.com/sluice-mail/sluice/pkg/stream/internal/settle"

// Verdict is what a Handler decided about one mail. The zero value is not a verdict; it counts as a fault of
// the handler.
type Verdict = settle.Verdict

// Done: the mail has been handled, and the result is committed. When all mails of a message are done, the message is acknowledged.
func Done() Verdict { return settle.Done() }

// Retry: nothing is wrong with the mail, but something that the handler needs, such as the database, is not available. The worker
// stops fetching, keeps the mail and calls the handler with it again until it succeeds.
func Retry(err error) Verdict { return settle.Retry(err) }

// Dead: the mail can never be handled, however often it is tried. The whole mail goes to the dead letters with
// this reason; without dead letters (the cachewarmer) it is counted and skipped.
func Dead(reason string) Verdict { return settle.Dead(reason) }
