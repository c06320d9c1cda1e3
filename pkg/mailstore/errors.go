package mailstore

import "errors"

// Class says what to do about an error of a Store.
type Class int

const (
	// Unknown: no class is known for the error, so it may be about one mail or about the state of the server, and only
	// what happens to other mail can tell. While a Probe fails as well, it is a state: treat it as Pause. When the Probe
	// passes, bisect as with Data; but a mail is at fault only when it fails alone several times, over seconds, and a
	// Probe passes before and after each.
	Unknown Class = iota
	// Retry: a conflict with another transaction. The same batch again, after a short random wait.
	Retry
	// Reconnect: the connection is gone and the outcome unknown. The same batch again: the key absorbs a second copy.
	Reconnect
	// Pause: nothing can be stored for now (server away, full, read-only, not migrated, no rights). Stop fetching.
	Pause
	// Data: the database refuses this very mail. Bisect to the one, try PutOne, then the dead letters.
	Data
)

func (c Class) String() string {
	return [...]string{"unknown", "retry", "reconnect", "pause", "data"}[c]
}

// Error is an error of a database with what to do about it.
type Error struct {
	Class Class
	Op    string // what was being done
	Hint  string // what the operator can do, if anything
	Err   error
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
