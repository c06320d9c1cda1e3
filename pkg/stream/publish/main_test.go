package publish

import (
	"testing"

	"go.uber.org/goleak"
)

// A NATS server in this process that is shut down while it makes the store of a stream leaves that store's own
// goroutines behind (2.15.2); nothing here can end them.
func TestMain(m *testing.M) {
	const server = "github.com/nats-io/nats-server/v2/server"
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction(server+".(*msgBlock).flushLoop"),
		goleak.IgnoreAnyFunction(server+".(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreAnyFunction(server+"/ats.Register.func1"))
}
