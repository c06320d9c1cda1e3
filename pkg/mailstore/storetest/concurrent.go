package storetest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sluice-mail/sluice/pkg/mailstore"
)

// Eight writers store overlapping stretches of the same mails in random order, as after a redelivery.
func concurrentWriters(t *testing.T, open Open) {
	s := open(t, Options{})
	mails := make([]mailstore.Mail, 400)
	for i := range mails {
		mails[i] = NewMail(time.Now().Add(-time.Duration(i)*time.Minute), Text(2000), "a@example.com", fmt.Sprintf("u%d@example.com", i%20))
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var total mailstore.Result
	for w := range 8 {
		wg.Go(func() {
			for i := range 10 {
				from := (w*17 + i*40) % 300
				batch := slices.Clone(mails[from : from+100])
				rand.Shuffle(len(batch), func(i, j int) { batch[i], batch[j] = batch[j], batch[i] })
				r, err := s.PutBatch(context.Background(), batch)
				if err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
				mu.Lock()
				total.New += r.New
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if ids := allIDs(t, s); len(ids) != total.New || count(t, s) != int64(total.New) || len(inbox(t, s, "a@example.com")) != total.New {
		t.Errorf("%d ids, %d counted, %d in the mailbox, %d reported as new", len(ids), count(t, s), len(inbox(t, s, "a@example.com")), total.New)
	}
}
