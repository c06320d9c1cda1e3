package e2e

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/services/e2e/fleet"
	loadgen "github.com/sluice-mail/sluice/services/internal/load"
)

// replayMails is how many mails are replayed; SLUICE_E2E_MAILS=100000 is for a run by hand.
func replayMails(t *testing.T) int {
	t.Helper()
	value := os.Getenv("SLUICE_E2E_MAILS")
	if value == "" {
		return 3000
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 1000 {
		t.Fatalf("SLUICE_E2E_MAILS=%s: want a number of at least 1000", value)
	}
	return n
}

// replayed is a fleet with mails in its log, and what became of them when they were sent.
type replayed struct {
	*fleet.Fleet
	acks  []loadgen.Ack
	mails int
}

// Any stretch of the log goes into another database, once, whatever happens meanwhile.
func TestReplay(t *testing.T) {
	n := replayMails(t)
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute+time.Duration(n/100)*time.Second)
	defer cancel()
	f := newFleet(t, 1)
	if err := f.Start(ctx); err != nil {
		t.Fatal(err)
	}
	acks, wait := load(t, ctx, f, "-count", strconv.Itoa(n), "-sizes", "1KB-6KB:299,2MB:1", "-rcpts", "1-3",
		"-domains", "example.com,example.com,example.com,other.example")
	wait()
	r := &replayed{Fleet: f, acks: readRecord(t, acks), mails: n}
	r.drained(t, ctx)
	if len(r.acks) != n {
		t.Fatalf("%d answers for %d mails", len(r.acks), n)
	}
	for _, step := range []struct {
		name string
		test func(*testing.T, context.Context)
	}{
		{"a dry run changes nothing", r.dryRun},
		{"two processes share one name and fill an empty database", r.shared},
		{"killed half-way it continues", r.killed},
		{"interrupted it says how to continue, and does", r.interrupted},
		{"selects by recipient and by domain", r.selects},
		{"rewrites derived columns only", r.reindexes},
		{"exit codes", r.exitCodes},
	} {
		if !t.Run(step.name, func(t *testing.T) { step.test(t, ctx) }) {
			return // what follows builds on it
		}
	}
}

// drained waits until the storer has settled all the mails, however many they are.
func (r *replayed) drained(t *testing.T, ctx context.Context) {
	t.Helper()
	live := retained{Fleet: r.Fleet, js: openLog(t, r.Fleet)}
	within(t, time.Minute+time.Duration(r.mails/100)*time.Second, "the storer has settled everything", func() bool { return live.lag(t, ctx) == 0 })
}

// env leads a replay to another database.
func (r *replayed) env(dsn string) []string { return append(r.Env(), "MYSQL_DSN="+dsn) }

func (r *replayed) database(t *testing.T, name string) string {
	t.Helper()
	dsn, err := r.NewDatabase(name)
	if err != nil {
		t.Fatal(err)
	}
	return dsn
}

// replay runs one to its end and returns its summary line.
func (r *replayed) replay(t *testing.T, ctx context.Context, dsn string, args ...string) summary {
	t.Helper()
	out, err := r.Command(ctx, r.env(dsn), "storer", append([]string{"replay"}, args...)...)
	if err != nil {
		t.Fatal(err)
	}
	return summarised(t, out)
}

// summary is the last line a replay prints.
type summary struct {
	text                                  string
	read, unselected, stored, there, dead int
}

func summarised(t *testing.T, out string) summary {
	t.Helper()
	lines := strings.Split(strings.TrimSpace(out), "\n")
	s := summary{text: lines[len(lines)-1]}
	for _, line := range lines {
		if strings.Contains(line, "replay") && strings.Contains(line, ": read ") {
			s.text = line
		}
	}
	for pattern, into := range map[string]*int{
		`: read (\d+)`: &s.read, `not selected (\d+)`: &s.unselected, `; stored (\d+)`: &s.stored,
		`already there (\d+)`: &s.there, `; dead (\d+)`: &s.dead,
	} {
		if match := regexp.MustCompile(pattern).FindStringSubmatch(s.text); match != nil {
			*into, _ = strconv.Atoi(match[1])
		}
	}
	return s
}

func (r *replayed) dryRun(t *testing.T, ctx context.Context) {
	dsn := r.database(t, "dry")
	s := r.replay(t, ctx, dsn, "--dry-run", "--since", "1h")
	if s.read != r.mails || !strings.Contains(s.text, "dry run") {
		t.Errorf("a dry run of %d mails says: %s", r.mails, s.text)
	}
	rows(t, dsn, "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = 'dry'", 0)
}

