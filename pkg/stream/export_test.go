package stream

// What the tests need to know of the inside.
const (
	MaxAckPending = maxAckPending
	MinServer     = minServer
)

// Older compares versions of the server.
func Older(have, want string) bool { return older(have, want) }

// Check says what is wrong with a shape.
func (s Shape) Check() error { return s.check() }
