package replaycmd

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/sluice-mail/sluice/pkg/stream/consume"
)

func TestFlags(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	o, err := Parse("storer", strings.Fields("--since 24h --until 2026-01-31T11:00:00Z --rcpt b@c.example,a@c.example --domain c.example --name n --rate 50 --reindex"), true, now, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	r := o.Replay
	if !r.Since.Equal(now.Add(-24*time.Hour)) || !r.Until.Equal(now.Add(-time.Hour)) || r.Name != "n" || r.Rate != 50 || !o.Reindex {
		t.Errorf("%+v", o)
	}
	if strings.Join(r.Mailboxes, " ") != "a@c.example b@c.example" || r.Domains[0] != "c.example" {
		t.Errorf("selected %v %v", r.Mailboxes, r.Domains)
	}
	// A process that continues says the same words at another time: the parameters must not depend on when.
	later, err := Parse("storer", strings.Fields("--reindex --domain c.example --rcpt a@c.example --rcpt b@c.example --since 24h --until 2026-01-31T11:00:00Z --name n"), true, now.Add(time.Hour/2), io.Discard)
	if err != nil || later.Replay.Parameters != r.Parameters {
		t.Errorf("%q, then %q: %v", r.Parameters, later.Replay.Parameters, err)
	}
}

func TestWrongFlagsAreNamed(t *testing.T) {
	for args, want := range map[string]string{
		"--since yesterday":                 "--since=yesterday",
		"--since 1h --until 2h":             "--since must be before --until",
		"--from-seq 5":                      "--shard",
		"--shard 0 --from-seq 9 --to-seq 5": "--from-seq must not be above",
		"--rate -1":                         "--rate",
		"surplus":                           "surplus",
		"--nonsense":                        "nonsense",
		"--until 2026-13-01":                "--until=2026-13-01",
		"--since 2026-01-31T15:04:05Z --until 99h": "before",
	} {
		if _, err := Parse("storer", strings.Fields(args), true, time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC), io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q in it", args, err, want)
		}
	}
	if _, err := Parse("cachewarmer", []string{"--reindex"}, false, time.Now(), io.Discard); err == nil {
		t.Error("the cachewarmer has nothing to reindex")
	}
	var help bytes.Buffer
	if _, err := Parse("storer", []string{"-help"}, true, time.Now(), &help); !errors.Is(err, flag.ErrHelp) || !strings.Contains(help.String(), "-since") {
		t.Errorf("%v\n%s", err, help.String())
	}
}

func TestProgressInPlainLines(t *testing.T) {
	var out bytes.Buffer
	progress := Progress(&out)
	progress(consume.ReplayProgress{Read: 10, Total: 100, Rate: 5, Left: 18 * time.Second})
	progress(consume.ReplayProgress{Read: 20, Total: 100, Rate: 5}) // too soon for another line
	progress(consume.ReplayProgress{Read: 100, Total: 100, Rate: 5})
	want := "replay: 10 of 100 messages (10%), 5/s, 18s left\nreplay: 100 of 100 messages (100%), 5/s\n"
	if out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
}
