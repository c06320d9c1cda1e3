package main

import (
	"context"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/stream"
)

// others are the ways without our publisher: one message per mail.
func others() map[string]way { return map[string]way{"single": singly, "async": ahead} }

func (l *load) message() (*nats.Msg, error) {
	m := l.mails.next()
	envelope := m.envelope()
	encoded, err := stream.EncodeEnvelope(envelope)
	return &nats.Msg{Subject: stream.HeadSubject(0), Data: m.raw, Header: nats.Header{
		stream.IDHeader: {ulid.ULID(envelope.Id).String()}, stream.EnvelopeHeader: {encoded},
	}}, err
}

// singly awaits the acknowledgement of each message, with many senders.
func singly(ctx context.Context, l *load) error {
	js, err := jetstream.New(l.nc)
	if err != nil {
		return err
	}
	return l.each(func() error {
		m, err := l.message()
		if err == nil {
			_, err = js.PublishMsg(ctx, m)
		}
		return err
	})
}

// ahead is one loop with a window of as many unacknowledged messages as there would be senders.
func ahead(_ context.Context, l *load) error {
	js, err := jetstream.New(l.nc, jetstream.WithPublishAsyncMaxPending(l.senders+1))
	if err != nil {
		return err
	}
	type sent struct {
		future jetstream.PubAckFuture
		at     time.Time
	}
	window := make(chan sent, l.senders)
	collected := make(chan error, 1)
	mine := l.newRecord()
	go func() {
		var first error
		for s := range window {
			select {
			case <-s.future.Ok():
				mine.done(s.at)
			case err := <-s.future.Err():
				first = err
			}
		}
		collected <- first
	}()
	close(l.ready)
	for !l.stopped() {
		m, err := l.message()
		if err != nil {
			return err
		}
		f, err := js.PublishMsgAsync(m, jetstream.WithStallWait(10*time.Second))
		if err != nil {
			return err
		}
		window <- sent{f, time.Now()}
	}
	close(window)
	return <-collected
}
