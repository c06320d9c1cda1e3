package smtpd

import (
	"context"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/smtp"
	"github.com/sluice-mail/sluice/pkg/smtpd/refusals"
)

// dialogue watches sessions: it counts commands by the class of their reply, notes refusals and, at debug level, prints
// the dialogue. It never sees a byte of a mail.
type dialogue struct {
	counters map[string]*[6]prometheus.Counter // by verb; index is the first digit of the reply
	other    *[6]prometheus.Counter
	refusals *refusals.Log
	logger   *slog.Logger // nil unless debug is enabled
	logPII   bool
}

// newDialogue resolves the counters once: WithLabelValues per command would cost more than the command.
func newDialogue(m *metrics, refused *refusals.Log, logger *slog.Logger, logPII bool) *dialogue {
	d := &dialogue{counters: make(map[string]*[6]prometheus.Counter), refusals: refused, logPII: logPII}
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
	d.counters[""] = add("none") // greetings and 421s answer no command
	d.other = add("other")
	return d
}

// Command implements smtp.Observer.
func (d *dialogue) Command(sess *smtp.Session, line []byte) {
	if d.logger == nil {
		return
	}
	text := string(line)
	if !d.logPII {
		text = redact(text)
	}
	d.logger.Debug("smtp <", "session_id", sess.Peer().Session, "line", text)
}

// Replied implements smtp.Observer.
func (d *dialogue) Replied(sess *smtp.Session, verb string, reply smtp.Reply) {
	byClass, known := d.counters[verb]
	if !known {
		byClass = d.other
	}
	if class := reply.Code / 100; class >= 2 && class < len(byClass) {
		byClass[class].Inc()
	}
	if reply.Refuses() && reply.Reason != "shutdown" { // a stop refuses nobody in particular
		d.note(sess, verb, reply)
	}
	if d.logger != nil {
		d.logger.Debug("smtp >", "session_id", sess.Peer().Session, "verb", verb, "reply", reply.Error())
	}
}

// note makes a refusal visible.
func (d *dialogue) note(sess *smtp.Session, verb string, reply smtp.Reply) {
	p := sess.Peer()
	r := refusals.Refusal{
		Stage: stage(verb), Code: reply.Code, Enhanced: reply.Enhanced, Reason: reply.Reason,
		Client: p.Client.Addr(), Session: p.Session, Helo: sess.Helo(),
	}
	if env := sess.Envelope(); env != nil {
		r.From = env.GetMailFrom()
		if verb == "RCPT" {
			r.To = sess.Asked().AsGiven
		} else if to := env.GetRecipients(); len(to) > 0 {
			r.To = to[0].GetMailbox()
		}
	}
	d.refusals.Note(r, time.Now())
}

// stage is where in a session a reply to verb is given.
func stage(verb string) string {
	switch verb {
	case "":
		return "session"
	case ".":
		return "message"
	case "?":
		return "command"
	}
	return strings.ToLower(verb)
}

// redact keeps of a command what says nothing about a person: the verb, domains, the parameters we know. A command we
// do not know may be anything.
func redact(line string) string {
	verb, arg, _ := strings.Cut(line, " ")
	switch strings.ToUpper(verb) {
	case "MAIL", "RCPT", "VRFY", "EXPN":
	case "HELO", "EHLO", "DATA", "BDAT", "RSET", "NOOP", "HELP", "QUIT", "STARTTLS", "AUTH", "XCLIENT":
		return line
	default:
		return "(" + strconv.Itoa(len(line)) + " bytes)"
	}
	out := verb + " "
	if before, _, found := strings.Cut(arg, ":"); found && !strings.ContainsAny(before, "<@\"") {
		out += before + ":"
	}
	out += "..."
	at := strings.LastIndexByte(arg, '@')
	if at >= 0 {
		domain, _, _ := strings.Cut(arg[at:], " ")
		out += domain
	}
	for _, word := range strings.Fields(arg[at+1:]) {
		name, _, _ := strings.Cut(strings.ToUpper(word), "=")
		if name == "SIZE" || name == "BODY" || name == "SMTPUTF8" {
			out += " " + word
		}
	}
	return out
}
