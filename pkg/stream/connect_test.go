package stream

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/sluice-mail/sluice/pkg/natsd"
)

// lines is a log that can be read while it is written.
type lines struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), text)
}

// TestWaitsForTheLogAndSaysSoOnce: any order of starting works, and the operator is told what is missing, once.
func TestWaitsForTheLogAndSaysSoOnce(t *testing.T) {
	port := freePorts(t, 1)[0]
	out := new(lines)
	nc, err := Connect(ConnConfig{URL: fmt.Sprintf("nats://secret@127.0.0.1:%d", port)}, ConnOptions{Name: "test", Logger: slog.New(slog.NewTextHandler(out, nil))})
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	become(t, 10*time.Second, "it says that it waits", func() error {
		if out.count("waiting for the log") == 0 {
			return fmt.Errorf("it does not")
		}
		return nil
	})
	s, err := natsd.Start(natsd.Options{Dir: t.TempDir(), MaxStore: 1 << 30, Port: port, Token: "secret"})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Shutdown()
	become(t, 10*time.Second, "it says that the log is there", func() error {
		if out.count("connected to the log") == 0 {
			return fmt.Errorf("it does not")
		}
		return nil
	})
	if got := out.count("waiting for the log"); got != 1 {
		t.Errorf("it said %d times that it waits", got)
	}
	if out.count("secret") != 0 {
		t.Errorf("the token is in the log: %s", &out.b)
	}
	if err := nc.Publish("x", nil); err != nil {
		t.Errorf("publishing after the wait: %v", err)
	}
}

func TestNothingIsBufferedWhileTheLogIsAway(t *testing.T) {
	nc, err := Connect(ConnConfig{URL: fmt.Sprintf("nats://127.0.0.1:%d", freePorts(t, 1)[0])}, ConnOptions{Logger: discard()})
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
		_, err := Connect(ConnConfig{URL: "nats://127.0.0.1:1", Creds: file}, ConnOptions{Logger: discard()})
		if err == nil || !strings.Contains(err.Error(), "NATS_CREDS") {
			t.Errorf("told %v", err)
		}
	}
}

// TestIngressNeedsFewRights: publishing heads and parts, and asking the shards about themselves; by an nkey.
func TestIngressNeedsFewRights(t *testing.T) {
	key, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, _ := key.PublicKey()
	seed, _ := key.Seed()
	seedFile := filepath.Join(t.TempDir(), "ingress.nk")
	if err := os.WriteFile(seedFile, seed, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true, JetStream: true, StoreDir: t.TempDir(), SyncAlways: true,
		Users: []*server.User{{Username: "admin", Password: "admin"}},
		Nkeys: []*server.NkeyUser{{Nkey: public, Permissions: &server.Permissions{
			Publish:   &server.SubjectPermission{Allow: []string{"mail.in.*", "mail.part.*", "$JS.API.STREAM.INFO.*"}},
			Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.ing.>"}},
		}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer func() { s.Shutdown(); s.WaitForShutdown() }()
	if !s.ReadyForConnections(20 * time.Second) {
		t.Fatal("the server does not start")
	}
	admin := connectTo(t, strings.Replace(s.ClientURL(), "nats://", "nats://admin:admin@", 1))
	if err := Ensure(t.Context(), admin, Shape{Shards: 2, Replicas: 1, MaxBytes: 64 << 20}, SyncedSingle, discard()); err != nil {
		t.Fatal(err)
	}
	out := new(lines)
	nc, err := Connect(ConnConfig{URL: s.ClientURL(), Creds: seedFile}, ConnOptions{InboxPrefix: "_INBOX.ing", Logger: slog.New(slog.NewTextHandler(out, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	p := startPublisher(t, nc, PublisherConfig{})
	waitReady(t, p)
	for _, m := range []Mail{newMail(t, 1000), largeTestMail(t, 3<<20)} {
		if err := p.Publish(t.Context(), m); err != nil {
			t.Errorf("publishing: %v", err)
		}
	}
	if got := out.count("ermission"); got != 0 {
		t.Errorf("it tried what it may not: %s", &out.b)
	}
}
