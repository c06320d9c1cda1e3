package reading

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

// TestManyWhoAskAtOnceShareTheWork: one question is under way, and everybody who comes meanwhile shares the next.
func TestManyWhoAskAtOnceShareTheWork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights[string, int]
		calls, release := 0, make(chan struct{})
		work := func(context.Context) (int, error) {
			calls++
			n := calls
			<-release
			return n, nil
		}
		answers := make(chan int, 100)
		ask := func() {
			n, err := f.do(t.Context(), "key", work)
			if err != nil {
				t.Error(err)
			}
			answers <- n
		}
		go ask()
		synctest.Wait()
		for range 50 {
			go ask()
		}
		synctest.Wait()
		close(release)
		synctest.Wait()
		of := make(map[int]int)
		for range 51 {
			of[<-answers]++
		}
		if of[1] != 1 || of[2] != 50 {
			t.Errorf("answers by call: %v; want the first for who began it, and the second for who came later", of)
		}
		if calls != 2 || len(f.calls) != 0 {
			t.Errorf("%d calls, %d kept", calls, len(f.calls))
		}
	})
}

// TestWhoLeavesTakesNobodyAlong: the work goes on for the others when the one who began it gives up.
func TestWhoLeavesTakesNobodyAlong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights[string, int]
		release := make(chan struct{})
		work := func(ctx context.Context) (int, error) {
			select {
			case <-release:
				return 1, nil
			case <-ctx.Done():
				return 0, ctx.Err()
			}
		}
		ctx, leave := context.WithCancel(t.Context())
		left, stayed := make(chan error, 1), make(chan error, 1)
		go func() {
			_, err := f.do(t.Context(), "key", work)
			stayed <- err
		}()
		synctest.Wait()
		for _, ctx := range []context.Context{ctx, t.Context()} { // both wait for the second call, which the first began
			go func() {
				_, err := f.do(ctx, "key", work)
				if ctx != t.Context() {
					left <- err
				} else {
					stayed <- err
				}
			}()
			synctest.Wait()
		}
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		close(release)
		for range 2 {
			if err := <-stayed; err != nil {
				t.Error(err)
			}
		}
	})
}

// TestAQuestionThatIsNeverAnsweredEnds: a database that hangs must not keep a key indefinitely.
func TestAQuestionThatIsNeverAnsweredEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights[string, int]
		_, err := f.do(t.Context(), "key", func(ctx context.Context) (int, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		})
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
	})
}
