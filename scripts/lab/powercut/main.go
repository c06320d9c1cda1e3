// Command powercut simulates power failures of the log: it records, by strace, every write, rename and fsync of a
// nats-server while pkg/stream/publish writes to it, rebuilds its store as a disk would have it after a power failure at
// several moments, with everything dropped that was not synced, starts a server on it and looks for every mail
// that had been acknowledged by then.
//
//	powercut            sync_interval: always; every acknowledged mail must be there
//	powercut -unsynced  the default of nats-server; mail must be missing, which proves that the test can fail
//	powercut -kill 50   no power failure: the server is killed that many times under load, and restarted
//	powercut -kill 20 -servers 3
//	                    the same on a cluster with three replicas of each stream: it is the stream's leader that is
//	                    killed, it stays away until another leads or, in turn, just for -every, and the next one goes
//	                    only when all replicas are current again
//
// A run with -kill ends with all servers killed at once; then every acknowledged mail must be in the log, whole, as its
// leader has it, and what was refused must have been refused with a temporary error.
//
// Two disks are simulated (journalling file systems such as ext4 and xfs): one has of its metadata what came before
// the last fsync, the other has all of it. Neither has file contents that were not synced. Before anything else the
// recording is checked: with nothing dropped it must give exactly the real store.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"time"

	"github.com/sluice-mail/sluice/scripts/lab/logbench/server"
)

type settings struct {
	binary   string
	dir      string
	mails    int
	moments  int
	unsynced bool
	kills    int
	servers  int
	every    time.Duration
}

func main() {
	lost, err := run()
	switch {
	case err != nil:
		fmt.Fprintln(os.Stderr, "powercut:", err)
		os.Exit(2)
	case lost:
		os.Exit(1)
	}
}

func run() (lost bool, err error) {
	var s settings
	flag.StringVar(&s.binary, "server", "", "nats-server to run; default: built from pkg's module")
	flag.IntVar(&s.mails, "mails", 600, "small mails to publish")
	flag.IntVar(&s.moments, "moments", 6, "moments at which the power fails")
	flag.BoolVar(&s.unsynced, "unsynced", false, "run the server without sync_interval: always; succeeds when mail is lost")
	flag.IntVar(&s.kills, "kill", 0, "kill the server so many times under load instead")
	flag.IntVar(&s.servers, "servers", 1, "with -kill: 1, or a cluster of 3 or 5, of which the leader is killed")
	flag.DurationVar(&s.every, "every", time.Second, "with -kill: how long the server lives; in a cluster also how long it is away")
	flag.Parse()
	if s.servers != 1 && (s.kills == 0 || s.servers != 3 && s.servers != 5) {
		return false, fmt.Errorf("-servers=%d: 3 or 5, with -kill", s.servers)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	s.dir, err = os.MkdirTemp("", "powercut")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(s.dir)
	if s.binary == "" {
		if s.binary, err = server.Build(ctx, s.dir); err != nil {
			return false, err
		}
	}
	if s.kills > 0 {
		return kill(ctx, s)
	}
	lost, err = cut(ctx, s)
	if err != nil {
		return false, err
	}
	if s.unsynced {
		if !lost {
			return true, fmt.Errorf("nothing was lost without syncing: this test proves nothing")
		}
		fmt.Println("mail was lost, as it must be without syncing: the test can fail")
		return false, nil
	}
	if !lost {
		fmt.Println("every acknowledged mail survived every power failure")
	}
	return lost, nil
}

// cut records one load and lets the power fail at several moments of it.
func cut(ctx context.Context, s settings) (lost bool, err error) {
	store := filepath.Join(s.dir, "store")
	trace := filepath.Join(s.dir, "trace")
	acks, err := record(ctx, s, store, trace)
	if err != nil {
		return false, err
	}
	disk, err := readTrace(trace, store)
	if err != nil {
		return false, err
	}
	fmt.Printf("recorded: %d mails acknowledged, %s\n", len(acks), disk)
	if err := disk.compare(store); err != nil {
		return false, fmt.Errorf("the recording does not match the real store: %w", err)
	}
	fmt.Println("with nothing dropped the recording gives the real store, byte for byte")
	for i := range s.moments {
		upTo := acks[:(i+1)*len(acks)/s.moments]
		moment := upTo[len(upTo)-1].at
		for _, metadata := range []policy{untilSync, everything} {
			rebuilt := filepath.Join(s.dir, fmt.Sprintf("cut-%d-%d", i, metadata))
			if err := disk.rebuild(rebuilt, moment, metadata); err != nil {
				return false, err
			}
			missing, copies, err := missing(ctx, s, rebuilt, upTo)
			if err != nil {
				return false, err
			}
			fmt.Printf("power failure %d, metadata %s: %d acknowledged, %d missing, %d copies\n", i+1, metadata, len(upTo), missing, copies)
			lost = lost || missing > 0
			_ = os.RemoveAll(rebuilt)
		}
	}
	return lost, nil
}