func (r *replayed) shared(t *testing.T, ctx context.Context) {
	dsn := r.database(t, "second")
	var both []*fleet.Process
	for i := range 2 {
		// A rate, so that the first is not through before the second has begun.
		p := r.NewCommand(fmt.Sprintf("replay-%d", i), r.env(dsn), "storer", "replay", "--name", "both", "--rate", strconv.Itoa(max(r.mails/8, 250)))
		if err := p.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = p.Kill() })
		both = append(both, p)
	}
	var read, stored, there int
	for _, p := range both {
		finish(t, ctx, p, 0)
		s := summarised(t, p.Log())
		t.Log(s.text)
		if s.read == 0 {
			t.Errorf("%s did nothing: %s", p.Name, p.Log())
		}
		read, stored, there = read+s.read, stored+s.stored, there+s.there
	}
	if read != r.mails || stored != r.mails || there != 0 {
		t.Errorf("together they read %d and stored %d, %d twice, want %d, each once", read, stored, there, r.mails)
	}
	r.equal(t, ctx, dsn)
	again := r.replay(t, ctx, dsn)
	t.Log(again.text)
	if again.stored != 0 || again.there != r.mails {
		t.Errorf("the second time: %s", again.text)
	}
	r.equal(t, ctx, dsn)
}

// equal audits a database against the log, down to the bytes.
func (r *replayed) equal(t *testing.T, ctx context.Context, dsn string) {
	t.Helper()
	report := audit(t, ctx, r.env(dsn), "--deep")
	if int(report.Stored) != r.mails || int(report.Mails) != r.mails || report.Missing != 0 || report.Extra != 0 || report.Wrong != 0 {
		t.Errorf("log and database differ: %+v", report)
	}
}

func (r *replayed) killed(t *testing.T, ctx context.Context) {
	dsn := r.database(t, "third")
	args := []string{"replay", "--name", "killed", "--since", "1h"}
	p := r.NewCommand("replay-killed", r.env(dsn), "storer", append(args, "--rate", strconv.Itoa(max(r.mails/10, 200)))...)
	if err := p.Start(); err != nil {
		t.Fatal(err)
	}
	within(t, 60*time.Second, "the replay is half-way", func() bool { return stored(dsn) >= r.mails/2 })
	if err := p.Kill(); err != nil {
		t.Fatal(err)
	}
	half := stored(dsn)
	if half >= r.mails {
		t.Fatalf("it was through before it was killed")
	}
	// Meanwhile nobody else may use its name for something else.
	for _, other := range []struct {
		want string
		dsn  string
		args []string
	}{
		{"--since", dsn, []string{"replay", "--name", "killed", "--since", "2h"}},
		{"second", strings.Replace(dsn, "third", "second", 1), args},
	} {
		_, err := r.Command(ctx, r.env(other.dsn), "storer", other.args...)
		if err == nil || !strings.Contains(err.Error(), "exit status 1") || !strings.Contains(err.Error(), "another name") ||
			!strings.Contains(err.Error(), strings.TrimPrefix(other.want, "--")) {
			t.Errorf("another replay under the same name: %v", err)
		}
	}
	// What it had in hand comes again when the log has waited for it in vain (a minute).
	out, err := r.Command(ctx, r.env(dsn), "storer", args...)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out, "replay: continues killed, which was started at ") || !strings.Contains(out, " and reads MAIL_0:") {
		t.Errorf("the range that is continued is not named:\n%s", out)
	}
	s := summarised(t, out)
	t.Logf("killed at %d; then %s", half, s.text)
	// A transaction it was killed in may have been committed after that count.
	if s.stored > r.mails-half || s.stored == 0 || s.stored+s.there != s.read || s.read >= r.mails {
		t.Errorf("killed at %d of %d, it went on with: %s", half, r.mails, s.text)
	}
	r.equal(t, ctx, dsn)
}

func (r *replayed) interrupted(t *testing.T, ctx context.Context) {
	dsn := r.database(t, "fourth")
	slow := r.NewCommand("replay-interrupted", r.env(dsn), "storer", "replay", "--name", "interrupted", "--rate", strconv.Itoa(max(r.mails/20, 100)))
	if err := slow.Start(); err != nil {
		t.Fatal(err)
	}
	within(t, 60*time.Second, "the replay has begun", func() bool { return stored(dsn) > 0 })
	if err := slow.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	finish(t, ctx, slow, 130)
	if !strings.Contains(slow.Log(), "--name interrupted") {
		t.Errorf("it does not say how to continue:\n%s", slow.Log())
	}
	before := stored(dsn)
	began := time.Now()
	s := r.replay(t, ctx, dsn, "--name", "interrupted")
	t.Logf("interrupted at %d; %s later: %s", before, time.Since(began).Round(time.Millisecond), s.text)
	if s.stored != r.mails-before || before == 0 || before >= r.mails {
		t.Errorf("interrupted at %d of %d, it went on with: %s", before, r.mails, s.text)
	}
	r.equal(t, ctx, dsn)
}

