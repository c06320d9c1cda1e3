package publish

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
)

func apiError(code, errCode int, text string) answer {
	return answer{Error: &refusal{Code: code, ErrCode: errCode, Description: text}}
}

var (
	ack     = answer{Stream: "MAIL_0", Sequence: 1}
	again   = answer{Stream: "MAIL_0", Sequence: 1, Duplicate: true}
	silence = answer{lost: errTimeout}
)

// newest is the shipment that waits for an answer, nil when there is none.
func (w *world) newest() *shipment {
	if len(w.transit) == 0 {
		return nil
	}
	s := w.transit[len(w.transit)-1]
	if w.c.attempts[s.number] == nil || s.pack.attempt != s.number {
		return nil
	}
	return s
}

// say brings an answer to a shipment back.
func (w *world) say(s *shipment, a answer) {
	s.decided, s.answer = true, &a
	w.reply(s)
}

// TestOutcomes: the table of outcomes, row by row, for a mail by itself and for a pack: what is told, and what was
// published under which id.
func TestOutcomes(t *testing.T) {
	const first, second, third = "", "/2", "/3"
	for name, tt := range map[string]struct {
		script  []answer // the last one is repeated
		want    error
		sends   []string // the suffix of the id of each attempt
		forever bool     // attempts go on until the time of the mails is over
	}{
		"stored":                              {[]answer{ack}, nil, []string{first}, false},
		"no answer, then stored":              {[]answer{silence, ack}, nil, []string{first, first}, false},
		"never answered":                      {[]answer{silence}, ErrUnconfirmed, []string{first}, true},
		"nobody listens":                      {[]answer{{lost: errNoResponders}}, ErrUnavailable, []string{first}, true},
		"nobody listens, after silence":       {[]answer{silence, {lost: errNoResponders}}, ErrUnconfirmed, []string{first}, true},
		"duplicate in process":                {[]answer{apiError(409, 10158, "duplicate message id is in process"), ack}, nil, []string{first, first}, false},
		"in the log already":                  {[]answer{again, ack}, nil, []string{first, second}, false},
		"in the log already, twice":           {[]answer{again, again, ack}, nil, []string{first, second, third}, false},
		"unanswered, then in the log already": {[]answer{silence, again, ack}, nil, []string{first, first, second}, false},
		"full":                                {[]answer{apiError(503, 10077, "maximum bytes exceeded")}, ErrFull, []string{first}, false},
		"full, after silence":                 {[]answer{silence, apiError(503, 10077, "maximum bytes exceeded")}, ErrUnconfirmed, []string{first, first}, false},
		"full, after silence and being busy":  {[]answer{silence, apiError(429, 10167, "too many requests"), apiError(503, 10077, "maximum bytes exceeded")}, ErrUnconfirmed, []string{first, first, first}, false},
		"full, when it is in the log already": {[]answer{again, apiError(503, 10077, "maximum bytes exceeded")}, ErrUnconfirmed, []string{first, second}, false},
		"full of messages":                    {[]answer{apiError(503, 10077, "maximum messages exceeded")}, ErrFull, []string{first}, false},
		"server out of resources":             {[]answer{apiError(503, 10023, "insufficient resources")}, ErrFull, []string{first}, false},
		"account out of resources":            {[]answer{apiError(400, 10002, "resource limits exceeded for account")}, ErrFull, []string{first}, false},
		"server out of storage":               {[]answer{apiError(500, 10047, "insufficient storage resources available")}, ErrFull, []string{first}, false},
		"busy, then stored":                   {[]answer{apiError(429, 10167, "too many requests"), ack}, nil, []string{first, first}, false},
		"busy indefinitely":                   {[]answer{apiError(429, 10167, "too many requests")}, ErrBusy, []string{first}, true},
		"batch incomplete":                    {[]answer{apiError(400, 10176, "atomic publish batch is incomplete"), ack}, nil, []string{first, first}, false},
		"an unknown 429":                      {[]answer{apiError(429, 19999, "something new"), ack}, nil, []string{first, first}, false},
		"an unknown error":                    {[]answer{apiError(500, 19998, "something else"), ack}, nil, []string{first, first}, false},
		"not an acknowledgement":              {[]answer{{lost: errStrange}, ack}, nil, []string{first, first}, false},
	} {
		for _, mails := range []int{1, 20} {
			t.Run(fmt.Sprintf("%s, %d mails", name, mails), func(t *testing.T) {
				w := newWorld(t)
				if mails > 1 {
					w.c.link(w.now, false)
				}
				for range mails {
					w.add(100)
				}
				w.link(true)
				for i := 0; ; i++ {
					s := w.newest()
					if s == nil {
						w.pass(2 * time.Second) // the longest pause
						if s = w.newest(); s == nil {
							break
						}
					}
					w.handed(s, nil)
					a := tt.script[min(i, len(tt.script)-1)]
					if a == silence {
						w.pass(answerWait)
						continue
					}
					w.say(s, a)
				}
				for _, m := range w.mails {
					if !m.told || !errors.Is(m.err, tt.want) {
						t.Fatalf("told %v, want %v", m.err, tt.want)
					}
				}
				if len(w.transit) != len(tt.sends) && !(tt.forever && len(w.transit) > 5) {
					t.Fatalf("%d attempts, want %v", len(w.transit), tt.sends)
				}
				for i, s := range w.transit {
					suffix := tt.sends[min(i, len(tt.sends)-1)]
					if want := w.mails[0].id + suffix; s.id != want || len(s.mails) != mails {
						t.Errorf("attempt %d: %d mails under %q, want %d under %q", i+1, len(s.mails), s.id, mails, want)
					}
				}
				w.end()
			})
		}
	}
}

