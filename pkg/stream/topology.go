package stream

import (
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
	"google.golang.org/protobuf/proto"

	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// This file is the only place with names of streams, subjects, consumers, buckets and headers:
//
//	ingress ──▶ mail.in.<p>   ─┐
//	        ──▶ mail.part.<p> ─┴▶ stream MAIL_<p> ─┬▶ consumer storer      ─┬▶ MySQL
//	                                               │                        ├▶ mail.stored.<p> (not kept)
//	                                               │                        └▶ mail.dead.* ─▶ stream MAIL_DEAD
//	                                               └▶ consumer cachewarmer ──▶ Memcached
//
// Both consumers are fed with mail.in.<p> only: the parts of a large mail are read by sequence.

const (
	streamPrefix = "MAIL_"

	// DeadStream keeps the mails that could not be stored, each with its reason, until an operator
	// retries or drops them. Its name starts like a shard's, but DEAD is not a number.
	DeadStream = "MAIL_DEAD"
	// DeadSubject carries the heads of dead mails; DeadPartSubject the parts of large ones, published
	// before the head in the same atomic batch, as in a shard.
	DeadSubject     = "mail.dead.in"
	DeadPartSubject = "mail.dead.part"

	// Storer and Cachewarmer are the durable consumers of every shard.
	Storer      = "storer"
	Cachewarmer = "cachewarmer"

	// PolicyBucket holds the accepted domains and recipients; the ingress only reads it.
	PolicyBucket = "sluice_policy"
	// LeaseBucket has the leases of jobs that only one storer should do at a time, such as retention. Entries expire.
	LeaseBucket = "sluice_lease"
	// ReplayBucket holds the progress of running replays; retention reads it and waits for them.
	ReplayBucket = "sluice_replay"
	// AuditBucket holds the tallies that let an audit account for mail that retention has purged.
	AuditBucket = "sluice_audit"
	// MarksBucket holds what workers tell each other about messages that have been delivered several times, so that a mail that
	// crashes its process is found, and no other mail is blamed for it. It is on disk, because in allinone it must survive a crash
	// of the process that also runs the log. An entry that is not updated for MarksTTL is deleted.
	MarksBucket = "sluice_marks"
	MarksTTL    = time.Hour
	// TombstoneBucket holds decisions about mail that is neither in the database nor a dead letter; see package tombstone.
	TombstoneBucket = "sluice_tombstone"
	// LeaseTTL is how long an entry of LeaseBucket lives when nobody renews it.
	LeaseTTL = 30 * time.Second
)

// Headers of a stream message.
const (
	// EnvelopeHeader holds the mail.v1.Envelope of the first mail, see EncodeEnvelope; EnvelopesHeader those of the
	// others, see pack.go.
	EnvelopeHeader  = "Mail-Envelope"
	EnvelopesHeader = "Mail-Envelopes"
	// IDHeader makes the log drop a second copy of the same message within its window (2 minutes).
	IDHeader = "Nats-Msg-Id"

	// The headers of a dead letter: why, since when, and where the mail stood.
	DeadReasonHeader   = "Mail-Dead-Reason"
	DeadTimeHeader     = "Mail-Dead-Time"
	DeadStreamHeader   = "Mail-Dead-Stream"
	DeadSequenceHeader = "Mail-Dead-Sequence"
	DeadAttemptsHeader = "Mail-Dead-Attempts"
)

// Keys of the metadata of a shard's stream.
const (
	// DurabilityKey says whether this stream syncs before it acknowledges, see Durability.
	DurabilityKey = "sluice.durability"
)

const (
	// PartBytes is how many bytes of a large mail one part has. A mail up to this size is stored without parts, in the payload of
	// its message. With the headers this fits the 1 MiB payload limit of an unconfigured server.
	PartBytes = 896 << 10
	// MaxEnvelopeBytes bounds the encoded envelope: the server takes at most 64 KiB of headers.
	MaxEnvelopeBytes = 48 << 10
	// MaxShards is the largest STREAM_SHARDS that is accepted; far fewer are sensible.
	MaxShards = 256
)

const (
	// AckWait is how long the log waits for a sign of progress on a delivered message before it delivers the message again. So
	// the mail of a process that died waits this long. A working process reports progress three times within it, which costs
	// little, because a message carries many mails.
	AckWait       = 15 * time.Second
	maxAckPending = 1024
)

// StreamName is the stream of a shard.
func StreamName(shard int) string { return streamPrefix + strconv.Itoa(shard) }

// Shard is the reverse of StreamName; ok is false for every other stream.
func Shard(streamName string) (shard int, ok bool) {
	digits, found := strings.CutPrefix(streamName, streamPrefix)
	n, err := strconv.Atoi(digits)
	if !found || err != nil || n < 0 || StreamName(n) != streamName {
		return 0, false
	}
	return n, true
}

// HeadSubject carries the messages with mails: small ones with their bytes, the heads of large ones.
func HeadSubject(shard int) string { return "mail.in." + strconv.Itoa(shard) }

// PartSubject carries the raw bytes of mails larger than PartBytes.
func PartSubject(shard int) string { return "mail.part." + strconv.Itoa(shard) }

// StoredSubject carries the ids that became visible in the database: core NATS, kept nowhere.
func StoredSubject(shard int) string { return "mail.stored." + strconv.Itoa(shard) }

// StoredSubjects matches StoredSubject of every shard.
const StoredSubjects = "mail.stored.*"

// ConsumerConfig is the durable consumer of that name (Storer, Cachewarmer) on a shard. DeliverAll, because
// only such a consumer may be reset below its floor for a replay. Deliveries are not bounded by the server:
// the worker decides when a mail is a dead letter.
func ConsumerConfig(name string, shard int) jetstream.ConsumerConfig {
	return jetstream.ConsumerConfig{
		Durable:       name,
		FilterSubject: HeadSubject(shard),
		DeliverPolicy: jetstream.DeliverAllPolicy,
		AckPolicy:     jetstream.AckExplicitPolicy,
		AckWait:       AckWait,
		MaxDeliver:    -1,
		MaxAckPending: maxAckPending,
	}
}

// EncodeEnvelope renders an envelope for EnvelopeHeader: base64url without padding of the protobuf.
func EncodeEnvelope(env *mailv1.Envelope) (string, error) {
	raw, err := proto.Marshal(env)
	if err != nil {
		return "", fmt.Errorf("encoding the envelope: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(raw), nil
}

// DecodeEnvelope reads EnvelopeHeader. It also returns the protobuf bytes as they were sent, which is what
// the database keeps, so that fields this version does not know survive.
func DecodeEnvelope(header string) (env *mailv1.Envelope, raw []byte, err error) {
	raw, err = base64.RawURLEncoding.DecodeString(header)
	if err != nil {
		return nil, nil, fmt.Errorf("decoding the header %s: %w", EnvelopeHeader, err)
	}
	env = new(mailv1.Envelope)
	if err := proto.Unmarshal(raw, env); err != nil {
		return nil, raw, fmt.Errorf("decoding the envelope: %w", err)
	}
	return env, raw, nil
}

// Further names, used by consumers.
const (
	// DeadIDHeader names a dead letter: the mail's id in text, or what the mail was published under when its
	// envelope cannot be read. DeadAcceptedHeader is when the shard had taken the mail.
	DeadIDHeader       = "Mail-Dead-Id"
	DeadAcceptedHeader = "Mail-Dead-Accepted"
	// DeadMissingHeader marks the stand-in for a part that was already missing in the shard.
	DeadMissingHeader = "Mail-Dead-Missing"
	// RetryHeader counts how often a mail was retried from the dead letters. It stays with the mail.
	RetryHeader = "Mail-Retry"

	// ReplayConsumer and its name are the consumer of a replay on every shard; the name is its key in ReplayBucket.
	ReplayConsumer = "replay-"
	// JanitorLease is the key in LeaseBucket of the storer that runs retention.
	JanitorLease = "janitor"
)
