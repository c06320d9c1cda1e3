package mailstore

import "time"

// Vitals are what a database says about itself, for those who rely on it.
type Vitals struct {
	// Clock is its time, as it was when it answered.
	Clock time.Time
	// Identity names the server behind the address. Another one may lack what this one had committed.
	Identity string
	// Unsynced: a commit is not on disk when it is answered, so that a power failure loses mail that the log may have let go.
	Unsynced bool
}
