package e2e

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

// guarded is a fleet whose log asks everybody who they are.
type guarded struct{ *fleet.Fleet }

// as is the environment of somebody with the committed seed of a service, or of admin.
func (g guarded) as(t *testing.T, who string, extra ...string) []string {
	t.Helper()
	root, err := fleet.Root()
	if err != nil {
		t.Fatal(err)
	}
	return append(append(g.Env(), "NATS_CREDS="+filepath.Join(root, fleet.Seed(who))), extra...)
}

func (g guarded) run(t *testing.T, ctx context.Context, who, program string, args ...string) string {
	t.Helper()
	out, err := g.Command(ctx, g.as(t, who), program, args...)
	if err != nil {
		t.Error(err)
	}
	return out
}

// The accounts in deploy/nats, as committed. Each service can do its work with its own seed, and nothing else.
func TestAccounts(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	g := guarded{newFleet(t, 1)}
	if err := g.UseAccounts(); err != nil {
		t.Fatal(err)
	}
	if err := g.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Run("every service can do its work", func(t *testing.T) { g.work(t, ctx) })
	t.Run("nothing of it was refused by the log", func(t *testing.T) {
		for line := range strings.Lines(g.NATS.Log()) {
			if strings.Contains(line, "Violation") {
				t.Error(strings.TrimSpace(line))
			}
		}
	})
	t.Run("nobody gets in without a seed", func(t *testing.T) {
		if nc, err := nats.Connect("nats://" + g.NATS.Addrs["client"]); !errors.Is(err, nats.ErrAuthorization) {
			nc.Close()
			t.Errorf("without a seed: %v", err)
		}
	})
	for _, r := range rights {
		t.Run("what the "+r.service+" cannot do", func(t *testing.T) { g.refused(t, r) })
	}
	if !strings.Contains(g.NATS.Log(), "Violation") {
		t.Error("the log of the server does not name refusals: that it named none before proves nothing")
	}
}

func (g guarded) work(t *testing.T, ctx context.Context) {
	record := filepath.Join(t.TempDir(), "acks.jsonl")
	g.run(t, ctx, "admin", "sluicectl", "load", "-to", g.Ingresses[0].Addrs["smtp"], "-conns", "8", "-count", "300",
		"-sizes", "1KB-60KB:99,3MB:1", "-rcpts", "1-3", "-record", record)
	settled(t, ctx, g.as(t, "admin"))
	if r := audit(t, ctx, g.as(t, "admin"), "--acks", record, "--deep"); r.Acks.Stored != 300 || r.Acks.Unexplained != 0 {
		t.Errorf("%+v", *r.Acks)
	}
	id := readRecord(t, record)[0].ID
	within(t, 30*time.Second, "mail "+id+" is in the cache", func() bool {
		return strings.Contains(g.run(t, ctx, "admin", "sluicectl", "trace", "--json", id), `"cached": true`)
	})
	g.run(t, ctx, "admin", "sluicectl", "status", "--interval=0s")
	g.run(t, ctx, "admin", "sluicectl", "streams", "ensure")
	g.run(t, ctx, "admin", "sluicectl", "domains", "add", "new.example")
	g.run(t, ctx, "admin", "sluicectl", "domains", "ls")
	g.run(t, ctx, "admin", "sluicectl", "recipients", "add", "u@new.example")
	g.run(t, ctx, "admin", "sluicectl", "domains", "rm", "new.example")
	g.run(t, ctx, "storer", "storer", "migrate")

	dsn, err := g.NewDatabase("second")
	if err != nil {
		t.Fatal(err)
	}
	out, err := g.Command(ctx, g.as(t, "storer", "MYSQL_DSN="+dsn), "storer", "replay", "--name", "fill")
	if err != nil || !strings.Contains(out, "stored 300") {
		t.Errorf("storer replay: %v %s", err, out)
	}
	g.run(t, ctx, "storer", "storer", "replay", "--dry-run", "--since", "1h")
	if out := g.run(t, ctx, "cachewarmer", "cachewarmer", "replay", "--since", "1h"); !strings.Contains(out, "read 300 ") {
		t.Errorf("cachewarmer replay: %s", out)
	}
	g.dead(t, ctx)

	// Retention, with the rights of the storer.
	if err := g.Storer.Stop(45 * time.Second); err != nil {
		t.Fatal(err)
	}
	g.Storer.Setenv("STREAM_KEEP=1s")
	if err := g.Storer.Start(); err != nil {
		t.Fatal(err)
	}
	if err := g.Storer.Ready(ctx); err != nil {
		t.Fatal(err)
	}
	within(t, 60*time.Second, "retention purges", func() bool { return metric(t, ctx, g.Storer, "sluice_log_purged_bytes_total") > 0 })
	g.run(t, ctx, "admin", "sluicectl", "audit", "--acks", record)
}

