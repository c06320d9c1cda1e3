package smtp

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// TestHundredThousandRcpts: bounded, with the session usable for those it took until it is cut.
func TestHundredThousandRcpts(t *testing.T) {
	p := greeted(testConfig())
	p.say("EHLO client.example\r\n")
	p.say("MAIL FROM:<a@sender.example>\r\n")
	sent := 0
	for ; sent < 100000 && !p.closed; sent++ {
		p.say(fmt.Sprintf("RCPT TO:<u%d@example.com>\r\n", sent))
	}
	if !p.closed || sent > 100+rcptOvershoot+10 {
		t.Errorf("cut after %d recipients", sent)
	}
}

// TestEndlessLine: 100 MB without a line ending are refused early and held nowhere.
func TestEndlessLine(t *testing.T) {
	p := greeted(testConfig())
	block := []byte(strings.Repeat("x", 32<<10))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range 100 << 20 / len(block) {
		p.feed(block[:100])
		p.feed(block)
	}
	runtime.ReadMemStats(&after)
	if grown := after.TotalAlloc - before.TotalAlloc; grown > 1<<20 || !p.closed {
		t.Errorf("%d bytes allocated, closed %v", grown, p.closed)
	}
}

// TestMillionNoops: they end the session.
func TestMillionNoops(t *testing.T) {
	p := greeted(testConfig())
	all := []byte(strings.Repeat("NOOP\r\n", 5000))
	for range 200 {
		p.feed(all)
	}
	if out := len(p.s.Output()); !p.closed || out > 4096 {
		t.Errorf("closed %v with %d bytes of replies waiting", p.closed, out)
	}
}
