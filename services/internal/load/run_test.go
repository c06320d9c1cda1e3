package load

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// runFor runs the generator and returns its report and record.
func runFor(t *testing.T, cfg Config) (Report, []Ack) {
	t.Helper()
	cfg.Record = filepath.Join(t.TempDir(), "acks.jsonl")
	report, err := Run(t.Context(), cfg, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return report, readRecord(t, cfg.Record)
}

func readRecord(t *testing.T, path string) (acks []Ack) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if err := ReadAcks(file, func(a Ack) error { acks = append(acks, a); return nil }); err != nil {
		t.Fatal(err)
	}
	return acks
}

func count(acks []Ack, state State) (n uint64) {
	for _, a := range acks {
		if a.State == state {
			n++
		}
	}
	return n
}

// TestRecordSaysWhatTheServerGot: each Ack's hash is that of the bytes the server has, and the mail can be
// made again from seed and number.
func TestRecordSaysWhatTheServerGot(t *testing.T) {
	for _, pipelining := range []bool{false, true} {
		s := (&scripted{pipelining: pipelining}).start(t)
		cfg := Config{To: s.addr, Conns: 4, Count: 300, First: 1000, Seed: 7, Rcpts: Range{1, 5}, Sizes: mustSizes(t, "1KB-64KB")}
		report, acks := runFor(t, cfg)
		if report.Acked != 300 || report.Tried != 300 || report.Codes[250] != 300 || len(acks) != 300 {
			t.Fatalf("%d lines, %v", len(acks), report)
		}
		g, seen := NewGenerator(cfg), map[uint64]bool{}
		for _, a := range acks {
			m := g.Mail(a.Index, nil)
			sum := sha256.Sum256(m.Raw)
			switch {
			case a.SHA256 != hex.EncodeToString(sum[:]) || a.Size != len(m.Raw) || a.From != m.From:
				t.Fatalf("mail %d cannot be made again: %+v", a.Index, a)
			case s.stored[a.SHA256] != 1:
				t.Fatalf("mail %d is on the server %d times", a.Index, s.stored[a.SHA256])
			case a.State != Acked || !strings.HasPrefix(a.ID, "ID") || len(a.Rcpts) != len(m.Rcpts) || a.AckAt.Before(a.SentAt):
				t.Fatalf("%+v", a)
			case seen[a.Index] || a.Index < 1000 || a.Index >= 1300:
				t.Fatalf("number %d again or out of range", a.Index)
			}
			seen[a.Index] = true
		}
		if s.seen("EHLO") > 4 {
			t.Errorf("%d connections, want 4 kept ones", s.seen("EHLO"))
		}
	}
}

// TestStates has one server fault per case; every second mail meets it.
func TestStates(t *testing.T) {
	second := func(answer string) func(string, string, int) string {
		return func(verb, _ string, mails int) string {
			if verb == "." && mails%2 == 1 {
				return answer
			}
			return "-"
		}
	}
	tests := []struct {
		name   string
		server *scripted
		state  State
		code   int
		id     string
		lost   bool // the connection does not survive
	}{
		{"full", &scripted{answer: second("452 4.3.1 full")}, Refused, 452, "", false},
		{"rejected", &scripted{answer: second("554 5.7.1 no")}, Refused, 554, "", false},
		{"not confirmed", &scripted{answer: second("451 4.3.0 not confirmed, id 01ABC")}, Unconfirmed, 451, "01ABC", false},
		{"shutting down after the dot", &scripted{answer: second("421 4.3.2 bye")}, Refused, 421, "", true},
		{"gone after the dot", &scripted{answer: second("")}, Unconfirmed, 0, "", true},
		{"nonsense after the dot", &scripted{answer: second("what?")}, Unconfirmed, 0, "", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.server.pipelining = true
			tt.server.start(t)
			report, acks := runFor(t, Config{To: tt.server.addr, Count: 10})
			if report.Tried != 10 || count(acks, tt.state) != 5 || count(acks, Acked) != 5 {
				t.Fatalf("%v%+v", report, acks)
			}
			for _, a := range acks {
				if a.State == tt.state && (a.ID != tt.id || (a.Reply == "") != (tt.code == 0) || (a.Error == "") != (tt.code != 0)) {
					t.Errorf("%+v", a)
				}
				if got := tt.server.stored[a.SHA256]; (a.State == Acked) != (got == 1) {
					t.Errorf("%s mail is on the server %d times", a.State, got)
				}
			}
			if tt.code != 0 && report.Codes[tt.code] != 5 {
				t.Errorf("codes %v", report.Codes)
			}
			if lost := tt.server.seen("EHLO") > 1; lost != tt.lost {
				t.Errorf("%d connections", tt.server.seen("EHLO"))
			}
		})
	}
}

