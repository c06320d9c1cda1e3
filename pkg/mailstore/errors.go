package mailstore

import "errors"

// Class says what to do about an error of a Store.
type Class int

const (
	// Unknown: no class is known for the error. It may be caused by one mail or by the state of the server, which only the result
	// of storing other mail can show. While a Probe fails too, the server is the cause: treat it as Pause. When the Probe
	// succeeds, bisect as with Data; but a mail is at fault only if it fails alone several times, over seconds, and a
	// Probe succeeds before and after each of these attempts.
	Unknown Class = iota
	// Retry: a conflict with another transaction. Send the same batch again, after a short random wait.
	Retry
	// Reconnect: the connection is lost and the outcome unknown. Send the same batch again; rows that exist stay as they are.
	Reconnect
	// Pause: nothing can be stored now (server down, full, read-only, not migrated, or missing rights). Stop fetching.
	Pause
	// Data: the database refuses one of the mails. Bisect to find it, try PutOne, and if this fails make it a dead letter.
	Data
)

func (c Class) String() string {
	return [...]string{"unknown", "retry", "reconnect", "pause", "data"}[c]
}

// Error is an error of a database, with the class that says what to do about it.
type Error struct {
	Class Class  // what the caller should do
	Op    string // what was being done
	Hint  string // what the operator can do, if anything
	Err   error  // of the driver or the server
}

func (e *Error) Error() string {
	s := e.Op + ": " + e.Err.Error()
	if e.Hint != "" {
		s += " (" + e.Hint + ")"
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// Classify tells the class of an error that a Store returned.
func Classify(err error) Class {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Class
	}
	return Unknown
}
