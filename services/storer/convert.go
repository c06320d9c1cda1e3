package storer

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailparse"
	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/stream"
)

// errBadEnvelope is for an envelope that Sluice's ingress cannot have written.
var errBadEnvelope = errors.New("the envelope makes no sense")

// convert turns a message of the log into a mail for the database. The error is for an envelope that cannot be
// stored at all; anything that is merely unusual is stored as it is.
func convert(ctx context.Context, m *stream.Message) (mailstore.Mail, error) {
	env := m.Envelope
	mail := mailstore.Mail{
		Envelope: m.EnvelopeBytes,
		Size:     int64(env.GetSize()),
		Raw:      m.Raw,
		Verified: true, // by the worker; a large mail is verified as it is read
		Sender:   env.GetMailFrom(),
		Received: time.UnixMilli(env.GetReceivedAt()).UTC(),
		Flags:    env.GetFlags(),
	}
	if len(env.GetId()) != len(ulid.ULID{}) || len(env.GetSha256()) != len(mail.SHA256) {
		return mail, fmt.Errorf("%w: an id of %d and a SHA-256 of %d bytes, not 16 and 32", errBadEnvelope,
			len(env.GetId()), len(env.GetSha256()))
	}
	copy(mail.ID[:], env.GetId())
	copy(mail.SHA256[:], env.GetSha256())
	if ip, ok := netip.AddrFromSlice(env.GetClient().GetIp()); ok {
		mail.IP = ip.Unmap()
	}
	for _, rcpt := range env.GetRecipients() {
		mail.Mailboxes = append(mail.Mailboxes, rcpt.GetMailbox())
	}
	if len(mail.Mailboxes) == 0 {
		return mail, fmt.Errorf("%w: no recipient", errBadEnvelope)
	}
	if env.GetParts() > 0 {
		mail.Raw, mail.Open = nil, m.Open
	}
	// This mail may have made the parser fail or crash the process, so it is not parsed again.
	if m.Alone {
		return mail, nil
	}
	summary, err := summarise(ctx, m)
	if err != nil {
		return mail, err
	}
	mail.Derived = mailstore.DerivedOf(summary)
	mail.Flags |= uint64(summary.Flags) << parserFlagShift
	return mail, nil
}

// parserFlagShift keeps the parser's flags apart from the envelope's in the one column for both.
const parserFlagShift = 16

// summarise parses a small mail whole. A large one is read as far as its summary may change: to the first attachment, as
// a rule, or to its end when it has none.
func summarise(ctx context.Context, m *stream.Message) (mailparse.Summary, error) {
	if m.Envelope.GetParts() == 0 {
		return mailparse.Summarise(m.Raw), nil
	}
	body, err := m.Open(ctx)
	if err != nil {
		return mailparse.Summary{}, fmt.Errorf("opening a large mail: %w", err)
	}
	defer body.Close()
	summary, err := mailparse.SummariseFrom(body)
	if err != nil {
		return mailparse.Summary{}, fmt.Errorf("looking for the parts of a large mail: %w", err)
	}
	return summary, nil
}
