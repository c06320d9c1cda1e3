package stream_test

import (
	"errors"
	"io"
	"sync/atomic"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/consume"
	"github.com/sluice-mail/sluice/pkg/stream/internal/streamtest"
)

// take runs a worker until it has handled one mail and returns that.
func take(f *streamtest.Fixture) *stream.Message {
	got := make(chan *stream.Message, 1)
	rec := streamtest.NewRecorder(func(m *stream.Message) consume.Verdict { got <- m; return consume.Done() })
	_, stop := f.Worker(consume.Config{}, rec)
	m := <-got
	stop()
	return m
}

func TestLargeMailIsReadWhole(t *testing.T) {
	f := streamtest.New(t, 256<<20)
	f.Mail(0, "before\r\n")
	raw := streamtest.Bytes(20*streamtest.PartBytes+17, 1)
	_, seq := f.Large(0, raw)
	m, err := stream.NewReader(f.NC).Message(t.Context(), 0, seq, 0)
	if err != nil {
		t.Fatal(err)
	}
	if m.Raw != nil {
		t.Errorf("Raw has %d bytes, a large mail has none", len(m.Raw))
	}
	got, err := streamtest.ReadAll(t, m)
	if err != nil {
		t.Fatal(err)
	}
	streamtest.Equal(t, "the mail", got, raw)
}

func TestSmallMailOpensToo(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	f.Mail(0, "small\r\n")
	got, err := streamtest.ReadAll(t, take(f))
	if err != nil {
		t.Fatal(err)
	}
	streamtest.Equal(t, "the mail", got, []byte("small\r\n"))
}

func TestDamagedMailIsNotReadAsWhole(t *testing.T) {
	raw := streamtest.Bytes(5*streamtest.PartBytes, 2)
	cases := map[string]func(f *streamtest.Fixture) uint64{
		"a flipped bit": func(f *streamtest.Fixture) uint64 {
			_, seq := f.Spoilt(0, raw, func(i int, m *nats.Msg) {
				if i == 3 {
					m.Data = append([]byte(nil), m.Data...)
					m.Data[7] ^= 1
				}
			})
			return seq
		},
		"a short part": func(f *streamtest.Fixture) uint64 {
			_, seq := f.Spoilt(0, raw, func(i int, m *nats.Msg) {
				if i == 4 {
					m.Data = m.Data[:10]
				}
			})
			return seq
		},
		"a missing part": func(f *streamtest.Fixture) uint64 {
			_, seq := f.Large(0, raw)
			if err := f.Stream(stream.StreamName(0)).DeleteMsg(f.Context(), seq-2); err != nil {
				t.Fatal(err)
			}
			return seq
		},
		"a part of another mail": func(f *streamtest.Fixture) uint64 {
			_, seq := f.Spoilt(0, raw, func(i int, m *nats.Msg) {
				if i == 1 {
					m.Header.Set(stream.IDHeader, ulid.Make().String()+"/1")
				}
			})
			return seq
		},
		"a head where a part should be": func(f *streamtest.Fixture) uint64 {
			env := streamtest.Envelope(raw)
			env.Parts = 1
			f.Mail(0, "not a part\r\n")
			return f.Send(f.Head(0, env, nil))
		},
		"more parts than messages": func(f *streamtest.Fixture) uint64 {
			env := streamtest.Envelope(raw)
			env.Parts = 1000
			return f.Send(f.Head(0, env, nil))
		},
		"a small mail with other bytes": func(f *streamtest.Fixture) uint64 {
			return f.Send(f.Head(0, streamtest.Envelope([]byte("abc")), []byte("abd")))
		},
	}
	for name, publish := range cases {
		t.Run(name, func(t *testing.T) {
			f := streamtest.New(t, 64<<20)
			m, err := stream.NewReader(f.NC).Message(t.Context(), 0, publish(f), 0)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := streamtest.ReadAll(t, m); !errors.Is(err, stream.ErrDamaged) {
				t.Errorf("read with error %v, want ErrDamaged", err)
			}
		})
	}
}

// A replica that lags says 404 for what the leader has. Here a stand-in answers the direct gets; the leader is
// the real one.
func TestMissingPartIsAskedOfTheLeader(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	raw := streamtest.Bytes(3*streamtest.PartBytes, 3)
	_, seq := f.Large(0, raw)
	s, err := f.JS.Stream(f.Context(), stream.StreamName(0))
	if err != nil {
		t.Fatal(err)
	}
	m, err := stream.NewReader(f.NC).Message(t.Context(), 0, seq, 0)
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.AllowDirect = false
	if _, err := f.JS.UpdateStream(f.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	var asked atomic.Int64
	sub, err := f.NC.Subscribe("$JS.API.DIRECT.GET."+stream.StreamName(0), func(msg *nats.Msg) {
		asked.Add(1)
		if err := msg.RespondMsg(&nats.Msg{Header: nats.Header{"Status": {"404"}, "Description": {"Message Not Found"}}}); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	got, err := streamtest.ReadAll(t, m)
	if err != nil {
		t.Fatal(err)
	}
	streamtest.Equal(t, "the mail", got, raw)
	if asked.Load() != 3 {
		t.Errorf("%d direct gets", asked.Load())
	}
	if err := s.DeleteMsg(f.Context(), seq-1); err != nil {
		t.Fatal(err)
	}
	if _, err := streamtest.ReadAll(t, m); !errors.Is(err, stream.ErrDamaged) {
		t.Errorf("read with error %v although the leader lacks a part too", err)
	}
}

func TestOpenIsNotDamagedWhenTheLogIsAway(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	raw := streamtest.Bytes(3*streamtest.PartBytes, 4)
	_, seq := f.Large(0, raw)
	m, err := stream.NewReader(f.NC).Message(t.Context(), 0, seq, 0)
	if err != nil {
		t.Fatal(err)
	}
	f.NC.Close()
	if _, err := streamtest.ReadAll(t, m); err == nil || errors.Is(err, stream.ErrDamaged) || errors.Is(err, io.EOF) {
		t.Errorf("error %v: a lost connection is no damage", err)
	}
}

// Closing early must leave no goroutine and no answer behind; goleak and the race detector watch.
func TestLargeMailClosedEarly(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	_, seq := f.Large(0, streamtest.Bytes(9*streamtest.PartBytes, 5))
	m, err := stream.NewReader(f.NC).Message(t.Context(), 0, seq, 0)
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
