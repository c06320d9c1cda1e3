package dead

import (
	"context"
	"errors"
	"iter"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/sluice-mail/sluice/pkg/stream"
	"github.com/sluice-mail/sluice/pkg/stream/publish"
)

// Bury writes the whole mail to MAIL_DEAD with the reason and returns nil only when the log has it. A part that is gone
// is replaced by a marked empty one: a dead letter keeps what there is.
func (d *Letters) Bury(ctx context.Context, m *stream.Message, reason string) error {
	head, err := m.Head(stream.DeadSubject)
	if err != nil {
		return err
	}
	for name, value := range map[string]string{
		stream.DeadIDHeader:       m.Key(),
		stream.DeadReasonHeader:   reason,
		stream.DeadTimeHeader:     time.Now().UTC().Format(time.RFC3339Nano),
		stream.DeadStreamHeader:   m.Stream,
		stream.DeadSequenceHeader: strconv.FormatUint(m.Sequence, 10),
		stream.DeadAttemptsHeader: strconv.FormatUint(m.Delivered, 10),
		stream.DeadAcceptedHeader: m.Time.UTC().Format(time.RFC3339Nano),
	} {
		head.Header.Set(name, value)
	}
	_, err = publish.Copy(ctx, d.nc, "dead/"+m.Place(), head, parts(ctx, m, stream.DeadPartSubject, true))
	return err
}

// parts reads the parts of a large mail for a copy of it; none for small mail. lenient replaces one that is gone.
func parts(ctx context.Context, m *stream.Message, subject string, lenient bool) iter.Seq2[*nats.Msg, error] {
	return func(yield func(*nats.Msg, error) bool) {
		for i := range m.Envelope.GetParts() {
			msg, err := m.Part(ctx, i, subject)
			if lenient && errors.Is(err, stream.ErrDamaged) {
				msg, err = &nats.Msg{Subject: subject, Header: nats.Header{stream.DeadMissingHeader: {"true"}}}, nil
			}
			if !yield(msg, err) {
				return
			}
		}
	}
}