// dead has the storer make a dead letter, and an operator look at it, retry and drop it.
func (g guarded) dead(t *testing.T, ctx context.Context) {
	t.Helper()
	nc := g.connect(t, "admin", nil)
	if _, err := nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: stream.HeadSubject(0), Data: []byte("no mail"),
		Header: nats.Header{stream.EnvelopeHeader: {"no envelope!"}}}); err != nil {
		t.Fatal(err)
	}
	var id string
	letter := func() bool {
		id = ""
		lines := strings.Split(g.run(t, ctx, "admin", "sluicectl", "dead", "ls"), "\n")
		if len(lines) > 1 {
			id, _, _ = strings.Cut(lines[1], " ")
		}
		return id != ""
	}
	within(t, 60*time.Second, "the storer makes a dead letter of nonsense", letter)
	g.run(t, ctx, "admin", "sluicectl", "dead", "show", id)
	if out := g.run(t, ctx, "admin", "sluicectl", "dead", "show", "--raw", id); out != "no mail" {
		t.Errorf("the dead letter is %q", out)
	}
	// Retried it dies again, and is another dead letter.
	g.run(t, ctx, "admin", "sluicectl", "dead", "retry", id)
	within(t, 60*time.Second, "it is a dead letter again", letter)
	g.run(t, ctx, "admin", "sluicectl", "dead", "drop", id)
	if letter() {
		t.Errorf("%s is still there", id)
	}
}

