package e2e

import (
	"bufio"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net"
	"net/textproto"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/services/e2e/fleet"
	loadgen "github.com/sluice-mail/sluice/services/internal/load"
)

const (
	uploadBytes  = 25 << 20
	hugeBytes    = 100 << 20
	fullUploads  = 100
	uploadMemory = 300 << 20 // of the ingress
	smallMailP99 = 500 * time.Millisecond
	uploadTries  = 20
)

// uploadCount is how many mails are sent at once; SLUICE_E2E_UPLOADS=100 is for a run by hand.
func uploadCount(t *testing.T) int {
	t.Helper()
	value := os.Getenv("SLUICE_E2E_UPLOADS")
	if value == "" {
		return 16
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < 4 || n > 200 {
		t.Fatalf("SLUICE_E2E_UPLOADS=%s: want a number from 4 to 200, more do not fit into the log", value)
	}
	return n
}

// TestLargeUploads: many large mails at once, slow senders among them, every second one cut in the middle. The ingress
// stays small, what got 250 is stored byte by byte, what was cut leaves nothing, and small mail does not wait for it,
// unless there is but one shard: a stream does nothing else while it commits a large mail.
func TestLargeUploads(t *testing.T) {
	busy, shapes := loadAverage(t), []int{2, 1}
	if uploadCount(t) < fullUploads {
		shapes = shapes[:1] // the other adds nothing but its times, which the short form does not judge
	}
	for _, shards := range shapes {
		t.Run(fmt.Sprintf("shards=%d", shards), func(t *testing.T) { largeUploads(t, shards, busy) })
	}
}

func largeUploads(t *testing.T, shards int, busy float64) {
	n := uploadCount(t)
	ctx, cancel := context.WithTimeout(t.Context(), 9*time.Minute)
	defer cancel()
	// The memory settings are those users run with. The services are built without the race detector, whatever the test
	// is built with: what is measured is what users get.
	u := &uploads{Fleet: newFleet(t, 1, "INGRESS_MAX_MESSAGE_BYTES=128MiB", fmt.Sprintf("STREAM_SHARDS=%d", shards)), record: filepath.Join(t.TempDir(), "acks.jsonl")}
	if err := u.Start(ctx); err != nil {
		t.Fatal(err)
	}
	ingress := u.Ingresses[0]
	t.Logf("the ingress holds %d MiB at the start", peakMemory(t, ingress)>>20)
	text := newNoise()
	small := u.NewCommand("small", u.Env(), "sluicectl", "load", "-to", ingress.Addrs["smtp"], "-conns", "8", "-rate", "40",
		"-sizes", "4KB", "-duration", "9m", "-record", u.record)
	if err := small.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = small.Kill() })
	within(t, 20*time.Second, "small mail is accepted", func() bool { return acked(u.record) > 40 })

	many := u.run(t, ctx, manyUploads(n, text))
	huge := u.run(t, ctx, []*upload{{number: n, size: hugeBytes, noise: text}, {number: n + 1, size: hugeBytes, noise: text, cutAt: hugeBytes / 2}})
	if err := small.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	finish(t, ctx, small, 0)
	for _, a := range readRecord(t, u.record) {
		if a.State == loadgen.Refused {
			t.Errorf("small mail was refused: %+v", a)
		}
	}
	p99 := max(u.smallMail(t, fmt.Sprintf("%d uploads of %d MiB", n, uploadBytes>>20), many),
		u.smallMail(t, fmt.Sprintf("one of %d MiB", hugeBytes>>20), huge))
	// The short form runs wherever tests run, beside whatever runs there: its times mean nothing.
	switch {
	case n < fullUploads, shards == 1:
	case busy > float64(runtime.NumCPU())/2:
		t.Logf("the p99 is not judged: the load average was %.1f before the test began", busy)
	case p99 > smallMailP99:
		t.Errorf("small mail waited %s at p99 beside the uploads, want at most %s", p99, smallMailP99)
	}
	if !t.Failed() {
		u.accounted(t, ctx)
	}
}

// uploads is a fleet that is sent large mails.
type uploads struct {
	*fleet.Fleet
	record string // of the small mails; in the end of all
	sent   []*upload
}

// upload is one large mail, a function of its number and size.
type upload struct {
	number int
	size   int64 // it ends with the piece that reaches this
	noise  *noise
	slow   time.Duration // it begins with so long at 10 KB/s
	cutAt  int64         // the connection ends after so many bytes; 0: it does not
	reset  bool          // by RST instead of FIN
	acks   []loadgen.Ack // of each try
}