// TestRefusedEnvelope: what is refused before the mail leaves the connection usable, and only the accepted
// recipients are recorded.
func TestRefusedEnvelope(t *testing.T) {
	on := func(verb, part, answer string) func(string, string, int) string {
		return func(v, line string, _ int) string {
			if v == verb && strings.Contains(line, part) {
				return answer
			}
			return "-"
		}
	}
	tests := []struct {
		name   string
		answer func(string, string, int) string
		state  State
		code   int
		rcpts  int
	}{
		{"sender refused", func(v, _ string, _ int) string {
			return map[string]string{"MAIL": "452 4.3.1 full", "RCPT": "503 5.5.1 no", "DATA": "503 5.5.1 no"}[v] + map[bool]string{true: "", false: "-"}[v == "MAIL" || v == "RCPT" || v == "DATA"]
		}, Refused, 452, 0},
		{"one recipient refused", on("RCPT", "@b.example", "550 5.1.1 no"), Acked, 250, 1},
		{"all refused", func(v, _ string, _ int) string {
			switch v {
			case "RCPT":
				return "550 5.1.1 no"
			case "DATA":
				return "554 5.5.1 nobody"
			}
			return "-"
		}, Refused, 550, 0},
		{"all refused, 354 all the same", func(v, _ string, _ int) string {
			switch v {
			case "RCPT":
				return "550 5.1.1 no"
			case ".":
				return "554 5.5.1 nobody"
			}
			return "-"
		}, Refused, 550, 0},
		{"DATA refused", on("DATA", "", "451 4.3.0 later"), Refused, 451, 2},
	}
	for _, tt := range tests {
		for _, pipelining := range []bool{false, true} {
			s := (&scripted{pipelining: pipelining, answer: tt.answer}).start(t)
			report, acks := runFor(t, Config{To: s.addr, Count: 3, Rcpts: Range{2, 2}, Domains: []string{"a.example", "b.example"}})
			if report.Codes[tt.code] != 3 || s.seen("EHLO") != 1 {
				t.Errorf("%s, pipelining %v: %d connections, %v", tt.name, pipelining, s.seen("EHLO"), report)
			}
			for _, a := range acks {
				if a.State != tt.state || len(a.Rcpts) != tt.rcpts {
					t.Errorf("%s, pipelining %v: %+v", tt.name, pipelining, a)
				}
			}
		}
	}
}

// TestCutIsNotUnconfirmed: a mail whose final dot was never sent is told from one that may be stored. The
// mails are far larger than what sockets hold.
func TestCutIsNotUnconfirmed(t *testing.T) {
	s := (&scripted{pipelining: true, limit: 1000}).start(t)
	report, acks := runFor(t, Config{To: s.addr, Count: 3, Sizes: mustSizes(t, "16MB")})
	if count(acks, Cut) != 3 || report.Cut != 3 || report.Reconnects < 2 {
		t.Errorf("%v%+v", report, acks)
	}
}

func TestFourTwoOneInsteadOfAnAnswer(t *testing.T) {
	s := (&scripted{pipelining: true, answer: func(verb, _ string, _ int) string {
		if verb == "RCPT" {
			return "421 4.3.2 shutting down"
		}
		return "-"
	}}).start(t)
	report, acks := runFor(t, Config{To: s.addr, Count: 2})
	if report.Refused != 2 || report.Codes[421] != 2 || acks[0].Reply != "421 4.3.2 shutting down" {
		t.Errorf("%v%+v", report, acks)
	}
}

func TestResend(t *testing.T) {
	s := (&scripted{answer: func(verb, _ string, mails int) string {
		if verb == "." && mails%3 != 0 {
			return "451 4.3.2 busy"
		}
		return "-"
	}}).start(t)
	report, acks := runFor(t, Config{To: s.addr, Count: 2, Resend: 5})
	if report.Tried != 6 || report.Acked != 2 || acks[0].Index != acks[2].Index || acks[2].State != Acked {
		t.Errorf("%v%+v", report, acks)
	}
}

