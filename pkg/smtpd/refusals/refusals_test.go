package refusals

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// lines are the log lines of a test.
func lines(t *testing.T, text *bytes.Buffer) (all []map[string]any) {
	t.Helper()
	for line := range bytes.Lines(text.Bytes()) {
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Fatal(err)
		}
		all = append(all, fields)
	}
	return all
}

// refused sums the refusals of the lines up, as the jq query of the docs does.
func refused(all []map[string]any) (n int) {
	for _, line := range all {
		if left, ok := line["left_out"].(float64); ok {
			n += int(left)
		} else {
			n++
		}
	}
	return n
}

func TestLinesAreFewAndTheirSumIsExact(t *testing.T) {
	var text bytes.Buffer
	l, err := New(slog.New(slog.NewJSONHandler(&text, nil)), false, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for i := range 1000 {
		client := netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})
		l.Note(Refusal{Stage: "rcpt", Code: 550, Enhanced: "5.1.1", Reason: "unknown_recipient", Client: client, To: "ann@example.com"}, now)
		l.Note(Refusal{Stage: "rcpt", Code: 550, Enhanced: "5.7.1", Reason: "relay", Client: client, To: "ann@elsewhere.example"}, now)
	}
	l.Note(Refusal{Stage: "rcpt", Code: 550, Reason: "relay", Client: netip.MustParseAddr("198.51.100.1"), To: "bob@elsewhere.example"}, now)
	l.Flush(now.Add(time.Second), false)
	if n := len(lines(t, &text)); n != 2*perMinute+1 {
		t.Errorf("%d lines in the first minute", n)
	}
	l.Flush(now.Add(window), false)
	all := lines(t, &text)
	if n := refused(all); n != 2001 || len(all) > 30 {
		t.Errorf("%d lines say %d refusals, want 2001", len(all), n)
	}
	if first := all[0]; first["rcpt"] != "@example.com" || first["remote_net"] != "192.0.2.0/24" || first["remote_ip"] != nil || first["code"] != 550.0 {
		t.Errorf("the first line is %v", first)
	}
	if strings.Contains(text.String(), "ann") {
		t.Errorf("a person is in the log:\n%.300s", &text)
	}
	var m dto.Metric
	if err := l.total.WithLabelValues("relay").Write(&m); err != nil || m.Counter.GetValue() != 1001 {
		t.Errorf("counter: %v, %v", m.Counter, err)
	}
}

func TestAddressesWithPII(t *testing.T) {
	var text bytes.Buffer
	l, err := New(slog.New(slog.NewJSONHandler(&text, nil)), true, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	l.Note(Refusal{Reason: "relay", Client: netip.MustParseAddr("2001:db8::1"), To: "ann@example.com"}, time.Now())
	if line := lines(t, &text)[0]; line["rcpt"] != "ann@example.com" || line["remote_ip"] != "2001:db8::1" || line["remote_net"] != "2001:db8::/64" {
		t.Errorf("the line is %v", line)
	}
}

// A flood from everywhere must not fill the memory, and its number stays exact.
func TestMemoryIsBounded(t *testing.T) {
	var text bytes.Buffer
	l, err := New(slog.New(slog.NewJSONHandler(&text, nil)), false, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	const n = 3 * maxEntries
	for i := range n {
		l.Note(Refusal{Reason: "relay", Client: netip.AddrFrom4([4]byte{byte(i >> 16), byte(i >> 8), byte(i), 1})}, now)
	}
	if len(l.entries) > maxEntries+1 {
		t.Errorf("%d entries", len(l.entries))
	}
	l.Flush(now, true)
	if got := refused(lines(t, &text)); got != n || len(l.entries) != 0 {
		t.Errorf("the log says %d refusals, want %d; %d entries are left", got, n, len(l.entries))
	}
}