// manyUploads cuts every second one, half of these by RST, and one in five just before its end. One in ten is slow.
func manyUploads(n int, text *noise) []*upload {
	r := rand.New(rand.NewPCG(1, 1))
	all := make([]*upload, n)
	for i := range all {
		all[i] = &upload{number: i, size: uploadBytes, noise: text}
		if i%2 == 1 {
			all[i].reset = i%4 == 1
			all[i].cutAt = 1 + r.Int64N(uploadBytes)
		}
		if i%10 == 5 {
			all[i].cutAt = 2 * uploadBytes // all but the last byte of the end
		}
		if i%20 == 0 || i%20 == 7 { // one that arrives and one that is cut
			all[i].slow = 5 * time.Second
		}
	}
	return all
}

// span is a time in which uploads ran.
type span struct{ from, to time.Time }

// run sends mails at the same time, each again when it is refused for now, and looks at the memory of the ingress.
func (u *uploads) run(t *testing.T, ctx context.Context, all []*upload) span {
	t.Helper()
	u.sent = append(u.sent, all...)
	s := span{from: time.Now()}
	var senders sync.WaitGroup
	for _, one := range all {
		senders.Go(func() {
			if err := one.deliver(ctx, u.Ingresses[0].Addrs["smtp"]); err != nil {
				t.Errorf("upload %d (cut %v): %v", one.number, one.cutAt > 0, err)
			}
		})
	}
	senders.Wait()
	s.to = time.Now()
	counts := make(map[string]int)
	for _, one := range all {
		for _, a := range one.acks {
			code, _, _ := strings.Cut(a.Reply, " ")
			counts[strings.TrimSpace(string(a.State)+" "+code)]++
		}
	}
	memory := peakMemory(t, u.Ingresses[0])
	t.Logf("%d uploads in %s: %v; the ingress held at most %d MiB", len(all), s.to.Sub(s.from).Round(100*time.Millisecond), counts, memory>>20)
	if memory > uploadMemory {
		t.Errorf("the ingress held %d MiB, want at most %d", memory>>20, uploadMemory>>20)
	}
	return s
}

// deliver tries until the mail is taken, or cut as planned.
func (u *upload) deliver(ctx context.Context, addr string) error {
	for try := range uploadTries {
		a, err := u.try(ctx, addr)
		u.acks = append(u.acks, a)
		switch {
		case err != nil:
			return err
		case a.State == loadgen.Acked || a.State == loadgen.Cut:
			return nil
		case a.Reply[0] == '5':
			return fmt.Errorf("our fault was told as a permanent one: %s", a.Reply)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(try+1)*250*time.Millisecond + rand.N(time.Second)):
		}
	}
	return fmt.Errorf("refused %d times, at last with: %s", uploadTries, u.acks[uploadTries-1].Reply)
}

// try sends the mail once. Its error is for what no server may do to a client: not to answer.
func (u *upload) try(ctx context.Context, addr string) (a loadgen.Ack, err error) {
	const from, to = "sender@example.net", "uploads@example.com"
	a = loadgen.Ack{Index: uint64(u.number), State: loadgen.Cut, From: from, Rcpts: []string{to}, SentAt: time.Now()}
	defer func() { a.AckAt = time.Now() }()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return a, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if err := conn.SetDeadline(time.Now().Add(5 * time.Minute)); err != nil {
		return a, err
	}
	answers := textproto.NewReader(bufio.NewReader(conn))
	for _, step := range []struct {
		command string
		want    int
	}{{"", 220}, {"EHLO uploads.example\r\n", 250}, {"MAIL FROM:<" + from + ">\r\n", 250}, {"RCPT TO:<" + to + ">\r\n", 250}, {"DATA\r\n", 354}} {
		if _, err := io.WriteString(conn, step.command); err != nil {
			return a, err
		}
		if _, _, err := answers.ReadResponse(step.want); err != nil {
			return refusedUpload(a, err)
		}
	}
	hash := sha256.New()
	for raw, wire := range u.pieces() {
		a.Size += len(raw)
		hash.Write(raw)
		if u.cutAt > 0 && int64(a.Size) >= u.cutAt {
			return a, u.cut(conn, wire[:1+len(wire)*u.number/(u.number+1)])
		}
		if err := u.write(ctx, conn, a.SentAt, wire); err != nil {
			return a, err
		}
	}
	if u.cutAt > 0 {
		return a, u.cut(conn, []byte(".\r"))
	}
	a.SHA256 = hex.EncodeToString(hash.Sum(nil))
	a.State = loadgen.Unconfirmed
	if _, err := io.WriteString(conn, ".\r\n"); err != nil {
		return a, err
	}
	_, text, err := answers.ReadResponse(250)
	if err != nil {
		return refusedUpload(a, err)
	}
	a.State, a.Reply = loadgen.Acked, "250 "+text
	if _, after, found := strings.Cut(text, "queued as "); found {
		a.ID, _, _ = strings.Cut(after, " ")
	}
	return a, nil
}

