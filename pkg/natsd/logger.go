package natsd

import (
	"fmt"
	"log/slog"
	"sync"
)

// slogger passes the server's log lines to slog. Fatalf must not exit: the server calls it when JetStream
// cannot start, and then continues without JetStream; Start returns the message as its error.
type slogger struct {
	logger *slog.Logger
	mu     sync.Mutex
	fatal  string
}

func (l *slogger) Noticef(format string, v ...any) { l.logger.Debug(fmt.Sprintf(format, v...)) }
func (l *slogger) Warnf(format string, v ...any)   { l.logger.Warn(fmt.Sprintf(format, v...)) }
func (l *slogger) Errorf(format string, v ...any)  { l.logger.Error(fmt.Sprintf(format, v...)) }
func (l *slogger) Debugf(format string, v ...any)  { l.logger.Debug(fmt.Sprintf(format, v...)) }
func (l *slogger) Tracef(format string, v ...any)  { l.logger.Debug(fmt.Sprintf(format, v...)) }

func (l *slogger) Fatalf(format string, v ...any) {
	text := fmt.Sprintf(format, v...)
	l.mu.Lock()
	if l.fatal == "" {
		l.fatal = text
	}
	l.mu.Unlock()
	l.logger.Error(text)
}

func (l *slogger) lastFatal() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}
