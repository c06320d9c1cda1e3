package obs

import (
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// chunks notes each write.
type chunks struct {
	mu     sync.Mutex
	writes []string
	block  chan struct{} // when set, a write waits for it
	wrote  chan struct{} // when set, gets an element after a write
}

func (c *chunks) Write(p []byte) (int, error) {
	if c.block != nil {
		<-c.block
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.writes = append(c.writes, string(p))
	if c.wrote != nil {
		c.wrote <- struct{}{}
	}
	return len(p), nil
}

func (c *chunks) all() (text string, writes int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return strings.Join(c.writes, ""), len(c.writes)
}

// Every line arrives once, whole and in its order, in few writes.
func TestBufferedLinesShareWrites(t *testing.T) {
	out := new(chunks)
	logger, flush := NewBufferedLogger(LogConfig{Format: "text"}, out)
	const loggers, lines = 8, 2000
	var wg sync.WaitGroup
	for g := range loggers {
		wg.Go(func() {
			for i := range lines {
				logger.With("g", g).Info("mail accepted", "i", i)
			}
		})
	}
	wg.Wait()
	flush()
	text, writes := out.all()
	next := make([]int, loggers)
	for line := range strings.Lines(text) {
		var g, i int
		if _, err := fmt.Sscanf(line[strings.Index(line, " g="):], " g=%d i=%d", &g, &i); err != nil || i != next[g] {
			t.Fatalf("line %q, %v; want number %d", line, err, next[g])
		}
		next[g]++
	}
	for g, n := range next {
		if n != lines {
			t.Errorf("%d lines of logger %d", n, g)
		}
	}
	if writes > loggers*lines/10 {
		t.Errorf("%d writes for %d lines", writes, loggers*lines)
	}
}

// A line needs no other to be written; a warning does not wait, and takes along what came before.
func TestBufferedLinesAreWritten(t *testing.T) {
	out := &chunks{wrote: make(chan struct{}, 10)}
	logger, flush := NewBufferedLogger(LogConfig{Format: "text", Level: slog.LevelInfo}, out)
	logger.Info("first")
	select {
	case <-out.wrote:
	case <-time.After(30 * time.Second):
		t.Fatal("a single line is not written")
	}
	logger.Info("second")
	logger.WithGroup("g").Warn("third")
	if text, _ := out.all(); !strings.Contains(text, "msg=second") || !strings.HasSuffix(text, "msg=third\n") {
		t.Errorf("after a warning the log has %q", text)
	}
	flush()
	logger.Info("last")
	if text, _ := out.all(); !strings.HasSuffix(text, "msg=last\n") {
		t.Errorf("a line after the end is missing in %q", text)
	}
}

// A log that does not take lines holds its writers up when the buffer is full, and loses nothing.
func TestFullBufferLosesNothing(t *testing.T) {
	out := &chunks{block: make(chan struct{})}
	logger, flush := NewBufferedLogger(LogConfig{Format: "text"}, out)
	long, done := strings.Repeat("x", 10_000), make(chan struct{})
	const lines = 3 * bufferBytes / 10_000
	go func() {
		defer close(done)
		for range lines {
			logger.Info(long)
		}
	}()
	select {
	case <-done:
		t.Fatal("nobody waited")
	case out.block <- struct{}{}:
	}
	close(out.block)
	<-done
	flush()
	if text, _ := out.all(); strings.Count(text, long) != lines {
		t.Errorf("%d of %d lines", strings.Count(text, long), lines)
	}
}
