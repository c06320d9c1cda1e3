package publish

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/streamtest"
)

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
	if err := stream.Ensure(t.Context(), admin, stream.Shape{Shards: 2, Replicas: 1, MaxBytes: 64 << 20}, stream.SyncedSingle, discard()); err != nil {
		t.Fatal(err)
	}
	out := new(streamtest.Lines)
	nc, err := stream.Connect(stream.ConnConfig{URL: s.ClientURL(), Creds: seedFile}, stream.ConnOptions{InboxPrefix: "_INBOX.ing", Logger: slog.New(slog.NewTextHandler(out, nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	p := startPublisher(t, nc, Config{})
	waitReady(t, p)
	for _, m := range []Mail{newMail(t, 1000), largeTestMail(t, 3<<20)} {
		if err := p.Publish(t.Context(), m); err != nil {
			t.Errorf("publishing: %v", err)
		}
	}
	if got := out.Count("ermission"); got != 0 {
		t.Errorf("it tried what it may not: %s", out)
	}
}
