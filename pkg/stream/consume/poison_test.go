package consume_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/consume"
	"github.com/sluice-mail/sluice/pkg/stream/dead"
	"github.com/sluice-mail/sluice/pkg/stream/internal/streamtest"
)

// A mail that ends its process needs a process that it can end: the test binary runs itself as a storer. childOf is where
// that finds the log; it stops when its standard input ends.
const (
	childOf   = "SLUICE_TEST_CHILD_OF"
	childPace = "SLUICE_TEST_CHILD_PACE"
)

func child() {
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	nc, err := stream.Connect(stream.ConnConfig{URL: os.Getenv(childOf)}, stream.ConnOptions{Name: "child", Logger: logger})
	check(err)
	cfg := consume.Config{Consumer: stream.Storer, Grave: dead.New(nc)}
	if os.Getenv(childPace) != "" {
		cfg.Pace = streamtest.Pace()
	}
	w, err := consume.New(nc, cfg, consume.HandlerFunc(childHandle), logger, prometheus.NewRegistry())
	check(err)
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	check(w.Run(ctx))
}

// childHandle does what the mails say, and says what it did when all of them are done.
func childHandle(_ context.Context, batch []*stream.Message) []consume.Verdict {
	verdicts := make([]consume.Verdict, len(batch))
	var said bytes.Buffer
	for i, m := range batch {
		switch verdicts[i] = consume.Done(); {
		case bytes.HasPrefix(m.Raw, []byte("kill")):
			os.Exit(9)
		case bytes.HasPrefix(m.Raw, []byte("refuse")):
			verdicts[i] = consume.Dead("refused")
		default:
			fmt.Fprintf(&said, "done %s %v\n", m.ID, m.Alone)
		}
	}
	_, _ = os.Stdout.Write(said.Bytes())
	return verdicts
}

// family runs children on a log, one after the other.
type family struct {
	t      *testing.T
	url    string
	paced  bool
	deaths int

	mu    sync.Mutex
	done  map[string]int // with derived columns
	plain map[string]int // without
}

func (f *family) hear(out io.Reader) {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var id string
		var plain bool
		if _, err := fmt.Sscanf(lines.Text(), "done %s %t", &id, &plain); err != nil {
			f.t.Logf("child: %s", lines.Text())
			continue
		}
		f.mu.Lock()
		if plain {
			f.plain[id]++
		} else {
			f.done[id]++
		}
		f.mu.Unlock()
	}
}

// until starts child after child until so holds, then stops the last one.
func (f *family) until(most int, so func() bool) {
	f.t.Helper()
	for ; ; f.deaths++ {
		if f.deaths > most {
			f.t.Fatalf("%d children died", f.deaths)
		}
		cmd := exec.CommandContext(f.t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childOf+"="+f.url)
		if f.paced {
			cmd.Env = append(cmd.Env, childPace+"=1")
		}
		in, err := cmd.StdinPipe()
		check(err)
		out, err := cmd.StdoutPipe()
		check(err)
		cmd.Stderr = f.t.Output()
		check(cmd.Start())
		ended := make(chan struct{})
		go func() { f.hear(out); _ = cmd.Wait(); close(ended) }()
		if f.watch(ended, so) {
			in.Close()
			<-ended
			return
		}
	}
}

// watch is true when so holds, false when the child has ended.
func (f *family) watch(ended <-chan struct{}, so func() bool) bool {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			return false
		case <-tick.C:
			if so() {
				return true
			}
		}
	}
}

func newFamily(t *testing.T, f *streamtest.Fixture) *family {
	return &family{t: t, url: f.Server.URL(), done: make(map[string]int), plain: make(map[string]int)}
}

// raws are n mails, but for those named.
func raws(n int, odd map[int]string) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("Subject: %d\r\n\r\n%s\r\n", i, strings.Repeat("x", 500))
		if text, ok := odd[i]; ok {
			all[i] = text + all[i]
		}
	}
	return all
}

// A mail that kills the process is buried by name, and none of the 640 others with it: each is handled at least once with
// its derived columns.
func TestAMailThatKillsTheProcessIsBuriedAlone(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	var good []ulid.ULID
	var killer ulid.ULID
	for pack := range 10 {
		odd := map[int]string{}
		if pack == 6 {
			odd[20] = "kill"
		}
		ids, _ := f.Pack(0, raws(64, odd)...)
		for i, id := range ids {
			if odd[i] != "" {
				killer = id
			} else {
				good = append(good, id)
			}
		}
	}
	c := newFamily(t, f)
	c.paced = true
	c.until(8, f.Settled)
	buried := letters(t, f)
	if len(buried) != 1 || buried[0].ID != killer || !strings.Contains(buried[0].Reason, "the process ended twice") {
		t.Errorf("dead letters: %+v", buried)
	}
	for _, id := range good {
		if c.done[id.String()] == 0 || c.plain[id.String()] > 0 {
			t.Errorf("%s was handled %d times, and %d times plain", id, c.done[id.String()], c.plain[id.String()])
		}
	}
	t.Logf("%d deaths", c.deaths)
}

