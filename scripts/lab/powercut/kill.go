package main

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"time"

	"github.com/sluice-mail/sluice/scripts/lab/logbench/server"
)

// kill kills the server under load again and again; the publisher must bridge it.
func kill(ctx context.Context, s settings) (lost bool, err error) {
	store := filepath.Join(s.dir, "store")
	options := server.Options{Binary: s.binary, Store: store, SyncAlways: true}
	srv, err := server.Start(ctx, options)
	if err != nil {
		return false, err
	}
	options.URL, options.Monitor = srv.URL, srv.Monitor
	from, done, err := publisher(ctx, s, srv)
	if err != nil {
		srv.Kill()
		return false, err
	}
	load, stop := context.WithCancel(ctx)
	var senders sync.WaitGroup
	for i := range 64 {
		senders.Go(func() {
			for load.Err() == nil {
				if i == 0 {
					from.send(ctx, 3<<20)
					continue
				}
				from.send(ctx, 4000)
			}
		})
	}
	for range s.kills {
		time.Sleep(s.every)
		srv.Kill()
		if srv, err = server.Start(ctx, options); err != nil {
			break
		}
	}
	stop()
	senders.Wait()
	done()
	if err != nil {
		return false, err
	}
	srv.Kill()
	gone, copies, err := missing(ctx, s, store, from.acks)
	if err != nil {
		return false, err
	}
	fmt.Printf("killed %d times: %d mails acknowledged, %d missing, %d copies, %d refused\n", s.kills, len(from.acks), gone, copies, from.refused)
	return gone > 0, nil
}
