package publish

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/stream"
)

// fakeLog is a NATS server without JetStream and a scripted stream: it answers what a real one answers only in
// trouble. Each attempt (a single publish, or the commit of a batch) takes the next answer of the script; the
// last one is used for ever. An empty answer is silence.
type fakeLog struct {
	nc       *nats.Conn
	mu       sync.Mutex
	script   []string
	staged   map[string][]string
	attempts []attempt
	seq      int
}

// attempt is what one attempt carried.
type attempt struct {
	batch bool
	ids   []string
}

func startFakeLog(t *testing.T, script ...string) (*fakeLog, *Publisher) {
	t.Helper()
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, NoSigs: true, NoLog: true})
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	f := &fakeLog{nc: connectTo(t, s.ClientURL()), script: script, staged: map[string][]string{}}
	if len(script) == 1 && script[0] == noStream {
		script = nil
	} else if _, err := f.nc.Subscribe("mail.*.0", f.receive); err != nil {
		t.Fatal(err)
	}
	if err := f.nc.Flush(); err != nil {
		t.Fatal(err)
	}
	p := New(connectTo(t, s.ClientURL()), Config{}, discard(), prometheus.NewRegistry())
	p.answerWait = 100 * time.Millisecond
	p.link.set(true)
	if p.replies, err = newReplies(p.nc); err != nil {
		t.Fatal(err)
	}
	return f, p
}

// noStream stands for a server on which nobody listens to the subject.
const noStream = "no responders"

