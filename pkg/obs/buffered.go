package obs

import (
	"context"
	"io"
	"log/slog"
	"sync"
	"time"
)

const (
	// bufferBytes bounds what waits to be written. A caller that logs more waits for the writer, so no line is lost.
	bufferBytes = 1 << 20
	// bufferDelay is how long a line may wait for others to share its write. Warnings and errors do not wait.
	bufferDelay = 20 * time.Millisecond
)

// NewBufferedLogger is NewLogger for a service that logs a line for every mail: lines are collected for up to 20 ms and written
// together. Warnings and errors are written at once, together with the lines before them. flush writes what is left, and
// from then on every line is written at once; call it when the service has ended.
func NewBufferedLogger(cfg LogConfig, w io.Writer) (logger *slog.Logger, flush func()) {
	b := &buffered{w: w}
	b.room.L = &b.mu
	b.timer = time.AfterFunc(time.Hour, b.flush)
	b.timer.Stop()
	if cfg.Format == "auto" && IsTerminal(w) {
		cfg.Format = "text" // NewLogger does not see the terminal behind the buffer
	}
	return slog.New(prompt{NewLogger(cfg, b).Handler(), b}), b.close
}

// buffered collects lines.
type buffered struct {
	w     io.Writer
	timer *time.Timer // runs while there are lines

	mu     sync.Mutex
	room   sync.Cond
	lines  []byte
	closed bool

	writing sync.Mutex
	spare   []byte // for the writer
}

// Write takes a line. It fails never: a log that cannot be written must not stop a service, and nobody could be told.
func (b *buffered) Write(line []byte) (int, error) {
	b.mu.Lock()
	for len(b.lines) > 0 && len(b.lines)+len(line) > bufferBytes {
		b.room.Wait()
	}
	if len(b.lines) == 0 && !b.closed {
		b.timer.Reset(bufferDelay)
	}
	b.lines = append(b.lines, line...)
	now := b.closed || len(b.lines) > bufferBytes/2
	b.mu.Unlock()
	if now {
		b.flush()
	}
	return len(line), nil
}

// flush writes what there is, in the order it came.
func (b *buffered) flush() {
	b.writing.Lock()
	defer b.writing.Unlock()
	b.mu.Lock()
	lines := b.lines
	b.lines, b.spare = b.spare[:0], nil
	b.room.Broadcast()
	b.mu.Unlock()
	if len(lines) > 0 {
		_, _ = b.w.Write(lines)
	}
	if cap(lines) <= bufferBytes {
		b.spare = lines
	}
}

func (b *buffered) close() {
	b.mu.Lock()
	b.closed = true
	b.mu.Unlock()
	b.timer.Stop()
	b.flush()
}

// prompt is a handler whose warnings and errors are written at once: the next thing may be the end of the process.
type prompt struct {
	slog.Handler
	b *buffered
}

func (p prompt) Handle(ctx context.Context, r slog.Record) error {
	err := p.Handler.Handle(ctx, r)
	if r.Level >= slog.LevelWarn {
		p.b.flush()
	}
	return err
}

func (p prompt) WithAttrs(attrs []slog.Attr) slog.Handler {
	return prompt{p.Handler.WithAttrs(attrs), p.b}
}

func (p prompt) WithGroup(name string) slog.Handler { return prompt{p.Handler.WithGroup(name), p.b} }
