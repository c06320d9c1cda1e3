package e2e

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/services/e2e/fleet"
	loadgen "github.com/sluice-mail/sluice/services/internal/load"
)

const (
	diskSize   = "64m"
	largerDisk = "512m"
	noSpace    = "no space left on device"
	threeMB    = 3 << 20
)

// TestDiskFull: the disk under the log is full, long before STREAM_MAX_BYTES; promises 1 and 2. nats-server freezes a
// stream that it could not write, until it is restarted. Senders are told to try again, nothing ends, and once there is
// room and the log was restarted the ingress goes on by itself, and everything that ever got 250 is in the log.
func TestDiskFull(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	disk := mountDisk(t)
	f := newFleet(t, 1)
	storeLogOn(t, f, disk)
	if err := f.Start(ctx); err != nil {
		t.Fatal(err)
	}
	d := &diskFull{Fleet: f, dir: t.TempDir(), smtp: f.Ingresses[0].Addrs["smtp"], pids: make(map[string]int)}
	for _, p := range f.Processes() {
		d.pids[p.Name] = p.PID()
	}

	stop := d.load(t, ctx)
	within(t, 120*time.Second, "senders are refused for now", func() bool {
		return strings.HasPrefix(dialogue(t, d.smtp), "4") || count(d.record("load"), loadgen.Refused) > 0
	})
	t.Logf("%d mails accepted, %d bytes of the disk are left", count(d.record("load"), loadgen.Acked), free(t, disk))
	if !strings.Contains(f.NATS.Log(), noSpace) {
		t.Errorf("it is not the disk that is full:\n%.2000s", f.NATS.Log())
	}
	if report := d.send(t, ctx, "full", 4, "30KB"); report.Acked != 0 || report.Tried != 4 || report.Cut != 0 {
		t.Errorf("on a full disk: %+v", report)
	}
	d.alive(t)

	// A restart alone does not help, and harms nothing: the mails that wait are tried again, and fill what it freed.
	said := len(f.NATS.Log())
	d.restartLog(t)
	within(t, 60*time.Second, "the disk is full again", func() bool { return strings.Contains(f.NATS.Log()[said:], noSpace) })
	t.Logf("restarted on the full disk: %d mails accepted, %d bytes are left", count(d.record("load"), loadgen.Acked), free(t, disk))
	if err := syscall.Mount("tmpfs", disk, "tmpfs", syscall.MS_REMOUNT, "size="+largerDisk); err != nil {
		t.Fatal(err)
	}
	d.restartLog(t)
	began := time.Now()
	before := count(d.record("load"), loadgen.Acked)
	within(t, 60*time.Second, "the senders that wait get their 250", func() bool { return count(d.record("load"), loadgen.Acked) > before+100 })
	t.Logf("accepts again %s after the restart of the log", time.Since(began).Round(time.Millisecond))
	stop()
	if report := d.send(t, ctx, "again", 20, "3MB,1KB-60KB:9"); report.Acked != 20 {
		t.Errorf("with room again: %+v", report)
	}
	d.alive(t)
	d.nothingLost(t, ctx)
}

// mountDisk makes a small disk.
func mountDisk(t *testing.T) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+diskSize); err != nil {
		t.Skipf("skipped: a disk that may fill up has to be mounted, which needs root: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("unmounting %s: %v", dir, err)
		}
	})
	return dir
}

// storeLogOn puts the log on that disk and lets it believe that there is more room than there is.
func storeLogOn(t *testing.T, f *fleet.Fleet, disk string) {
	t.Helper()
	if err := os.Symlink(disk, filepath.Join(f.Dir, "nats")); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(f.Dir, "nats.conf")
	conf, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	deceived := strings.Replace(string(conf), "jetstream {", "jetstream {\n  max_file_store: 100GB", 1)
	if deceived == string(conf) {
		t.Fatalf("no jetstream block in\n%s", conf)
	}
	if err := os.WriteFile(name, []byte(deceived), 0o600); err != nil {
		t.Fatal(err)
	}
}

func free(t *testing.T, disk string) uint64 {
	t.Helper()
	var fs syscall.Statfs_t
	if err := syscall.Statfs(disk, &fs); err != nil {
		t.Fatal(err)
	}
	return fs.Bavail * uint64(fs.Bsize)
}

// diskFull is a fleet whose log is on a disk that is too small.
type diskFull struct {
	*fleet.Fleet
	dir, smtp string
	pids      map[string]int
	runs      []string // names of the records
}

func (d *diskFull) record(name string) string { return filepath.Join(d.dir, name+".jsonl") }