// The same at the real pace, with a mail that the handler refuses in the same pack: within a minute.
func TestPoisonIsFoundWithinAMinute(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes a minute: two times AckWait")
	}
	f := streamtest.New(t, 64<<20)
	cfg := f.Info(0, stream.Storer).Config
	cfg.AckWait = stream.AckWait
	if _, err := f.JS.UpdateConsumer(f.Context(), stream.StreamName(0), cfg); err != nil {
		t.Fatal(err)
	}
	ids, _ := f.Pack(0, raws(64, map[int]string{11: "refuse", 40: "kill"})...)
	start := time.Now()
	c := newFamily(t, f)
	c.until(8, f.Settled)
	took := time.Since(start)
	if took > time.Minute {
		t.Errorf("it took %s", took)
	}
	var names []string
	for _, l := range letters(t, f) {
		names = append(names, l.ID.String()+" "+l.Reason)
	}
	want := []string{ids[11].String() + " refused", ids[40].String() + " the process ended twice while it handled this mail"}
	if strings.Join(names, "\n") != strings.Join(want, "\n") {
		t.Errorf("dead letters: %q", names)
	}
	for i, id := range ids {
		if i != 11 && i != 40 && (c.done[id.String()] == 0 || c.plain[id.String()] > 0) {
			t.Errorf("mail %d was handled %d times, and %d times plain", i, c.done[id.String()], c.plain[id.String()])
		}
	}
	t.Logf("%d deaths, %s", c.deaths, took.Round(time.Millisecond))
}

// The disk is full, and the storer is restarted five times: nobody is to blame.
func TestRestartsWhileWritesFailBuryNobody(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	var ids []ulid.ULID
	for range 10 {
		some, _ := f.Pack(0, raws(50, nil)...)
		ids = append(ids, some...)
	}
	for range 5 {
		var tried atomic.Int64
		rec := streamtest.NewRecorder(func(*stream.Message) consume.Verdict {
			tried.Add(1)
			return consume.Retry(errors.New("no space left on device"))
		})
		_, stop := f.Worker(consume.Config{Grave: dead.New(f.NC)}, rec)
		streamtest.Eventually(t, "it was tried", func() bool { return tried.Load() > 200 })
		stop()
	}
	var plain atomic.Int64
	rec := streamtest.NewRecorder(func(m *stream.Message) consume.Verdict {
		if m.Alone {
			plain.Add(1)
		}
		return consume.Done()
	})
	f.Worker(consume.Config{Grave: dead.New(f.NC)}, rec)
	streamtest.Eventually(t, "all mails", func() bool { return rec.Total() == len(ids) && f.Settled() })
	if n := len(letters(t, f)); n != 0 || plain.Load() != 0 {
		t.Errorf("%d of %d mails were buried, %d handled plain", n, len(ids), plain.Load())
	}
	if d := rec.Seen(ids[0])[0].Delivered; d < consume.SuspectAfter {
		t.Errorf("delivered %d times only: this has tested nothing", d)
	}
}

// A large mail was stored by another replica and purged while it was in our hands: its parts are missing, but not for a
// fault of its own.
func TestLargeMailThatWasPurgedMeanwhileIsNoDeadLetter(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	_, seq := f.Large(0, streamtest.Bytes(5*streamtest.PartBytes, 1))
	stuck, purged := make(chan struct{}), make(chan struct{})
	f.Worker(consume.Config{Grave: dead.New(f.NC)}, consume.HandlerFunc(func(_ context.Context, b []*stream.Message) []consume.Verdict {
		close(stuck)
		<-purged
		if _, err := streamtest.ReadAll(t, b[0]); err != nil {
			return []consume.Verdict{consume.Dead(err.Error())}
		}
		return []consume.Verdict{consume.Done()}
	}))
	<-stuck
	if err := f.Stream(stream.StreamName(0)).Purge(f.Context(), jetstream.WithPurgeSequence(seq+1)); err != nil {
		t.Fatal(err)
	}
	close(purged)
	streamtest.Eventually(t, "it is acknowledged", func() bool { return f.Info(0, stream.Storer).NumAckPending == 0 })
	if buried := letters(t, f); len(buried) != 0 {
		t.Errorf("dead letters: %+v", buried)
	}
}

// A damaged mail of a pack is buried, its companions are handled as if nothing was.
func TestDamagedMailOfAPackIsBuriedByItself(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	ids, _ := f.SpoiltPack(0, 3, raws(8, nil)...)
	rec := streamtest.NewRecorder(nil)
	f.Worker(consume.Config{Grave: dead.New(f.NC)}, rec)
	streamtest.Eventually(t, "settled", f.Settled)
	buried := letters(t, f)
	if rec.Total() != 7 || rec.Count(ids[3]) != 0 || len(buried) != 1 || buried[0].ID != ids[3] || !strings.Contains(buried[0].Reason, "damaged") {
		t.Errorf("%d handled, dead letters %+v", rec.Total(), buried)
	}
	for _, b := range rec.Batches() {
		for _, m := range b {
			if m.Alone || len(b) < 7 {
				t.Errorf("a batch of %d, plain %v", len(b), m.Alone)
			}
		}
	}
}

// A handler whose readers compare the bytes themselves gets the damaged mail, too, and nothing is hashed for it.
func TestUnverifiedMailIsHandledAsItIs(t *testing.T) {
	f := streamtest.New(t, 64<<20)
	ids, _ := f.SpoiltPack(0, 3, raws(8, nil)...)
	rec := streamtest.NewRecorder(nil)
	f.Worker(consume.Config{Grave: dead.New(f.NC), Unverified: true}, rec)
	streamtest.Eventually(t, "settled", f.Settled)
	if buried := letters(t, f); rec.Total() != 8 || rec.Count(ids[3]) != 1 || len(buried) != 0 {
		t.Errorf("%d handled, dead letters %+v", rec.Total(), buried)
	}
}
