package stream_test

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mail/sluice/pkg/natsd"
	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/streamtest"
)

// TestWaitsForTheLogAndSaysSoOnce: any order of starting works, and the operator is told what is missing, once.
func TestWaitsForTheLogAndSaysSoOnce(t *testing.T) {
	port := streamtest.FreePorts(t, 1)[0]
	out := new(streamtest.Lines)
	nc, err := stream.Connect(stream.ConnConfig{URL: fmt.Sprintf("nats://secret@127.0.0.1:%d", port)}, stream.ConnOptions{Name: "test", Logger: slog.New(slog.NewTextHandler(out, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	streamtest.Become(t, time.Minute, "it says that it waits", func() error {
		if out.Count("waiting for the log") == 0 {
			return fmt.Errorf("it does not")
		}
		return nil
	})
	s, err := natsd.Start(natsd.Options{Dir: t.TempDir(), MaxStore: 1 << 30, Port: port, Token: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	streamtest.Become(t, time.Minute, "it says that the log is there", func() error {
		if out.Count("connected to the log") == 0 {
			return fmt.Errorf("it does not")
		}
		return nil
	})
	if got := out.Count("waiting for the log"); got != 1 {
		t.Errorf("it said %d times that it waits", got)
	}
	if out.Count("secret") != 0 {
		t.Errorf("the token is in the log: %s", out)
	}
	if err := nc.Publish("x", nil); err != nil {
		t.Errorf("publishing after the wait: %v", err)
	}
}

func TestNothingIsBufferedWhileTheLogIsAway(t *testing.T) {
	nc, err := stream.Connect(stream.ConnConfig{URL: fmt.Sprintf("nats://127.0.0.1:%d", streamtest.FreePorts(t, 1)[0])}, stream.ConnOptions{Logger: discard()})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	if err := nc.Publish("mail.in.0", []byte("x")); err == nil {
		t.Error("a mail was put into a buffer, to be sent after its sender was told that it was not")
	}
}

func TestCredentialsThatCannotBeRead(t *testing.T) {
	nonsense := filepath.Join(t.TempDir(), "creds")
	if err := os.WriteFile(nonsense, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{nonsense, filepath.Join(t.TempDir(), "absent")} {
		_, err := stream.Connect(stream.ConnConfig{URL: "nats://127.0.0.1:1", Creds: file}, stream.ConnOptions{Logger: discard()})
		if err == nil || !strings.Contains(err.Error(), "NATS_CREDS") {
			t.Errorf("told %v", err)
		}
	}
}