func TestBounds(t *testing.T) {
	s := (&scripted{pipelining: true}).start(t)
	report, _ := runFor(t, Config{To: s.addr})
	if report.Tried != 1000 {
		t.Errorf("without bounds %d mails, want 1000", report.Tried)
	}
	report, _ = runFor(t, Config{To: s.addr, Duration: time.Second, Conns: 2})
	if report.Acked == 0 || report.Acked != report.Tried || report.Elapsed > 30*time.Second {
		t.Errorf("by time: %v", report)
	}
	report, _ = runFor(t, Config{To: s.addr, Count: 40, Rate: 200, Conns: 4})
	if report.Acked != 40 || report.Elapsed < 190*time.Millisecond {
		t.Errorf("40 mails at 200/s took %v", report.Elapsed)
	}
}

// TestCancelledRunEndsSoon: a server that does not answer costs the grace time, and the mail is unconfirmed.
func TestCancelledRunEndsSoon(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	s := (&scripted{answer: func(verb, _ string, _ int) string {
		if verb == "." {
			cancel(errors.New("a signal"))
			return "hold"
		}
		return "-"
	}}).start(t)
	path := filepath.Join(t.TempDir(), "acks.jsonl")
	start := time.Now()
	report, err := Run(ctx, Config{To: s.addr, Record: path}, io.Discard)
	if err != nil || report.Unconfirmed != 1 || time.Since(start) > 5*time.Second {
		t.Errorf("%v, %v after %v", err, report, time.Since(start))
	}
	if acks := readRecord(t, path); len(acks) != 1 || acks[0].State != Unconfirmed {
		t.Errorf("%+v", acks)
	}
}

func TestOutageEndsTheRun(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	report, err := Run(t.Context(), Config{To: addr, Outage: 100 * time.Millisecond, Conns: 3}, io.Discard)
	if err == nil || !strings.Contains(err.Error(), addr) || report.Tried != 0 || len(report.Errors) == 0 {
		t.Errorf("%v, %v", err, report)
	}
}

func TestGreetingThatRefuses(t *testing.T) {
	greetings := 0
	s := (&scripted{answer: func(verb, _ string, _ int) string {
		if verb == "220" {
			if greetings++; greetings < 3 {
				return "421 4.3.2 too many"
			}
		}
		return "-"
	}}).start(t)
	report, _ := runFor(t, Config{To: s.addr, Count: 1})
	if report.Acked != 1 || report.Errors["server says 421 4.3.2 too many"] != 2 {
		t.Error(report)
	}
}

func TestWrongConfigurationIsNamed(t *testing.T) {
	for want, cfg := range map[string]Config{
		"rate": {Rate: -1}, "conns": {Conns: 100000}, "mailboxes": {Mailboxes: 2, Rcpts: Range{1, 5}},
		"domain": {Domains: []string{"a b"}}, "record": {Record: "/nonexistent/dir/file"},
	} {
		if _, err := Run(t.Context(), cfg, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
}

func TestRecordIsContinuedBehindATornLine(t *testing.T) {
	s := (&scripted{pipelining: true}).start(t)
	path := filepath.Join(t.TempDir(), "acks.jsonl")
	for n, first := range []uint64{0, 5} {
		if _, err := Run(t.Context(), Config{To: s.addr, Count: 5, First: first, Record: path}, io.Discard); err != nil {
			t.Fatal(err)
		}
		if acks := readRecord(t, path); len(acks) != 5*(n+1) {
			t.Fatalf("%d lines", len(acks))
		}
		torn, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := torn.WriteString(`{"index":17,"sta`); err != nil {
			t.Fatal(err)
		}
		if err := torn.Close(); err != nil {
			t.Fatal(err)
		}
		if acks := readRecord(t, path); len(acks) != 5*(n+1) {
			t.Fatalf("%d lines with a torn one", len(acks))
		}
	}
}

func TestReadAcksRefusesWhatIsNoRecord(t *testing.T) {
	err := ReadAcks(strings.NewReader("{}\nnot json\n"), func(Ack) error { return nil })
	if err == nil || !strings.Contains(err.Error(), "line 2") {
		t.Error(err)
	}
	stop := errors.New("enough")
	if err := ReadAcks(bytes.NewReader([]byte("{}\n{}\n")), func(Ack) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
}
