package obs

import (
	"io"
	"log/slog"
	"os"
)

// LogConfig says how to log.
type LogConfig struct {
	Format string     `envconfig:"LOG_FORMAT" default:"auto" oneof:"auto json text" desc:"auto is text on a terminal, JSON otherwise"`
	Level  slog.Level `envconfig:"LOG_LEVEL" default:"info" oneof:"debug info warn error" desc:"debug shows SMTP dialogues without bodies"`
	PII    bool       `envconfig:"LOG_PII" default:"false" desc:"log whole mail addresses instead of their domains"`
}

// NewLogger returns a logger that writes to w.
func NewLogger(cfg LogConfig, w io.Writer) *slog.Logger {
	options := &slog.HandlerOptions{Level: cfg.Level}
	if cfg.Format == "text" || (cfg.Format != "json" && IsTerminal(w)) {
		return slog.New(slog.NewTextHandler(w, options))
	}
	return slog.New(slog.NewJSONHandler(w, options))
}

// IsTerminal says whether somebody may be looking: progress is then a line that is written over.
func IsTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0
}
