package consume

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/internal/settle"
)

// Where the machine stands still, the clock looks at the settler only when the rest of a mail is over. The mail is tried again
// then, and not after an hour.
func TestClockThatIsLateTriesAgainAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		metrics, err := newWorkerMetrics(prometheus.NewRegistry(), stream.Storer, sourceLive)
		if err != nil {
			t.Fatal(err)
		}
		e := &engine{logger: slog.New(slog.DiscardHandler), metrics: metrics}
		d := newDriver(e, settle.Settings{
			Workers: 1, BatchMails: 1, BatchBytes: 1, Backoff: func(int) time.Duration { return 5 * time.Millisecond },
		})
		m := &settle.Message{Place: settle.Place{Stream: stream.StreamName(0), Sequence: 1}, Delivered: 1}
		m.Mails = []*settle.Mail{{Message: new(stream.Message), Of: m}}
		d.tell(func(s *settle.Settler, now time.Time) { s.Take(now, m) })
		first := <-d.jobs
		d.tell(func(s *settle.Settler, now time.Time) {
			s.Answered(now, first, []settle.Verdict{settle.Retry(errors.New("no space left on device"))}, nil)
		})
		time.Sleep(time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go d.tick(ctx, nil)
		select {
		case <-d.jobs:
		case <-time.After(time.Minute):
			t.Error("the mail is not tried again")
		}
	})
}
