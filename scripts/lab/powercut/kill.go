package main

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/scripts/lab/logbench/server"
)

// kill kills the server, or the leader of a cluster, under load again and again; the publisher must bridge it.
func kill(ctx context.Context, s settings) (lost bool, err error) {
	options := server.Options{Binary: s.binary, Store: filepath.Join(s.dir, "store"), SyncAlways: true}
	c, err := server.StartCluster(ctx, options, s.servers)
	if err != nil {
		return false, err
	}
	defer c.KillAll()
	shape := stream.Shape{Shards: 1, Replicas: s.servers, MaxBytes: 16 << 30}
	from, done, err := publisher(ctx, s, c.URL(), c.Monitor(), shape)
	if err != nil {
		return false, err
	}
	load, stop := context.WithCancel(ctx)
	var senders sync.WaitGroup
	for i := range 64 {
		senders.Go(func() {
			size, pause := 4000, time.Duration(0)
			if i == 0 {
				size, pause = 3<<20, 100*time.Millisecond
			}
			for load.Err() == nil {
				if !from.send(ctx, size) {
					time.Sleep(100 * time.Millisecond)
				}
				time.Sleep(pause)
			}
		})
	}
	err = killLeaders(ctx, s, c)
	stop()
	senders.Wait()
	done()
	if err != nil {
		return false, err
	}
	// All at once, as the last blow.
	if err := c.Restart(ctx); err != nil {
		return false, err
	}
	if err := whole(ctx, c); err != nil {
		return false, err
	}
	gone, copies, err := count(ctx, c.URL(), from.acks)
	if err != nil {
		return false, err
	}
	fmt.Printf("killed %d times: %d mails acknowledged, %d of them large, %d missing, %d copies, %d refused\n",
		s.kills, len(from.acks), from.large, gone, copies, from.refused)
	if from.permanent != nil {
		return true, fmt.Errorf("refused with what is no temporary error: %w", from.permanent)
	}
	return gone > 0, nil
}

// killLeaders kills the leader of the stream and starts it again, as often as wanted. Every second time another one
// leads before it is back; else it mostly comes back before it is missed, and leads again. Before the next one goes the
// cluster is whole: two of three are needed.
func killLeaders(ctx context.Context, s settings, c *server.Cluster) error {
	const nobody = -1
	victims := make([]int, s.servers)
	for round := range s.kills {
		if err := whole(ctx, c); err != nil {
			return err
		}
		time.Sleep(s.every)
		victim, err := leader(ctx, c, nobody)
		if err != nil {
			return err
		}
		victims[victim]++
		c.Kill(victim)
		if s.servers > 1 {
			time.Sleep(s.every)
			if round%2 == 0 {
				if _, err := leader(ctx, c, victim); err != nil {
					return err
				}
			}
		}
		if err := c.Start(ctx, victim); err != nil {
			return err
		}
	}
	if s.servers > 1 {
		fmt.Printf("killed as leaders, by server: %v\n", victims)
	}
	return whole(ctx, c)
}

// leader is the number of the server that leads the stream, once it is another than before.
func leader(ctx context.Context, c *server.Cluster, before int) (number int, err error) {
	if c.Size() == 1 {
		return 0, nil
	}
	err = patiently(ctx, func() error {
		info, err := cluster(ctx, c)
		if err != nil {
			return err
		}
		if number = c.Index(info.Leader); number < 0 || number == before {
			return fmt.Errorf("the stream has no new leader: %q", info.Leader)
		}
		return nil
	})
	return number, err
}

// whole waits until every server is healthy and every replica of the stream is current.
func whole(ctx context.Context, c *server.Cluster) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := c.Healthy(ctx); err != nil || c.Size() == 1 {
		return err
	}
	return patiently(ctx, func() error {
		info, err := cluster(ctx, c)
		if err != nil {
			return err
		}
		current := 1 // the leader
		for _, r := range info.Replicas {
			if r.Current && !r.Offline {
				current++
			}
		}
		if info.Leader == "" || current < c.Size() {
			return fmt.Errorf("%d of %d replicas of the stream are current, its leader is %q", current, c.Size(), info.Leader)
		}
		return nil
	})
}

// cluster asks the leader who is in the stream's group.
func cluster(ctx context.Context, c *server.Cluster) (*jetstream.ClusterInfo, error) {
	nc, err := nats.Connect(c.URL(), nats.Timeout(time.Second))
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	st, err := js.Stream(ctx, stream.StreamName(0))
	if err != nil {
		return nil, err
	}
	if st.CachedInfo().Cluster == nil {
		return nil, fmt.Errorf("the stream is in no cluster")
	}
	return st.CachedInfo().Cluster, nil
}