// refusedUpload notes an answer that is not the one hoped for. Not confirmed is not refused: it may be in the log.
func refusedUpload(a loadgen.Ack, err error) (loadgen.Ack, error) {
	answer := (*textproto.Error)(nil)
	if !errors.As(err, &answer) {
		return a, err
	}
	a.Reply = answer.Error()
	if answer.Code != 451 || !strings.Contains(answer.Msg, "not confirmed") {
		a.State = loadgen.Refused
	}
	return a, nil
}

// cut sends a last piece and ends the connection. With FIN the piece arrives; RST discards what is on its way.
func (u *upload) cut(conn net.Conn, last []byte) error {
	if _, err := conn.Write(last); err != nil {
		return err
	}
	if u.reset {
		return conn.(*net.TCPConn).SetLinger(0) // the close does the rest
	}
	return nil
}

// write sends a piece, at 10 KB/s while the mail is slow.
func (u *upload) write(ctx context.Context, conn net.Conn, began time.Time, wire []byte) error {
	for len(wire) > 0 && time.Since(began) < u.slow {
		n, err := conn.Write(wire[:min(1<<10, len(wire))])
		if err != nil {
			return err
		}
		wire = wire[n:]
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	_, err := conn.Write(wire)
	return err
}

// noise is text in lines of 76, of which some begin with a dot, as it is stored and as it is sent (with dots doubled, RFC
// 5321 section 4.5.2). Made once: making it anew for each mail would take the processor from the services.
type noise struct {
	raw, wire     []byte
	rawAt, wireAt []int // where lines begin, and where the last one ends
}

func newNoise() *noise {
	const lines = 16 << 20 / 78 // further than zstd looks back, so that no mail can be packed away
	random := rand.NewChaCha8([32]byte{1})
	n := &noise{raw: make([]byte, 0, 17<<20), wire: make([]byte, 0, 17<<20), rawAt: []int{0}, wireAt: []int{0}}
	var bytes [57]byte
	for range lines {
		_, _ = random.Read(bytes[:]) // never fails
		n.raw = append(base64.StdEncoding.AppendEncode(n.raw, bytes[:]), "\r\n"...)
		line := n.raw[n.rawAt[len(n.rawAt)-1]:]
		if bytes[0] < 16 {
			line[0] = '.'
			n.wire = append(n.wire, '.')
		}
		n.wire = append(n.wire, line...)
		n.rawAt, n.wireAt = append(n.rawAt, len(n.raw)), append(n.wireAt, len(n.wire))
	}
	return n
}

// pieces makes the mail bit by bit: all of them whole would be 2.5 GB. No piece is like one of another mail.
func (u *upload) pieces() iter.Seq2[[]byte, []byte] {
	const lines = 400
	return func(yield func(raw, wire []byte) bool) {
		from := u.number * 7919
		raw := []byte("From: <sender@example.net>\r\nSubject: upload\r\n\r\n")
		wire := slices.Clone(raw)
		for made := int64(0); made < u.size; from += lines {
			first := from % (len(u.noise.rawAt) - lines)
			mark := fmt.Sprintf("upload %d, at %d\r\n", u.number, made)
			raw = append(append(raw, mark...), u.noise.raw[u.noise.rawAt[first]:u.noise.rawAt[first+lines]]...)
			wire = append(append(wire, mark...), u.noise.wire[u.noise.wireAt[first]:u.noise.wireAt[first+lines]]...)
			if !yield(raw, wire) {
				return
			}
			made += int64(len(raw))
			raw, wire = raw[:0], wire[:0]
		}
	}
}

// smallMail reports how long small mail took, from its first command to the answer after its final dot.
func (u *uploads) smallMail(t *testing.T, beside string, s span) (p99 time.Duration) {
	t.Helper()
	var took []time.Duration
	for _, a := range readRecord(t, u.record) {
		if a.State == loadgen.Acked && a.AckAt.After(s.from) && a.SentAt.Before(s.to) {
			took = append(took, a.AckAt.Sub(a.SentAt))
		}
	}
	if len(took) == 0 {
		t.Errorf("no small mail was taken beside %s", beside)
		return 0
	}
	slices.Sort(took)
	round := func(i int) time.Duration { return took[i].Round(100 * time.Microsecond) }
	p99 = round((len(took)*99 - 1) / 100)
	t.Logf("beside %s: %d small mails, p50 %s, p99 %s, longest %s", beside, len(took), round(len(took)/2), p99, round(len(took)-1))
	return p99
}

// peakMemory is the most resident memory a process had so far. The kernel keeps count, so nothing slips between samples.
func peakMemory(t *testing.T, p *fleet.Process) int64 {
	t.Helper()
	status, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(p.PID()), "status"))
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(status)) {
		if value, found := strings.CutPrefix(line, "VmHWM:"); found {
			kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
			if err != nil {
				t.Fatal(err)
			}
			return kib << 10
		}
	}
	t.Fatalf("no VmHWM in %s", status)
	return 0
}

