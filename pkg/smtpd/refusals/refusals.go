// Package refusals reports what an SMTP server refuses: with a counter by reason, and with log lines that are few enough to
// read and exact enough to count.
//
// For each pair of reason and network, the first refusals of a minute get a line each. The others of that minute are counted,
// and their number is logged afterwards as left_out. So
//
//	jq 'select(.msg == "rejected") | .left_out // 1'
//
// sums up to the number of refusals.
package refusals

import (
	"context"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/smtpd/limits"
)

const (
	// perMinute is how many refusals of one reason and network are written whole.
	perMinute = 10
	window    = time.Minute
	// maxEntries bounds the memory. What comes beyond is counted by reason alone.
	maxEntries = 8192
)

// Refusal is one. Reason is from a fixed set, what the client chose is not.
type Refusal struct {
	Stage    string     // connect, helo, mail, rcpt, data, message, …
	Code     int        // 0 when nothing could be said
	Enhanced string     // enhanced status code (RFC 3463), empty when there was no reply
	Reason   string     // what the counter is labelled with
	Client   netip.Addr // whose connection it is
	Session  string     // its id, as in the other log lines
	Helo     string     // the name the client gave, as it gave it
	From, To string     // addresses; only their domains are written, unless LogPII
	Err      error      // what happened, when no reply says it
}

// Log writes and counts refusals. It is safe for concurrent use.
type Log struct {
	logger *slog.Logger
	pii    bool
	total  *prometheus.CounterVec // reason

	mu      sync.Mutex
	entries map[key]*entry
}

type key struct {
	reason  string
	network netip.Prefix
}

// entry is the current minute of a key.
type entry struct {
	began   time.Time
	written int
	leftOut int
}

// New returns a Log that writes to logger and registers its counter.
func New(logger *slog.Logger, pii bool, reg prometheus.Registerer) (*Log, error) {
	l := &Log{logger: logger, pii: pii, entries: make(map[key]*entry)}
	l.total = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_smtp_rejected_total",
		Help: "Connections, commands and mails refused, by reason.",
	}, []string{"reason"})
	return l, reg.Register(l.total)
}

// Note counts r, and writes it unless too many like it were written in this minute.
func (l *Log) Note(r Refusal, now time.Time) {
	if r.Reason == "" {
		r.Reason = "other"
	}
	l.total.WithLabelValues(r.Reason).Inc()
	if l.admit(key{r.Reason, network(r.Client)}, now) {
		l.write(r)
	}
}

func network(client netip.Addr) netip.Prefix {
	if !client.IsValid() {
		return netip.Prefix{}
	}
	return limits.NetworkOf(client)
}

// admit says whether the refusal is to be written whole, and else counts it.
func (l *Log) admit(k key, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[k]
	if e == nil {
		if len(l.entries) >= maxEntries {
			k.network = netip.Prefix{}
			e = l.entries[k]
		}
		if e == nil {
			e = &entry{began: now}
			l.entries[k] = e
		}
	}
	if e.written < perMinute {
		e.written++
		return true
	}
	e.leftOut++
	return false
}

func (l *Log) write(r Refusal) {
	attrs := []slog.Attr{slog.String("stage", r.Stage), slog.String("reason", r.Reason)}
	add := func(name, value string) {
		if value != "" {
			attrs = append(attrs, slog.String(name, value))
		}
	}
	if r.Code != 0 {
		attrs = append(attrs, slog.Int("code", r.Code))
	}
	add("enhanced", r.Enhanced)
	if r.Client.IsValid() {
		attrs = append(attrs, Client(r.Client, l.pii)...)
	}
	add("session_id", r.Session)
	add("helo", r.Helo)
	add("from", l.loggable(r.From))
	add("rcpt", l.loggable(r.To))
	if r.Err != nil {
		add("error", r.Err.Error())
	}
	l.logger.LogAttrs(context.Background(), slog.LevelInfo, "rejected", attrs...)
}

// Client is how a client appears in the log: by its network, and with pii by its address, too.
func Client(a netip.Addr, pii bool) []slog.Attr {
	attrs := []slog.Attr{slog.String("remote_net", network(a).String())}
	if pii {
		attrs = append(attrs, slog.String("remote_ip", a.String()))
	}
	return attrs
}

func (l *Log) loggable(address string) string {
	if l.pii {
		return address
	}
	return Domain(address)
}

// Domain is what may be logged of an address when its owner may not be: its domain with the @.
func Domain(address string) string {
	if at := strings.LastIndexByte(address, '@'); at >= 0 {
		return address[at:]
	}
	return ""
}

// Flush writes the numbers of the minutes that are over; with all, of all.
func (l *Log) Flush(now time.Time, all bool) {
	type sum struct {
		key
		leftOut int
	}
	var sums []sum
	l.mu.Lock()
	for k, e := range l.entries {
		if !all && now.Sub(e.began) < window {
			continue
		}
		if e.leftOut > 0 {
			sums = append(sums, sum{k, e.leftOut})
		}
		delete(l.entries, k)
	}
	l.mu.Unlock()
	for _, s := range sums {
		attrs := []slog.Attr{slog.String("reason", s.reason), slog.Int("left_out", s.leftOut)}
		if s.network.IsValid() {
			attrs = append(attrs, slog.String("remote_net", s.network.String()))
		}
		l.logger.LogAttrs(context.Background(), slog.LevelInfo, "rejected", attrs...)
	}
}
