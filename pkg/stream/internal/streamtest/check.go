package streamtest

import (
	"bytes"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/sluice-mail/sluice/pkg/stream"
)

// Main runs a package's tests and then looks for goroutines they left. A NATS server in this process that is shut down
// while it makes the store of a stream leaves that store's own goroutines behind (2.15.2); nothing here can end them.
func Main(m *testing.M) {
	const server = "github.com/nats-io/nats-server/v2/server"
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction(server+".(*msgBlock).flushLoop"),
		goleak.IgnoreAnyFunction(server+".(*fileStore).flushStreamStateLoop"),
		goleak.IgnoreAnyFunction(server+"/ats.Register.func1"))
}

// Eventually polls until cond holds.
func Eventually(t testing.TB, what string, cond func() bool) {
	t.Helper()
	deadline := time.NewTimer(time.Minute)
	defer deadline.Stop()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !cond() {
		select {
		case <-deadline.C:
			t.Fatalf("waited in vain: %s", what)
		case <-tick.C:
		}
	}
}

// Become polls until ok finds nothing wrong any more; what it found last is told when the wait is over.
func Become(t testing.TB, wait time.Duration, what string, ok func() error) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(wait); ; <-tick.C {
		err := ok()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %v it is still not so that %s: %v", wait, what, err)
		}
	}
}

// ReadAll reads a mail through Open.
func ReadAll(t testing.TB, m *stream.Message) ([]byte, error) {
	t.Helper()
	r, err := m.Open(t.Context())
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// Equal ends the test when the bytes differ; it does not print them.
func Equal(t testing.TB, what string, got, want []byte) {
	t.Helper()
	if !bytes.Equal(got, want) {
		t.Fatalf("%s: %d bytes differ from the %d that were sent", what, len(got), len(want))
	}
}

// Says says whether there is an error with that text in it.
func Says(err error, text string) bool {
	return err != nil && strings.Contains(err.Error(), text)
}

// Lines is a log that can be read while it is written.
type Lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *Lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String is what was written.
func (l *Lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// Count is how often a text was written.
func (l *Lines) Count(text string) int { return strings.Count(l.String(), text) }