func connectTo(t *testing.T, url string) *nats.Conn {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func (f *fakeLog) receive(msg *nats.Msg) {
	f.mu.Lock()
	defer f.mu.Unlock()
	id, batch := msg.Header.Get(stream.IDHeader), msg.Header.Get(batchIDHeader)
	ids := []string{id}
	if batch != "" {
		f.staged[batch] = append(f.staged[batch], id)
		if msg.Header.Get(batchCommitHeader) == "" {
			if msg.Reply != "" {
				_ = msg.Respond(nil)
			}
			return
		}
		ids = f.staged[batch]
	}
	f.attempts = append(f.attempts, attempt{batch != "", ids})
	answer := f.script[0]
	if len(f.script) > 1 {
		f.script = f.script[1:]
	}
	if answer == "" {
		return
	}
	f.seq += 1000
	answer = strings.NewReplacer("BATCH", batch, "COUNT", fmt.Sprint(len(ids)), "SEQ", fmt.Sprint(f.seq)).Replace(answer)
	_ = msg.Respond([]byte(answer))
}

const (
	ackSingle = `{"stream":"MAIL_0","seq":SEQ}`
	ackBatch  = `{"stream":"MAIL_0","seq":SEQ,"batch":"BATCH","count":COUNT}`
	ackAgain  = `{"stream":"MAIL_0","seq":SEQ,"duplicate":true}`
)

func apiError(code, errCode int, text string) string {
	return fmt.Sprintf(`{"error":{"code":%d,"err_code":%d,"description":%q},"stream":"MAIL_0","seq":0}`, code, errCode, text)
}

func testShard(p *Publisher) *shard {
	s := &shard{logger: discard(), metrics: p.metrics, present: true, replicas: 1, atomic: true, durability: stream.SyncedSingle}
	s.queue = newCommitter(p, s)
	return s
}

// TestOutcomes: the table of outcomes, row by row: what is told, and what was published with which ids.
func TestOutcomes(t *testing.T) {
	const first, second, third = "", "/2", "/3"
	for name, tt := range map[string]struct {
		mails   int
		script  []string
		want    error
		sends   []string // the suffix of the ids of each attempt; a leading B means as a batch
		forever bool     // the last attempt is repeated until the deadline
	}{
		"stored":                              {1, []string{ackSingle}, nil, []string{first}, false},
		"batch stored":                        {20, []string{ackBatch}, nil, []string{"B"}, false},
		"no answer, then stored":              {1, []string{"", ackSingle}, nil, []string{first, first}, false},
		"batch unanswered":                    {20, []string{"", ackBatch}, nil, []string{"B", "B"}, false},
		"never answered":                      {1, []string{""}, ErrUnconfirmed, []string{first}, true},
		"batch never answered":                {20, []string{""}, ErrUnconfirmed, []string{"B"}, true},
		"nobody listens":                      {1, []string{noStream}, ErrUnavailable, nil, true},
		"duplicate in process":                {1, []string{apiError(409, 10158, "duplicate message id is in process"), ackSingle}, nil, []string{first, first}, false},
		"in the log already":                  {1, []string{ackAgain, ackSingle}, nil, []string{first, second}, false},
		"in the log already, twice":           {1, []string{ackAgain, ackAgain, ackSingle}, nil, []string{first, second, third}, false},
		"unanswered, then in the log already": {1, []string{"", ackAgain, ackSingle}, nil, []string{first, first, second}, false},
		"batch has a duplicate":               {20, []string{apiError(400, 10201, "atomic publish batch contains duplicate message id"), ackBatch}, nil, []string{"B", "B/2"}, false},
		"batch unknown to a new leader":       {20, []string{apiError(400, 10199, "atomic publish batch is too large: 1000"), ackBatch}, nil, []string{"B", "B"}, false},
		"full":                                {1, []string{apiError(503, 10077, "maximum bytes exceeded")}, ErrFull, []string{first}, false},
		"batch full":                          {20, []string{apiError(503, 10077, "maximum bytes exceeded")}, ErrFull, []string{"B"}, false},
		"full of messages":                    {1, []string{apiError(503, 10077, "maximum messages exceeded")}, ErrFull, []string{first}, false},
		"server out of resources":             {1, []string{apiError(503, 10023, "insufficient resources")}, ErrFull, []string{first}, false},
		"account out of resources":            {1, []string{apiError(400, 10002, "resource limits exceeded for account")}, ErrFull, []string{first}, false},
		"server out of storage":               {1, []string{apiError(500, 10047, "insufficient storage resources available")}, ErrFull, []string{first}, false},
		"record too large":                    {1, []string{apiError(503, 10077, "message too large")}, ErrRefused, []string{first}, false},
		"busy, then stored":                   {1, []string{apiError(429, 10167, "too many requests"), ackSingle}, nil, []string{first, first}, false},
		"busy for ever":                       {1, []string{apiError(429, 10167, "too many requests")}, ErrBusy, []string{first}, true},
		"batch incomplete":                    {20, []string{apiError(400, 10176, "atomic publish batch is incomplete"), ackBatch}, nil, []string{"B", "B"}, false},
		"too many batches":                    {20, []string{apiError(429, 10210, "atomic publish too many inflight"), ackBatch}, nil, []string{"B", "B"}, false},
		"an unknown 429":                      {1, []string{apiError(429, 19999, "something new"), ackSingle}, nil, []string{first, first}, false},
		"an unknown error":                    {1, []string{apiError(500, 19998, "something else"), ackSingle}, nil, []string{first, first}, false},
		"header too large":                    {1, []string{apiError(400, 10097, "header size exceeds maximum allowed of 64k")}, ErrRefused, []string{first}, false},
		"not an acknowledgement":              {1, []string{"+OK", ackSingle}, nil, []string{first, first}, false},
		"acknowledges another batch":          {20, []string{`{"stream":"MAIL_0","seq":20,"batch":"other","count":20}`, ackBatch}, nil, []string{"B", "B"}, false},
		"acknowledges half of the batch":      {20, []string{`{"stream":"MAIL_0","seq":20,"batch":"BATCH","count":10}`, ackBatch}, nil, []string{"B", "B"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			f, p := startFakeLog(t, tt.script...)
			errs := flyTogether(t, p, tt.mails, tt.forever)
			for _, err := range errs {
				if !errors.Is(err, tt.want) {
					t.Fatalf("told %v, want %v", err, tt.want)
				}
			}
			f.compare(t, tt.sends, tt.mails, tt.forever)
		})
	}
}

// flyTogether publishes so many mails as one flight and returns what each was told. With short, patience ends
// soon.
func flyTogether(t *testing.T, p *Publisher, mails int, short bool) []error {
	t.Helper()
	c := testShard(p).queue
	wait := 20 * time.Second
	if short {
		wait = 500 * time.Millisecond
	}
	ctx, cancel := context.WithTimeout(t.Context(), wait)
	defer cancel()
	flight := newItems(t, mails)
	committed := make(chan struct{})
	go func() { c.commit(t.Context(), slices.Clone(flight), nil); close(committed) }()
	errs := make([]error, mails)
	for i, it := range flight {
		select {
		case errs[i] = <-it.done:
		case <-ctx.Done():
			errs[i] = it.expired(ctx.Err())
		}
	}
	<-committed // an abandoned flight must end
	return errs
}

func newItems(t *testing.T, n int) []*item {
	t.Helper()
	items := make([]*item, n)
	for i := range items {
		m := newMail(t, 100)
		var err error
		if items[i], err = newItem(mailID(m), m); err != nil {
			t.Fatal(err)
		}
	}
	return items
}

func (f *fakeLog) compare(t *testing.T, sends []string, mails int, forever bool) {
	t.Helper()
	f.mu.Lock()
	defer f.mu.Unlock()
	if forever && len(f.attempts) > len(sends) {
		f.attempts = f.attempts[:len(sends)]
	}
	if len(f.attempts) != len(sends) {
		t.Fatalf("%d attempts %v, want %d", len(f.attempts), f.attempts, len(sends))
	}
	for i, a := range f.attempts {
		suffix, batch := strings.CutPrefix(sends[i], "B")
		if a.batch != batch || len(a.ids) != mails {
			t.Errorf("attempt %d: batch %v of %d mails, want %v of %d", i+1, a.batch, len(a.ids), batch, mails)
		}
		for k, id := range a.ids {
			if id != f.attempts[0].ids[k][:26]+suffix {
				t.Errorf("attempt %d: id %q, want %q", i+1, id, f.attempts[0].ids[k][:26]+suffix)
			}
		}
	}
}

// TestAbandonedMailIsNotSent: after Publish returned, its bytes are another mail's.
func TestAbandonedMailIsNotSent(t *testing.T) {
	for name, tt := range map[string]struct {
		send func(c *committer, flight []*item)
		want int // attempts
	}{
		"batch": {func(c *committer, flight []*item) {
			a, _ := c.sendBatch(t.Context(), newBatch(c.publisher.nc), flight)
			c.settle(flight, a)
		}, 1},
		"singly": {func(c *committer, flight []*item) { c.sendSingly(t.Context(), flight) }, 19},
	} {
		for _, gone := range []int{0, 10, 19} {
			t.Run(fmt.Sprintf("%s, mail %d", name, gone), func(t *testing.T) {
				script := ackSingle
				if tt.want == 1 {
					script = ackBatch
				}
				f, p := startFakeLog(t, script)
				flight := newItems(t, 20)
				flight[gone].abandon()
				tt.send(testShard(p).queue, flight)
				f.mu.Lock()
				defer f.mu.Unlock()
				sent := 0
				for _, a := range f.attempts {
					sent += len(a.ids)
					if slices.Contains(a.ids, flight[gone].id) {
						t.Error("it was sent")
					}
				}
				if len(f.attempts) != tt.want || sent != 19 {
					t.Errorf("%d mails in %d attempts, want 19 in %d", sent, len(f.attempts), tt.want)
				}
				for i, it := range flight {
					if i != gone && !it.decided {
						t.Errorf("mail %d is not decided", i)
					}
				}
			})
		}
	}
}

// TestOneWrongMemberSpoilsNoOther: a batch refused for one member is published one by one, once.
func TestOneWrongMemberSpoilsNoOther(t *testing.T) {
	for name, refusal := range map[string]string{
		"header":  apiError(400, 10097, "header size exceeds maximum allowed of 64k"),
		"message": apiError(400, 10054, "message size exceeds maximum allowed"),
	} {
		t.Run(name, func(t *testing.T) {
			f, p := startFakeLog(t, refusal, ackSingle, refusal, ackSingle)
			errs := flyTogether(t, p, 20, false)
			refused := 0
			for _, err := range errs {
				if errors.Is(err, ErrRefused) {
					refused++
				} else if err != nil {
					t.Errorf("told %v", err)
				}
			}
			if refused != 1 {
				t.Errorf("%d mails refused, want the one", refused)
			}
			if got := len(f.attempts); got != 21 {
				t.Errorf("%d attempts, want the batch and 20 singles", got)
			}
		})
	}
}

// TestBatchTooLargeForTheServer: when the server's limit is below ours, the mails go one by one.
func TestBatchTooLargeForTheServer(t *testing.T) {
	refusal := apiError(400, 10199, "atomic publish batch is too large: 10")
	_, p := startFakeLog(t, refusal, refusal, ackSingle)
	for _, err := range flyTogether(t, p, 20, false) {
		if err != nil {
			t.Errorf("told %v", err)
		}
	}
}

// TestWaitingMailsShareABatch: what arrives while a flight is on its way makes up the next one.
func TestWaitingMailsShareABatch(t *testing.T) {
	_, p := startFakeLog(t, ackSingle)
	c := testShard(p).queue
	for range maxBatchMessages + 10 {
		c.enqueue(&item{size: 100})
	}
	if got := len(c.take()); got != maxBatchMessages {
		t.Errorf("the first flight has %d mails, want %d", got, maxBatchMessages)
	}
	if got := len(c.take()); got != 10 {
		t.Errorf("the second flight has %d mails, want 10", got)
	}
	for range 10 {
		c.enqueue(&item{size: maxBatchBytes / 4})
	}
	if got := len(c.take()); got != 4 {
		t.Errorf("a flight of large mails has %d, want 4", got)
	}
}
