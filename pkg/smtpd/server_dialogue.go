package smtpd

import (
	"bytes"
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/smtp"
)

// dialogue watches sessions: it counts commands by the class of their reply and, at debug level, prints both.
// It never sees a byte of a mail.
type dialogue struct {
	counters map[string]*[6]prometheus.Counter // by verb; index is the first digit of the reply
	other    *[6]prometheus.Counter
	logger   *slog.Logger // nil unless debug is enabled
	logPII   bool
}

// newDialogue resolves the counters once: WithLabelValues per command would cost more than the command.
func newDialogue(m *metrics, logger *slog.Logger, logPII bool) *dialogue {
	d := &dialogue{counters: make(map[string]*[6]prometheus.Counter), logPII: logPII}
	if logger.Enabled(context.Background(), slog.LevelDebug) {
		d.logger = logger
	}
	add := func(label string) *[6]prometheus.Counter {
		var byClass [6]prometheus.Counter
		for class := range byClass {
			if class >= 2 {
				byClass[class] = m.commands.WithLabelValues(label, string(rune('0'+class))+"xx")
			}
		}
		return &byClass
	}
	for _, verb := range []string{"HELO", "EHLO", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "VRFY", "HELP", "QUIT", "STARTTLS", "XCLIENT"} {
		d.counters[verb] = add(verb)
	}
	d.counters["."] = add("message")
	d.counters[""] = nil // greetings and 421s answer no command
	d.other = add("other")
	return d
}

// Command implements smtp.Observer.
func (d *dialogue) Command(session string, line []byte) {
	if d.logger == nil {
		return
	}
	if !d.logPII {
		line = redact(line)
	}
	d.logger.Debug("smtp <", "session_id", session, "line", string(line))
}

// Replied implements smtp.Observer.
func (d *dialogue) Replied(session, verb string, reply smtp.Reply) {
	byClass, known := d.counters[verb]
	if !known {
		byClass = d.other
	}
	if class := reply.Code / 100; byClass != nil && class >= 2 && class < len(byClass) {
		byClass[class].Inc()
	}
	if d.logger != nil {
		d.logger.Debug("smtp >", "session_id", session, "verb", verb, "reply", reply.Error())
	}
}

// redact replaces what stands before the last @ of a command's argument: the domain may be logged, the person
// not.
func redact(line []byte) []byte {
	at := bytes.LastIndexByte(line, '@')
	if at < 0 {
		return line
	}
	from := bytes.IndexAny(line, "<: ") + 1
	if k := bytes.IndexByte(line, '<'); k >= 0 && k < at {
		from = k + 1
	}
	if from > at {
		from = 0
	}
	return append(append(append([]byte(nil), line[:from]...), "..."...), line[at:]...)
}
