package stream

import (
	"encoding/json"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/oklog/ulid/v2"
)

// StoredMail says that a mail is now visible in the database, in these mailboxes.
type StoredMail struct {
	ID        ulid.ULID // of the mail
	Mailboxes []string  // normalised addresses
}

// maxStoredBytes keeps an announcement well under the payload limit of an unconfigured server (1 MiB).
const maxStoredBytes = 256 << 10

// PublishStored announces that these mails were committed, for example to the cachewarmer and the mailbox service. An announcement
// may be lost, so it may be used only to be faster.
//
// The payload of mail.stored.<p> is JSON, one array per mail: its id, then its mailboxes.
//
//	[["01JDFQ4Z2K8V3T6N5R7M9P0ABC","u@example.com","v@example.com"],["01JDFQ4Z2M…","w@example.com"]]
func PublishStored(nc *nats.Conn, shard int, mails []StoredMail) error {
	for len(mails) > 0 {
		n, bytes := 0, 0
		for ; n < len(mails) && (n == 0 || bytes < maxStoredBytes); n++ {
			bytes += ulid.EncodedSize
			for _, m := range mails[n].Mailboxes {
				bytes += len(m) + 3
			}
		}
		payload, err := encodeStored(mails[:n])
		if err != nil {
			return err
		}
		if err := nc.Publish(StoredSubject(shard), payload); err != nil {
			return fmt.Errorf("announcing stored mail: %w", err)
		}
		mails = mails[n:]
	}
	return nil
}

func encodeStored(mails []StoredMail) ([]byte, error) {
	rows := make([][]string, len(mails))
	for i, m := range mails {
		rows[i] = append([]string{m.ID.String()}, m.Mailboxes...)
	}
	payload, err := json.Marshal(rows)
	if err != nil {
		return nil, fmt.Errorf("encoding an announcement of stored mail: %w", err)
	}
	return payload, nil
}

func decodeStored(payload []byte) ([]StoredMail, error) {
	var rows [][]string
	if err := json.Unmarshal(payload, &rows); err != nil {
		return nil, fmt.Errorf("decoding an announcement of stored mail: %w", err)
	}
	mails := make([]StoredMail, 0, len(rows))
	for _, row := range rows {
		if len(row) == 0 {
			continue
		}
		id, err := ulid.ParseStrict(row[0])
		if err != nil {
			return nil, fmt.Errorf("decoding an announcement of stored mail: the id %q: %w", row[0], err)
		}
		mails = append(mails, StoredMail{ID: id, Mailboxes: row[1:]})
	}
	return mails, nil
}

// SubscribeStored calls fn, one call at a time, for every announcement of every shard until the subscription
// is ended. An announcement that cannot be decoded is ignored: the cache entry that it concerns expires.
func SubscribeStored(nc *nats.Conn, fn func(mails []StoredMail)) (*nats.Subscription, error) {
	return ShareStored(nc, "", fn)
}

// ShareStored is SubscribeStored for work that is needed only once: of all subscribers with the same group, one gets each
// announcement.
func ShareStored(nc *nats.Conn, group string, fn func(mails []StoredMail)) (*nats.Subscription, error) {
	sub, err := nc.QueueSubscribe(StoredSubjects, group, func(msg *nats.Msg) {
		if mails, err := decodeStored(msg.Data); err == nil && len(mails) > 0 {
			fn(mails)
		}
	})
	if err != nil {
		return nil, fmt.Errorf("subscribing to announcements of stored mail: %w", err)
	}
	return sub, nil
}
