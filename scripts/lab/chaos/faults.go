package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/sluice-mail/sluice/services/e2e/fleet"
)

// victim is a process that can be hurt. MariaDB is not a fleet.Process, but has the same methods.
type victim interface {
	Start() error
	Kill() error
	Pause() error
	Resume() error
}

const (
	// between two faults, and how long a killed process stays away or a frozen one frozen.
	minGap, maxGap   = 300 * time.Millisecond, 1500 * time.Millisecond
	maxAway, maxHold = 1500 * time.Millisecond, 2500 * time.Millisecond
)

// inject hurts one process after the other and returns how many faults there were. A fault is over, and the process
// running again, before the next begins, but not necessarily ready. Every process is killed and frozen once, in random
// order, before any is again: a short run must not leave one out.
func inject(ctx context.Context, f *fleet.Fleet, l *loads, c config) (int, error) {
	random := rand.New(rand.NewPCG(c.seed, 0))
	names := []string{"nats", "mariadb", "storer", "cachewarmer", "memcached"}
	victims := []victim{f.NATS, f.MariaDB, f.Storer, f.Warmer, f.Memcached}
	for i, p := range f.Ingresses {
		names, victims = append(names, fmt.Sprintf("ingress-%d", i)), append(victims, p)
	}
	var deck []int // victim and kind: 2*victim, and one more to freeze it; then the faults of storage
	kinds := 2 * len(victims)
	if c.storage {
		kinds += len(storageFaults)
	}
	hurt := newStorage(f, l, random, c.dumpAge)
	defer hurt.close()
	end := time.Now().Add(time.Duration(c.seconds) * time.Second)
	for n := 0; ; n++ {
		over := c.faults > 0 && n >= c.faults || c.faults == 0 && time.Now().After(end)
		if over && (!c.storage || n >= kinds) {
			return n, hurt.end(ctx)
		}
		// Drawn before anything is done, so that the sequence depends on the seed alone.
		if len(deck) == 0 {
			deck = shuffle(random, 2*len(victims), kinds, c.faults)
		}
		gap, card := between(random, minGap, maxGap), deck[0]
		deck = deck[1:]
		who, kill := card/2, card%2 == 0
		away, hold := between(random, 0, maxAway), between(random, 100*time.Millisecond, maxHold)
		if err := pause(ctx, gap); err != nil {
			return n, err
		}
		if card >= 2*len(victims) {
			fault := storageFaults[card-2*len(victims)]
			fmt.Printf("chaos: %3d %s\n", n+1, fault.name)
			if err := hurt.do(ctx, fault); err != nil {
				return n, fmt.Errorf("fault %d, %s: %w", n+1, fault.name, err)
			}
			continue
		}
		var err error
		if kill {
			fmt.Printf("chaos: %3d kill   %-12s away %s\n", n+1, names[who], away.Round(time.Millisecond))
			err = errors.Join(victims[who].Kill(), pause(ctx, away), victims[who].Start())
		} else {
			fmt.Printf("chaos: %3d freeze %-12s for  %s\n", n+1, names[who], hold.Round(time.Millisecond))
			err = errors.Join(victims[who].Pause(), pause(ctx, hold), victims[who].Resume())
		}
		if err != nil {
			return n, fmt.Errorf("fault %d, %s: %w", n+1, names[who], err)
		}
	}
}

// shuffle makes the order of the next faults: every process is killed and frozen once before any is again. Each fault of storage
// comes once as well, among more of the others when there are many faults: it takes as long as twenty of them.
func shuffle(random *rand.Rand, processes, kinds, faults int) []int {
	deck := random.Perm(processes)
	for kinds > processes && faults > 0 && len(deck)+processes+kinds <= faults {
		deck = append(deck, random.Perm(processes)...)
	}
	for card := processes; card < kinds; card++ {
		deck = slices.Insert(deck, random.IntN(len(deck)+1), card)
	}
	return deck
}

func between(random *rand.Rand, least, most time.Duration) time.Duration {
	return least + time.Duration(random.Int64N(int64(most-least)))
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}
