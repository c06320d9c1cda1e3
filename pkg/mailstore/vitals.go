package mailstore

import "time"

// Vitals are what a database reports about itself.
type Vitals struct {
	// Clock is the server's time when it answered.
	Clock time.Time
	// Identity names the server behind the address. Another server may lack mail that this one had committed.
	Identity string
	// Unsynced: a commit is not on disk when it is acknowledged, so a power failure can lose mail that is no longer in the log.
	Unsynced bool
}
