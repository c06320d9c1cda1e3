package cachewarmer

import "os"

// unusedBytes is how much more garbage there may be than Go allows by itself.
const unusedBytes = 8 << 20

// unused returns memory that is never used, so that garbage is collected less often. Nearly all that this process allocates is
// messages of the log, of up to 1 MiB each, and only one to three of them are in use at a time. Go would collect whenever 4 to 6 MiB
// have been allocated, and with what the system does for memory that is used anew, that took a quarter of the processor time. The
// collector counts the unused memory as used, and waits until as much again has been allocated; the system gives no memory for
// what is never written. With a higher GOGC instead, the process would need several times the memory when it catches up after a
// restart, because more is in use then. If GOGC or GOMEMLIMIT is set, nothing is changed.
func unused() []byte {
	if os.Getenv("GOGC") != "" || os.Getenv("GOMEMLIMIT") != "" {
		return nil
	}
	return make([]byte, unusedBytes)
}
