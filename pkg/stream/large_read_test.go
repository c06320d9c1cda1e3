package stream

import (
	"errors"
	"io"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/oklog/ulid/v2"
)

const fixturePart = 100 << 10

// take runs a worker until it has handled one mail and returns that.
func take(t *testing.T, f *logFixture) *Message {
	t.Helper()
	got := make(chan *Message, 1)
	rec := newRecorder(func(m *Message) Verdict { got <- m; return Done() })
	_, stop := f.worker(WorkerConfig{}, rec)
	m := <-got
	stop()
	return m
}

func TestLargeMailIsReadWhole(t *testing.T) {
	f := newLogFixture(t, 256<<20)
	f.mail(0, "before\r\n")
	raw := fixtureBytes(20*fixturePart+17, 1)
	_, seq := f.large(0, raw, fixturePart, nil)
	m, err := NewReader(f.nc).Message(t.Context(), 0, seq)
	if err != nil {
		t.Fatal(err)
	}
	if m.Raw != nil {
		t.Errorf("Raw has %d bytes, a large mail has none", len(m.Raw))
	}
	got, err := readAll(t, m)
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "the mail", got, raw)
}

func TestSmallMailOpensToo(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	f.mail(0, "small\r\n")
	got, err := readAll(t, take(t, f))
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "the mail", got, []byte("small\r\n"))
}

func TestDamagedMailIsNotReadAsWhole(t *testing.T) {
	raw := fixtureBytes(5*fixturePart, 2)
	cases := map[string]func(f *logFixture) uint64{
		"a flipped bit": func(f *logFixture) uint64 {
			_, seq := f.large(0, raw, fixturePart, func(i int, m *nats.Msg) {
				if i == 3 {
					m.Data = append([]byte(nil), m.Data...)
					m.Data[7] ^= 1
				}
			})
			return seq
		},
		"a short part": func(f *logFixture) uint64 {
			_, seq := f.large(0, raw, fixturePart, func(i int, m *nats.Msg) {
				if i == 4 {
					m.Data = m.Data[:10]
				}
			})
			return seq
		},
		"a missing part": func(f *logFixture) uint64 {
			_, seq := f.large(0, raw, fixturePart, nil)
			s, err := f.js.Stream(f.ctx(), StreamName(0))
			if err != nil {
				f.t.Fatal(err)
			}
			if err := s.DeleteMsg(f.ctx(), seq-2); err != nil {
				f.t.Fatal(err)
			}
			return seq
		},
		"a part of another mail": func(f *logFixture) uint64 {
			_, seq := f.large(0, raw, fixturePart, func(i int, m *nats.Msg) {
				if i == 1 {
					m.Header.Set(IDHeader, ulid.Make().String()+"/1")
				}
			})
			return seq
		},
		"a head where a part should be": func(f *logFixture) uint64 {
			env := fixtureEnvelope(raw)
			env.Parts = 1
			f.mail(0, "not a part\r\n")
			return f.send(f.headMsg(0, env, nil))
		},
		"more parts than messages": func(f *logFixture) uint64 {
			env := fixtureEnvelope(raw)
			env.Parts = 1000
			return f.send(f.headMsg(0, env, nil))
		},
		"a small mail with other bytes": func(f *logFixture) uint64 {
			return f.send(f.headMsg(0, fixtureEnvelope([]byte("abc")), []byte("abd")))
		},
	}
	for name, publish := range cases {
		t.Run(name, func(t *testing.T) {
			f := newLogFixture(t, 64<<20)
			m, err := NewReader(f.nc).Message(t.Context(), 0, publish(f))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := readAll(t, m); !errors.Is(err, ErrDamaged) {
				t.Errorf("read with error %v, want ErrDamaged", err)
			}
		})
	}
}

// A replica that lags says 404 for what the leader has. Here a stand-in answers the direct gets; the leader is
// the real one.
func TestMissingPartIsAskedOfTheLeader(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	raw := fixtureBytes(3*fixturePart, 3)
	_, seq := f.large(0, raw, fixturePart, nil)
	s, err := f.js.Stream(f.ctx(), StreamName(0))
	if err != nil {
		t.Fatal(err)
	}
	m, err := NewReader(f.nc).Message(t.Context(), 0, seq)
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.AllowDirect = false
	if _, err := f.js.UpdateStream(f.ctx(), cfg); err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	sub, err := f.nc.Subscribe("$JS.API.DIRECT.GET."+StreamName(0), func(msg *nats.Msg) {
		asked.Add(1)
		if err := msg.RespondMsg(&nats.Msg{Header: nats.Header{"Status": {"404"}, "Description": {"Message Not Found"}}}); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	got, err := readAll(t, m)
	if err != nil {
		t.Fatal(err)
	}
	mustEqual(t, "the mail", got, raw)
	if asked.Load() != 3 {
		t.Errorf("%d direct gets", asked.Load())
	}
	if err := s.DeleteMsg(f.ctx(), seq-1); err != nil {
		t.Fatal(err)
	}
	if _, err := readAll(t, m); !errors.Is(err, ErrDamaged) {
		t.Errorf("read with error %v although the leader lacks a part too", err)
	}
}

func TestOpenIsNotDamagedWhenTheLogIsAway(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	raw := fixtureBytes(3*fixturePart, 4)
	_, seq := f.large(0, raw, fixturePart, nil)
	m, err := NewReader(f.nc).Message(t.Context(), 0, seq)
	if err != nil {
		t.Fatal(err)
	}
	f.nc.Close()
	if _, err := readAll(t, m); err == nil || errors.Is(err, ErrDamaged) || errors.Is(err, io.EOF) {
		t.Errorf("error %v: a lost connection is no damage", err)
	}
}

// Closing early must leave no goroutine and no answer behind; goleak and the race detector watch.
func TestLargeMailClosedEarly(t *testing.T) {
	f := newLogFixture(t, 64<<20)
	_, seq := f.large(0, fixtureBytes(9*fixturePart, 5), fixturePart, nil)
	m, err := NewReader(f.nc).Message(t.Context(), 0, seq)
	if err != nil {
		t.Fatal(err)
	}
	r, err := m.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 10)); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Read(make([]byte, 10)); err == nil {
		t.Error("read after Close")
	}
}
