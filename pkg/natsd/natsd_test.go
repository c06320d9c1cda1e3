package natsd

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func TestSurvivesRestart(t *testing.T) {
	opts := Options{Dir: t.TempDir(), MaxStore: 1 << 30, Token: "secret"}
	s := start(t, opts)
	nc, err := s.Connect()
	if err != nil {
		t.Fatal(err)
	}
	js, _ := jetstream.New(nc)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "A", Subjects: []string{"a"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := js.Publish(t.Context(), "a", []byte("hello")); err != nil {
		t.Fatal(err)
	}
	nc.Close()
	s.Shutdown()

	s = start(t, opts)
	nc, err = nats.Connect(s.URL())
	if err != nil {
		t.Fatalf("connecting by URL: %v", err)
	}
	defer nc.Close()
	js, _ = jetstream.New(nc)
	st, err := js.Stream(t.Context(), "A")
	if err != nil {
		t.Fatal(err)
	}
	if got := st.CachedInfo().State.Msgs; got != 1 {
		t.Errorf("after the restart the stream has %d messages, want 1", got)
	}
}

func TestTokenIsNeeded(t *testing.T) {
	s := start(t, Options{Dir: t.TempDir(), MaxStore: 1 << 30, Token: "secret"})
	url := strings.Replace(s.URL(), "secret@", "", 1)
	if nc, err := nats.Connect(url, nats.Timeout(2*time.Second)); err == nil {
		nc.Close()
		t.Error("connected without the token")
	}
}

func TestStoreThatCannotBeOpened(t *testing.T) {
	if _, err := Start(Options{Dir: "/dev/null/store"}); err == nil {
		t.Fatal("started with a store that is not a directory")
	} else {
		t.Log(err)
	}
}

func start(t *testing.T, opts Options) *Server {
	t.Helper()
	s, err := Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Shutdown)
	return s
}