// TestOneWrongMemberSpoilsNoOther: a pack refused for one of its mails is published one by one, once.
func TestOneWrongMemberSpoilsNoOther(t *testing.T) {
	for name, tt := range map[string]struct {
		refusal answer
		before  []answer
		want    error
	}{
		"header":           {apiError(400, 10097, "header size exceeds maximum allowed of 64k"), nil, ErrRefused},
		"message":          {apiError(400, 10054, "message size exceeds maximum allowed"), nil, ErrRefused},
		"record":           {apiError(503, 10077, "message too large"), nil, ErrRefused},
		"after no answer":  {apiError(400, 10097, "header size exceeds maximum allowed of 64k"), []answer{silence}, ErrUnconfirmed},
		"when in the log":  {apiError(400, 10097, "header size exceeds maximum allowed of 64k"), []answer{again}, ErrUnconfirmed},
		"after being busy": {apiError(400, 10097, "header size exceeds maximum allowed of 64k"), []answer{apiError(429, 10167, "busy")}, ErrRefused},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.c.link(w.now, false)
			for range 20 {
				w.add(1000)
			}
			w.link(true)
			attempts := 0
			next := func(a answer) {
				s := w.transit[attempts]
				attempts++
				w.handed(s, nil)
				w.say(s, a)
			}
			for _, a := range tt.before {
				next(a)
				w.pass(firstPause)
			}
			next(tt.refusal)
			for i := range 20 {
				if i == 7 {
					next(tt.refusal)
					continue
				}
				next(ack)
			}
			if attempts != len(w.transit) {
				t.Errorf("%d attempts, want the pack and 20 single mails, after %d", len(w.transit), len(tt.before))
			}
			for i, m := range w.mails {
				if want := map[bool]error{true: tt.want}[i == 7]; !errors.Is(m.err, want) {
					t.Errorf("mail %d was told %v, want %v", i, m.err, want)
				}
			}
			w.end()
		})
	}
}

// TestLateAcknowledgementCounts: the bytes are the same, whichever attempt it is about. Another late answer is about
// what is past.
func TestLateAcknowledgementCounts(t *testing.T) {
	w := newWorld(t)
	m := w.add(100)
	first := w.newest()
	w.handed(first, nil)
	w.pass(answerWait + firstPause)
	second := w.newest()
	if second == nil || second == first {
		t.Fatal("it was not sent again")
	}
	full := apiError(503, 10077, "maximum bytes exceeded")
	w.say(first, full)
	if m.told {
		t.Fatalf("a late refusal told it %v", m.err)
	}
	w.say(first, ack)
	if !m.told || m.err != nil {
		t.Errorf("the late acknowledgement told it %v", m.err)
	}
	w.end()
}

// TestAbandonedMailIsNotSent: a pack that nobody awaits is not sent again, and who left it knows what is known.
func TestAbandonedMailIsNotSent(t *testing.T) {
	for name, tt := range map[string]struct {
		answer answer
		wants  [2]error // of the first to leave, and of the last
	}{
		"on its way":         {answer{}, [2]error{ErrUnconfirmed, ErrUnconfirmed}},
		"after silence":      {silence, [2]error{ErrUnconfirmed, ErrUnconfirmed}},
		"after being busy":   {apiError(429, 10167, "busy"), [2]error{ErrUnconfirmed, ErrBusy}},
		"nobody was there":   {answer{lost: errNoResponders}, [2]error{ErrUnconfirmed, ErrUnavailable}},
		"it was there twice": {again, [2]error{ErrUnconfirmed, ErrUnconfirmed}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.c.link(w.now, false)
			w.add(10)
			w.add(10)
			w.link(true)
			s := w.newest()
			w.handed(s, nil)
			if tt.answer == silence {
				w.pass(answerWait)
			} else if tt.answer != (answer{}) {
				w.say(s, tt.answer)
			}
			sends := len(w.transit)
			for i, want := range tt.wants {
				w.leave(w.mails[i])
				if err := w.mails[i].err; !errors.Is(err, want) {
					t.Errorf("number %d to leave is told %v, want %v", i+1, err, want)
				}
			}
			w.pass(patience)
			if len(w.transit) != sends {
				t.Errorf("it was sent %d more times", len(w.transit)-sends)
			}
			w.end()
		})
	}
}

// TestUnconfirmedIsNothingElse: a mail that may be in the log is not one that the log had no time for.
func TestUnconfirmedIsNothingElse(t *testing.T) {
	w := newWorld(t)
	m := w.add(10)
	s := w.newest()
	w.handed(s, nil)
	w.pass(answerWait + firstPause)
	s = w.newest()
	busy := apiError(429, 10167, "too many requests")
	w.say(s, busy)
	w.pass(patience)
	if !errors.Is(m.err, ErrUnconfirmed) || errors.Is(m.err, ErrBusy) || !strings.Contains(m.err.Error(), "its deadline has passed") {
		t.Errorf("told %v", m.err)
	}
}

// TestLeavingTheQueue: a mail that gives up before it is packed was never sent, and its bytes are its caller's again.
func TestLeavingTheQueue(t *testing.T) {
	w := newWorld(t)
	w.add(100)
	m := w.add(100)
	w.add(100)
	w.leave(m)
	if !errors.Is(m.err, ErrUnavailable) {
		t.Errorf("told %v, want %v", m.err, ErrUnavailable)
	}
	w.handed(w.transit[0], nil)
	w.decide(w.transit[0], nil)
	w.reply(w.transit[0])
	w.pass(gatherTimes * time.Second)
	if len(w.transit) < 2 || len(w.transit[1].mails) != 1 || w.transit[1].mails[0] == m {
		t.Fatalf("%d packs left, want a second one with the third mail alone", len(w.transit))
	}
	w.end()
}