// connect connects with the seed of a service and its inbox.
func (g guarded) connect(t *testing.T, who string, trouble func(error)) *nats.Conn {
	t.Helper()
	root, err := fleet.Root()
	if err != nil {
		t.Fatal(err)
	}
	seed, err := nats.NkeyOptionFromSeed(filepath.Join(root, fleet.Seed(who)))
	if err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect("nats://"+g.NATS.Addrs["client"], seed, nats.CustomInboxPrefix("_INBOX."+who[:3]),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			if trouble != nil {
				trouble(err)
			}
		}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// right is what one account must not be able to do, and one harmless thing it can, which shows that the check works: a
// request that is answered, or something to listen to.
type right struct {
	service            string
	allowed, hears     string
	publish, subscribe []string
}

var (
	// What nobody but admin does: to remove mail, streams or consumers, to change the policy.
	adminOnly = []string{
		"$JS.API.STREAM.DELETE.MAIL_0", "$JS.API.STREAM.MSG.DELETE.MAIL_0", "$JS.API.STREAM.RESTORE.MAIL_0",
		"$JS.API.STREAM.SNAPSHOT.MAIL_0", "$KV.sluice_policy.domain.x", "$JS.API.STREAM.PURGE.KV_sluice_policy.x",
	}
	rights = []right{
		{
			service: "ingress", allowed: "$JS.API.STREAM.INFO.MAIL_0",
			publish: append([]string{
				// To read what others were sent.
				"$JS.API.DIRECT.GET.MAIL_0", "$JS.API.DIRECT.GET.MAIL_0.mail.in.0", "$JS.API.STREAM.MSG.GET.MAIL_0",
				"$JS.API.CONSUMER.CREATE.MAIL_0", "$JS.API.CONSUMER.CREATE.MAIL_0.spy", "$JS.API.CONSUMER.CREATE.MAIL_0.spy.mail.in.0",
				"$JS.API.CONSUMER.DURABLE.CREATE.MAIL_0.spy", "$JS.API.CONSUMER.MSG.NEXT.MAIL_0.storer", "$JS.API.DIRECT.GET.MAIL_DEAD",
				// To settle or remove it, or to say that it is stored or dead.
				"$JS.ACK.MAIL_0.storer.1.1.1.1.0", "$JS.API.STREAM.PURGE.MAIL_0", "$JS.API.CONSUMER.DELETE.MAIL_0.storer",
				"$JS.API.STREAM.UPDATE.MAIL_0", "$JS.API.STREAM.CREATE.MAIL_0", "mail.dead.in", "mail.dead.part", "mail.stored.0",
				"$KV.sluice_lease.janitor", "$KV.sluice_audit.MAIL_0", "$KV.sluice_marks.storer.MAIL_0.1",
			}, adminOnly[:5]...),
			subscribe: []string{"mail.in.*", "mail.>", "_INBOX.sto.>", "$JS.ACK.>", ">"},
		},
		{
			service: "storer", allowed: "$JS.API.CONSUMER.INFO.MAIL_0.storer",
			publish: append([]string{
				"mail.in.0", "mail.part.0", // mail comes from an ingress
				"$JS.API.CONSUMER.MSG.NEXT.MAIL_0.cachewarmer", "$JS.API.CONSUMER.DELETE.MAIL_0.cachewarmer",
				"$KV.sluice_marks.cachewarmer.MAIL_0.1",
			}, adminOnly[:5]...),
			subscribe: []string{"mail.in.*", "_INBOX.ing.>", ">"},
		},
		{
			service: "cachewarmer", allowed: "$JS.API.CONSUMER.INFO.MAIL_0.cachewarmer",
			publish: append([]string{
				"mail.in.0", "mail.part.0", "mail.dead.in", "mail.dead.part", "mail.stored.0",
				// To take mail from the storer, or settle it in its name.
				"$JS.ACK.MAIL_0.storer.1.1.1.1.0", "$JS.ACK.domain.account.MAIL_0.storer.1.1.1.1.0.token",
				"$JS.API.CONSUMER.MSG.NEXT.MAIL_0.storer", "$JS.API.CONSUMER.DELETE.MAIL_0.storer", "$JS.API.CONSUMER.RESET.MAIL_0.storer",
				"$JS.API.CONSUMER.PAUSE.MAIL_0.storer", "$JS.API.CONSUMER.UNPIN.MAIL_0.storer", "$JS.API.CONSUMER.CREATE.MAIL_0.storer",
				"$JS.API.CONSUMER.CREATE.MAIL_0.storer.mail.in.0", "$JS.API.CONSUMER.DURABLE.CREATE.MAIL_0.storer",
				"$JS.API.STREAM.PURGE.MAIL_0", "$JS.API.STREAM.UPDATE.MAIL_0", "$JS.API.STREAM.CREATE.MAIL_0",
				"$KV.sluice_lease.janitor", "$KV.sluice_audit.MAIL_0", "$KV.sluice_marks.storer.MAIL_0.1",
			}, adminOnly...),
			subscribe: []string{"mail.in.*", "_INBOX.sto.>", ">"},
		},
		{
			// It hears which mail was stored, and nothing else.
			service: "mailbox", hears: "mail.stored.*",
			publish: append([]string{
				"mail.in.0", "mail.part.0", "mail.dead.in", "mail.stored.0", "$JS.API.INFO", "$JS.API.STREAM.INFO.MAIL_0", "$JS.API.STREAM.NAMES",
				"$JS.API.DIRECT.GET.MAIL_0", "$JS.API.STREAM.MSG.GET.MAIL_0", "$JS.API.CONSUMER.CREATE.MAIL_0.spy.mail.in.0",
				"$JS.API.CONSUMER.MSG.NEXT.MAIL_0.storer", "$JS.ACK.MAIL_0.storer.1.1.1.1.0", "$JS.API.STREAM.PURGE.MAIL_0",
				"$KV.sluice_lease.janitor", "$KV.sluice_audit.MAIL_0", "$KV.sluice_marks.storer.MAIL_0.1",
			}, adminOnly...),
			subscribe: []string{"mail.in.*", "mail.>", "_INBOX.>", "_INBOX.sto.>", "$JS.>", "$KV.>", ">"},
		},
	}
)

// refused tries everything, and wants to be told each time.
func (g guarded) refused(t *testing.T, r right) {
	var mu sync.Mutex
	var told []string
	nc := g.connect(t, r.service, func(err error) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, err.Error())
	})
	refusals := func(subject string) (n int) {
		mu.Lock()
		defer mu.Unlock()
		for _, text := range told {
			if strings.Contains(text, `"`+subject+`"`) {
				n++
			}
		}
		return n
	}
	if r.hears != "" {
		if _, err := nc.SubscribeSync(r.hears); err != nil {
			t.Fatal(err)
		}
	} else if _, err := nc.Request(r.allowed, nil, 20*time.Second); err != nil {
		t.Errorf("%s, which is allowed: %v", r.allowed, err)
	}
	for _, subject := range r.publish {
		if err := nc.Publish(subject, nil); err != nil {
			t.Fatal(err)
		}
	}
	for _, subject := range r.subscribe {
		if _, err := nc.SubscribeSync(subject); err != nil {
			t.Fatal(err)
		}
	}
	if err := nc.FlushTimeout(30 * time.Second); err != nil {
		t.Fatal(err)
	}
	for _, subject := range append(append([]string{}, r.publish...), r.subscribe...) {
		deadline := time.Now().Add(5 * time.Second) // the refusal has arrived with the flush; this is for its callback
		for refusals(subject) == 0 && time.Now().Before(deadline) {
			time.Sleep(5 * time.Millisecond)
		}
		if refusals(subject) == 0 {
			t.Errorf("the %s may use %s", r.service, subject)
		}
	}
	if allowed := r.allowed + r.hears; refusals(allowed) > 0 {
		t.Errorf("%s is refused", allowed)
	}
}
