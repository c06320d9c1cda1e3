package publish

import (
	"testing"
	"time"

	"github.com/sluice-mail/sluice/pkg/stream"
)

// TestNobodyWaitsWhenIdle: a lone mail leaves at once, and so does the next one of a lone sender.
func TestNobodyWaitsWhenIdle(t *testing.T) {
	w := newWorld(t)
	for i := range 5 {
		w.add(1000)
		s := w.newest()
		if s == nil || len(w.transit) != i+1 {
			t.Fatalf("mail %d did not leave at once", i)
		}
		w.handed(s, nil)
		w.decide(s, nil)
		w.now = w.now.Add(300 * time.Microsecond)
		w.reply(s)
	}
	w.end()
}

// TestWaitingMailsShareAPack: what arrives while a pack is on its way makes up the next one. It leaves when the first is
// decided, or earlier when it is half of a whole one; a third never before.
func TestWaitingMailsShareAPack(t *testing.T) {
	const half = stream.MaxPackBytes / 2
	w := newWorld(t)
	w.add(1000)
	w.add(half - 1)
	w.pass(20 * w.c.linger)
	if len(w.transit) != 1 || len(w.transit[0].mails) != 1 {
		t.Fatalf("%d packs left, want that of the first mail", len(w.transit))
	}
	w.add(1)
	w.pass(w.c.linger)
	if len(w.transit) != 2 || len(w.transit[1].mails) != 2 {
		t.Fatalf("%d packs left, want a second one with 2 mails", len(w.transit))
	}
	w.add(stream.MaxPackBytes)
	w.pass(20 * w.c.linger)
	if len(w.transit) != 2 {
		t.Fatal("a third pack left before the first was decided")
	}
	w.handed(w.transit[0], nil)
	w.decide(w.transit[0], nil)
	w.reply(w.transit[0])
	if len(w.transit) != 3 {
		t.Fatalf("%d packs left, want a third one", len(w.transit))
	}
	w.end()
}

// TestGathering: after a pack its senders' next mails are waited for, until all have come or the time for that is over.
func TestGathering(t *testing.T) {
	for _, come := range []int{8, 5} {
		w := newWorld(t)
		w.c.link(w.now, false)
		for range 8 {
			w.add(1000)
		}
		w.link(true)
		w.handed(w.transit[0], nil)
		w.decide(w.transit[0], nil)
		w.reply(w.transit[0])
		for range come {
			if len(w.transit) != 1 {
				t.Fatal("a pack left before its mails had come")
			}
			w.add(1000)
		}
		if come < 8 {
			if len(w.transit) != 1 {
				t.Fatal("it did not wait for the others")
			}
			w.pass(w.c.linger - 1)
			if len(w.transit) != 1 {
				t.Fatal("it did not wait for the others for its time")
			}
			w.pass(1)
		}
		if len(w.transit) != 2 || len(w.transit[1].mails) != come {
			t.Fatalf("%d packs left, want a second one with %d mails", len(w.transit), come)
		}
		w.end()
	}
}

// TestPackLimits: bytes, headers and number bound a pack; a mail that is too large for company goes alone.
func TestPackLimits(t *testing.T) {
	for name, tt := range map[string]struct {
		size, room, add, want int
	}{
		"bytes":   {300 << 10, 0, 6, 2},
		"a whole": {stream.MaxPackBytes, 0, 3, 1},
		"headers": {10, 20 << 10, 6, 2},
		"number":  {0, 1, 1200, maxPackMails},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.c.link(w.now, false)
			for range tt.add {
				m := w.add(tt.size)
				if tt.room > 0 {
					w.c.room += tt.room - m.room
					m.room = tt.room
				}
			}
			w.c.inFlight = 100
			w.c.up = true
			w.c.advance(w.now)
			for i, a := range w.c.out.send {
				if n := len(a.pack.items); n > tt.want || i == 0 && n != tt.want {
					t.Errorf("pack %d has %d mails, want %d", i, n, tt.want)
				}
			}
		})
	}
}

// TestTenMinutesAway: with the log away under load, what is held stays within the bound and is given back in the end.
func TestTenMinutesAway(t *testing.T) {
	const bound = 4 << 20
	for name, silent := range map[string]bool{"no connection": false, "silent": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if !silent {
				w.link(false)
			}
			most := 0
			for begin := w.now; w.now.Sub(begin) < 10*time.Minute; {
				for w.held+100_000 <= bound { // as Publish does
					w.add(100_000)
				}
				for _, s := range w.transit {
					w.handed(s, nil)
				}
				w.transit = nil // never answered
				w.pass(250 * time.Millisecond)
				most = max(most, w.held)
				if n := len(w.c.attempts); n > 100 {
					t.Fatalf("%d attempts are remembered", n)
				}
			}
			if most > bound {
				t.Errorf("%d bytes were held, more than %d", most, bound)
			}
			w.link(true)
			w.end()
		})
	}
}

// TestPayloadIsNotReusedWhileSent: a pack may be decided, by the answer to an earlier attempt, while the connection is
// still given the bytes of the next one.
func TestPayloadIsNotReusedWhileSent(t *testing.T) {
	w := newWorld(t)
	w.add(stream.MaxPackBytes)
	first := w.newest()
	w.handed(first, nil)
	w.pass(answerWait + firstPause)
	second := w.newest() // told to be sent, not yet written
	w.say(first, ack)
	w.add(stream.MaxPackBytes)
	w.write(second)
	w.handed(second, nil)
	w.end()
}

// TestConnectionLost: what is on its way when the connection goes is sent again as soon as there is one, without waiting
// for an answer that cannot come.
func TestConnectionLost(t *testing.T) {
	w := newWorld(t)
	m := w.add(100)
	w.handed(w.transit[0], nil)
	w.link(false)
	if w.newest() != nil {
		t.Fatal("an answer is still waited for")
	}
	w.pass(10 * time.Millisecond)
	w.link(true)
	if len(w.transit) != 2 {
		t.Fatalf("%d attempts after the connection is back, want a second one at once", len(w.transit))
	}
	w.handed(w.transit[1], nil)
	w.decide(w.transit[1], nil)
	w.reply(w.transit[1])
	if !m.told || m.err != nil {
		t.Errorf("told %v", m.err)
	}
	w.end()
}
