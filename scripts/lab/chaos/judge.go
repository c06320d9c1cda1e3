package main

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

// settled waits until the storer has nothing left.
func settled(ctx context.Context, f *fleet.Fleet) error {
	for {
		out, err := f.Ctl(ctx, "status", "--json", "--interval=0s")
		var s struct {
			Unstored *uint64 `json:"unstored_messages"`
		}
		if err == nil {
			err = json.Unmarshal([]byte(out), &s)
		}
		if err == nil && s.Unstored != nil && *s.Unstored == 0 {
			return nil
		}
		if pauseErr := pause(ctx, 200*time.Millisecond); pauseErr != nil {
			return fmt.Errorf("%w: last answer %s %v", pauseErr, out, err)
		}
	}
}

// verdict is what `sluicectl audit --json` prints, as far as it decides here.
type verdict struct {
	Mails, Copies, Stored, Pending, Dead, Missing, Wrong, Unlisted, Dropped, Repaired, Extra, Purged int64
	Acks                                                                                             struct {
		Recorded, Stored, Pending, Dead, Missing, Wrong, Duplicates, Unsure, Extra, Unexplained int64
	}
	Gaps     []gap
	NotKnown []string `json:"not_known"`
	Tallies  []struct {
		Stream  string
		Created time.Time
		Audited uint64
	} `json:"purged_before"`
	Problems []struct{ ID, What string }
}

// gap is what the log has lost.
type gap struct {
	Stream   string
	From, To uint64
	What     string
}

func judge(ctx context.Context, f *fleet.Fleet, l *loads, faults int) error {
	acks, err := l.record(f.Dir)
	if err != nil {
		return err
	}
	out, err := f.Ctl(ctx, "audit", "--json", "--deep", "--acks", acks)
	var v verdict
	if jsonErr := json.Unmarshal([]byte(out), &v); jsonErr != nil {
		return fmt.Errorf("the audit gave no answer: %w %w", err, jsonErr)
	}
	a := v.Acks
	fmt.Printf("chaos: accepted %d, stored %d, duplicates %d; dead %d, missing %d, wrong %d; unclear answers %d, of these stored %d, unexplained rows %d; published twice %d\n",
		a.Recorded, a.Stored, a.Duplicates, a.Dead, a.Missing, a.Wrong, a.Unsure, a.Extra, a.Unexplained, v.Copies)
	for _, p := range v.Problems {
		fmt.Printf("chaos: %s %s\n", p.ID, p.What)
	}
	switch {
	case err != nil:
		return fmt.Errorf("the audit fails: %w", err)
	case a.Recorded == 0:
		return fmt.Errorf("nothing was accepted: the run proves nothing")
	case a.Stored+a.Dead != a.Recorded:
		return fmt.Errorf("%d of %d recorded 250s are neither stored nor dead letters", a.Recorded-a.Stored-a.Dead, a.Recorded)
	case a.Duplicates != 0:
		return fmt.Errorf("%d ids were given twice", a.Duplicates)
	case v.Extra != 0 || a.Unexplained != 0:
		return fmt.Errorf("%d rows are not in the log, %d belong to no mail that was sent", v.Extra, a.Unexplained)
	case a.Unsure > int64(faults*ingresses*conns):
		return fmt.Errorf("%d unclear answers, but only %d mails can have been in flight at the faults", a.Unsure, faults*ingresses*conns)
	}
	fmt.Println("chaos: passed")
	return nil
}
