package consume

// Verdict is what a Handler decided about one mail. The zero value is not a verdict; it counts as a fault of
// the handler.
type Verdict struct {
	kind   verdictKind
	err    error
	reason string
}

type verdictKind uint8

const (
	noVerdict verdictKind = iota
	done
	retry
	dead
)

// Done: the mail is where it belongs, committed. It is acknowledged to the log.
func Done() Verdict { return Verdict{kind: done} }

// Retry: nothing is wrong with the mail, but what the handler needs (the database) is away. The worker stops
// fetching, keeps the mail and calls the handler with it again, for as long as it takes.
func Retry(err error) Verdict { return Verdict{kind: retry, err: err} }

// Dead: the mail can never be handled, however often it is tried. The whole mail goes to the dead letters with
// this reason; without dead letters (the cachewarmer) it is counted and skipped.
func Dead(reason string) Verdict { return Verdict{kind: dead, reason: reason} }