// accounted waits for the storer, then holds what was answered against the database, the log and the spool: all of
// what got 250, and nothing else.
func (u *uploads) accounted(t *testing.T, ctx context.Context) {
	for _, gauge := range []string{"sluice_spool_memory_bytes", "sluice_spool_disk_bytes", "sluice_spool_files"} {
		within(t, 20*time.Second, gauge+" is 0", func() bool { return metric(t, ctx, u.Ingresses[0], gauge) == 0 })
	}
	js := openLog(t, u.Fleet)
	live := retained{Fleet: u.Fleet, js: js}
	within(t, 4*time.Minute, "the storer has settled everything", func() bool { return live.lag(t, ctx) == 0 })
	u.remember(t)
	r := audit(t, ctx, u.Env(), "--acks", u.record, "--deep")
	t.Logf("%+v, %+v", r, *r.Acks)
	if r.Acks.Stored != r.Acks.Recorded || r.Acks.Duplicates != 0 || r.Dead != 0 || r.Extra != 0 || r.Purged != 0 {
		t.Errorf("accepted %d, stored %d, duplicates %d", r.Acks.Recorded, r.Acks.Stored, r.Acks.Duplicates)
	}
	// Extra are mails whose sender was told that it is not known whether they are stored, and which are.
	mails := r.Acks.Recorded + r.Acks.Extra
	rows(t, u.DSN(), "SELECT COUNT(*) FROM mail", mails)
	rows(t, u.DSN(), "SELECT COUNT(*) - (SELECT SUM(parts) FROM mail) FROM mail_raw", 0)
	rows(t, u.DSN(), "SELECT COUNT(*) FROM inbox", mails)
	large := 0
	for _, one := range u.sent {
		last := one.acks[len(one.acks)-1]
		if last.State != loadgen.Acked {
			continue
		}
		out, err := u.Ctl(ctx, "cat", "--raw", last.ID)
		if err != nil {
			t.Error(err)
			continue
		}
		if sum := sha256.Sum256([]byte(out)); hex.EncodeToString(sum[:]) != last.SHA256 || len(out) != last.Size {
			t.Errorf("upload %d of %d bytes is stored as %d others", one.number, last.Size, len(out))
			continue
		}
		large++
	}
	t.Logf("%d large mails are stored as they were sent", large)
	if large == 0 {
		t.Error("no large mail was taken: this proves nothing")
	}
	logHoldsOnly(t, ctx, js, mails)
}

// remember adds the uploads to the record of the small mails, for the audit.
func (u *uploads) remember(t *testing.T) {
	t.Helper()
	file, err := os.OpenFile(u.record, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := json.NewEncoder(file)
	for _, one := range u.sent {
		for _, a := range one.acks {
			// What was not sent whole has no hash, and the audit needs none: it must not be there.
			if a.State == loadgen.Acked || a.State == loadgen.Unconfirmed {
				if err := lines.Encode(a); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}

// logHoldsOnly checks that the log has so many mails and the parts they name, and no part that belongs to none. A mail
// may be there twice, when the first answer was not heard.
func logHoldsOnly(t *testing.T, ctx context.Context, js jetstream.JetStream, mails int64) {
	t.Helper()
	reader := stream.NewReader(js.Conn())
	bounds, err := reader.Snapshot(ctx, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	var heads, parts, messages, withCopies uint64
	ids := make(map[ulid.ULID]bool)
	for _, b := range bounds {
		messages += b.To - b.From + 1
		err := reader.Heads(ctx, b, func(h stream.Head) error {
			if h.Index == 0 {
				heads++ // a message, whose first mail this is
			}
			withCopies++
			ids[h.ID] = true
			parts += uint64(h.Envelope.GetParts())
			return h.Err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("the log has %d mails (%d with copies) in %d messages, and %d parts", len(ids), withCopies, heads, parts)
	if int64(len(ids)) != mails || messages != heads+parts {
		t.Errorf("the log has %d messages: %d with %d mails, and %d parts of these; want %d mails", messages, heads, len(ids), parts, mails)
	}
}
