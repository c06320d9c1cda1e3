package main

import (
	"context"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/publish"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// This file is all that the load knows of the publisher. What it was in older revisions is in the folder before.

type publisher struct {
	publish func(ctx context.Context, envelope *mailv1.Envelope, raw []byte) error
	stop    func()
}

func connect(url string) (*nats.Conn, error) {
	return stream.Connect(stream.ConnConfig{URL: url}, stream.ConnOptions{Name: "logbench", Logger: slog.New(slog.DiscardHandler)})
}

func startPublisher(ctx context.Context, l *load) (*publisher, error) {
	p := publish.New(l.nc, publish.Config{AllowUnsynced: l.unsynced}, slog.New(slog.DiscardHandler), l.metrics)
	running, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- p.Run(running) }()
	for p.Ready() != nil {
		select {
		case err := <-ended:
			cancel()
			return nil, err
		case <-time.After(10 * time.Millisecond):
		}
	}
	return &publisher{
		publish: func(ctx context.Context, envelope *mailv1.Envelope, raw []byte) error {
			return p.Publish(ctx, publish.Mail{Envelope: envelope, Raw: raw})
		},
		stop: func() { cancel(); <-ended },
	}, nil
}