// config is one run of the generator with a record of its own and mails that no other run sends.
func (d *diskFull) config(t *testing.T, name, sizes string) loadgen.Config {
	t.Helper()
	d.runs = append(d.runs, name)
	cfg := loadgen.Config{To: d.smtp, Record: d.record(name), First: uint64(len(d.runs)) * 1_000_000}
	if err := cfg.Sizes.Set(sizes); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// load sends small mails and large ones until it is stopped.
func (d *diskFull) load(t *testing.T, ctx context.Context) (stop func()) {
	cfg := d.config(t, "load", "1KB-60KB:40,3MB:1")
	cfg.Conns, cfg.Rate, cfg.Duration = 16, 150, 5*time.Minute
	ctx, cancel := context.WithCancel(ctx)
	var report loadgen.Report
	done := make(chan error, 1)
	go func() {
		var err error
		report, err = loadgen.Run(ctx, cfg, io.Discard)
		done <- err
	}()
	return func() {
		t.Helper()
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		t.Logf("the load, all in all: %v %v", report, report.Errors)
	}
}

// count counts the answers of a kind in a record that is being written.
func count(record string, state loadgen.State) int {
	raw, _ := os.ReadFile(record)
	return bytes.Count(raw, fmt.Appendf(nil, `"state":%q`, state))
}

func (d *diskFull) send(t *testing.T, ctx context.Context, name string, n uint64, sizes string) loadgen.Report {
	t.Helper()
	cfg := d.config(t, name, sizes)
	cfg.Conns, cfg.Count = 4, n
	report, err := loadgen.Run(ctx, cfg, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	return report
}

// restartLog kills the log as a crash would and starts it again.
func (d *diskFull) restartLog(t *testing.T) {
	t.Helper()
	if err := d.NATS.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := d.NATS.Start(); err != nil {
		t.Fatal(err)
	}
	d.pids[d.NATS.Name] = d.NATS.PID()
}

// alive checks that every process is the one that was started.
func (d *diskFull) alive(t *testing.T) {
	t.Helper()
	for _, p := range d.Processes() {
		if !p.Running() || p.PID() != d.pids[p.Name] {
			t.Errorf("%s has ended", p.Name)
		}
	}
}

// nothingLost holds every recorded answer against the log itself, byte for byte, and against the database.
func (d *diskFull) nothingLost(t *testing.T, ctx context.Context) {
	t.Helper()
	logged := readLog(t, ctx, d.NATS.Addrs["client"])
	var all bytes.Buffer
	accepted, large, missing := 0, 0, 0
	for _, name := range d.runs {
		raw, err := os.ReadFile(d.record(name))
		if err != nil {
			t.Fatal(err)
		}
		all.Write(raw)
		for _, a := range readRecord(t, d.record(name)) {
			if strings.HasPrefix(a.Reply, "5") {
				t.Fatalf("our fault was told as a permanent one: %+v", a)
			}
			if a.State != loadgen.Acked {
				continue
			}
			accepted++
			if a.Size >= threeMB {
				large++
			}
			if logged[a.ID] != a.SHA256 {
				missing++
				t.Errorf("mail %s (%d bytes) got %q at %s and is not in the log", a.ID, a.Size, a.Reply, a.AckAt)
			}
		}
	}
	t.Logf("%d mails got 250, %d of them large; the log holds %d; missing: %d", accepted, large, len(logged), missing)
	if accepted < 100 || large == 0 {
		t.Error("that is too few to prove anything")
	}
	record := d.record("all")
	if err := os.WriteFile(record, all.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	// What the storer settled on the full disk the log has forgotten, and delivers again in a minute: it is stored all the same.
	var r auditReport
	within(t, 60*time.Second, "everything is stored", func() bool {
		r = audit(t, ctx, d.Env(), "--deep", "--acks", record)
		return r.Acks.Pending == 0
	})
	t.Logf("%+v", *r.Acks)
	if r.Acks.Stored != r.Acks.Recorded || r.Acks.Recorded != int64(accepted) || r.Acks.Duplicates != 0 || r.Acks.Unexplained != 0 || r.Dead != 0 {
		t.Errorf("accepted %d: %+v, dead %d", accepted, *r.Acks, r.Dead)
	}
}

// readLog reads every mail of the log whole: the SHA-256 of its bytes, in hexadecimal, by its id.
func readLog(t *testing.T, ctx context.Context, addr string) map[string]string {
	t.Helper()
	nc, err := nats.Connect("nats://" + addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	log := stream.NewReader(nc)
	bounds, err := log.Snapshot(ctx, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	sums := make(map[string]string)
	for _, b := range bounds {
		err := log.Heads(ctx, b, func(h stream.Head) error {
			if h.Err != nil {
				return h.Err
			}
			if err := readWhole(ctx, log, h); err != nil {
				return fmt.Errorf("mail %s: %w", h.ID, err)
			}
			sums[h.ID.String()] = hex.EncodeToString(h.Envelope.GetSha256())
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
	return sums
}

// readWhole reads a mail; its size and SHA-256 are verified by that.
func readWhole(ctx context.Context, log *stream.Reader, h stream.Head) error {
	m, err := log.Message(ctx, h.Shard, h.Sequence, h.Index)
	if err != nil {
		return err
	}
	r, err := m.Open(ctx)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, r)
	return err
}