func (r *replayed) selects(t *testing.T, ctx context.Context) {
	mailbox, toDomain, toMailbox := r.acks[0].Rcpts[0], 0, 0
	for _, a := range r.acks {
		domain, box := false, false
		for _, rcpt := range a.Rcpts {
			domain = domain || strings.HasSuffix(rcpt, "@other.example")
			box = box || rcpt == mailbox
		}
		if domain {
			toDomain++
		}
		if box {
			toMailbox++
		}
	}
	for _, tt := range []struct {
		database, flag, value string
		want                  int
	}{
		{"bydomain", "--domain", "other.example", toDomain},
		{"byrcpt", "--rcpt", mailbox, toMailbox},
	} {
		if tt.want == 0 || tt.want == r.mails {
			t.Fatalf("%d of %d mails are for %s: that selects nothing", tt.want, r.mails, tt.value)
		}
		dsn := r.database(t, tt.database)
		s := r.replay(t, ctx, dsn, tt.flag, tt.value)
		if s.stored != tt.want || s.unselected != r.mails-tt.want || stored(dsn) != tt.want {
			t.Errorf("%s %s: want %d mails, got %s", tt.flag, tt.value, tt.want, s.text)
		}
	}
}

func (r *replayed) reindexes(t *testing.T, ctx context.Context) {
	dsn := strings.Replace(r.DSN(), "/sluice", "/bydomain", 1) // it has only some of the mails, which must stay so
	had := stored(dsn)
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	fingerprints := func() (derived, kept string) {
		t.Helper()
		// Sums over hashes of rows do not depend on their order.
		if err := db.QueryRowContext(ctx, "SELECT SUM(CRC32(CONCAT(HEX(id), subject))) FROM inbox").Scan(&derived); err != nil {
			t.Fatal(err)
		}
		if err := db.QueryRowContext(ctx, "SELECT SUM(CRC32(CONCAT(HEX(id), part, HEX(sha256), stored, HEX(envelope), MD5(body)))) FROM mail JOIN mail_raw USING (day, id)").Scan(&kept); err != nil {
			t.Fatal(err)
		}
		return derived, kept
	}
	right, kept := fingerprints()
	if _, err := db.ExecContext(ctx, "UPDATE inbox SET subject = 'spoilt'"); err != nil {
		t.Fatal(err)
	}
	if spoilt, _ := fingerprints(); spoilt == right {
		t.Fatal("the subjects could not be spoilt")
	}
	t.Log(r.replay(t, ctx, dsn, "--reindex").text)
	again, after := fingerprints()
	if again != right {
		t.Error("the subjects are not what they were")
	}
	if after != kept || stored(dsn) != had {
		t.Errorf("more than derived columns changed: %d mails, before %d", stored(dsn), had)
	}
}

func (r *replayed) exitCodes(t *testing.T, ctx context.Context) {
	for _, args := range [][]string{{"--since", "yesterday"}, {"--nonsense"}, {"--from-seq", "3"}, {"--since", "1h", "--until", "2h"}} {
		_, err := r.Command(ctx, r.env(r.DSN()), "storer", append([]string{"replay"}, args...)...)
		if err == nil || !strings.Contains(err.Error(), "exit status 2") {
			t.Errorf("replay %v is wrong usage: %v", args, err)
		}
	}
	// A message nobody can make sense of becomes a dead letter, in the live storer and in every replay.
	nc, err := nats.Connect("nats://" + r.NATS.Addrs["client"])
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	answer, err := nc.RequestMsgWithContext(ctx, &nats.Msg{Subject: stream.HeadSubject(0), Data: []byte("no mail"),
		Header: nats.Header{stream.EnvelopeHeader: {"no envelope!"}}})
	if err != nil {
		t.Fatal(err)
	}
	var ack struct{ Seq int }
	if err := json.Unmarshal(answer.Data, &ack); err != nil || ack.Seq == 0 {
		t.Fatalf("%v in %s", err, answer.Data)
	}
	settled(t, ctx, r.Env())
	_, err = r.Command(ctx, r.env(r.DSN()), "storer", "replay", "--from-seq", strconv.Itoa(ack.Seq), "--shard", "0")
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "dead 1") {
		t.Errorf("a replay with a dead letter: %v", err)
	}
}

// finish waits for a process and checks its exit code.
func finish(t *testing.T, ctx context.Context, p *fleet.Process, code int) {
	t.Helper()
	select {
	case <-p.Done():
	case <-ctx.Done():
		t.Fatalf("%s does not end:\n%s", p.Name, p.Log())
	}
	if p.ExitCode() != code {
		t.Fatalf("%s ended with code %d, want %d:\n%s", p.Name, p.ExitCode(), code, p.Log())
	}
}

// stored is how many mails a database has; 0 as long as it has no tables.
func stored(dsn string) (n int) {
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		return 0
	}
	defer db.Close()
	_ = db.QueryRow("SELECT COUNT(*) FROM mail").Scan(&n)
	return n
}

func readRecord(t *testing.T, name string) (acks []loadgen.Ack) {
	t.Helper()
	file, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	err = loadgen.ReadAcks(file, func(a loadgen.Ack) error {
		acks = append(acks, a)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return acks
}
