package publish

import "errors"

// What Publish and Ready report. Every one of them is temporary: the SMTP client keeps the mail and tries
// again. The reply each should get:
var (
	// ErrFull: the log has no room (452 4.3.1). The mail is not in it.
	ErrFull = errors.New("the log is full")
	// ErrBusy: the log, or this publisher, has more to do than it can (451 4.3.2). The mail is not in the log.
	ErrBusy = errors.New("the log is busy")
	// ErrUnavailable: no shard of the log can be reached (451 4.3.0). The mail was not sent to it.
	ErrUnavailable = errors.New("the log is unavailable")
	// ErrUnconfirmed: sent, but the log did not confirm it in time (451 4.3.0 "not confirmed, id …"). It may
	// be in the log; a copy that the client sends again is a second mail.
	ErrUnconfirmed = errors.New("the log did not confirm the mail")
	// ErrUnsynced: the log acknowledges before it has synced to disk, or it is unknown whether it does, and
	// STREAM_ALLOW_UNSYNCED is not set (451 4.3.0).
	ErrUnsynced = errors.New("the log does not sync before it acknowledges")
	// ErrRefused: the log refuses this mail, which is this system's fault, not the sender's (451 4.3.0). The mail is not in the
	// log.
	ErrRefused = errors.New("the log refuses the mail")
	// ErrClock: this machine's clock and the log's are too far apart (451 4.3.0).
	ErrClock = errors.New("the clock is off")
)
