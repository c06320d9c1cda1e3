package publish

import (
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/sluice-mail/sluice/pkg/stream"
)

// item is one small mail on its way into the log. Everything below home belongs to the committer that has it.
type item struct {
	id       string
	envelope []byte // encoded
	digest   stream.Digest
	raw      []byte // its caller's, until it is in a pack
	size     int    // of raw
	room     int    // what its envelope takes in the headers of a pack
	done     chan error
	home     atomic.Pointer[driver]

	arrived  time.Time // in this committer
	deadline time.Time
	pack     *pack // nil while it waits for one
	decided  bool  // done has, or had, the result
	last     error // why it is not stored yet
}

func newItem(id string, m Mail, deadline time.Time) (*item, error) {
	envelope, err := proto.Marshal(m.Envelope)
	if err != nil {
		return nil, fmt.Errorf("encoding the envelope of mail %s: %w", id, err)
	}
	if m.Raw == nil {
		// Spooled although small: the connection's memory was needed elsewhere.
		m.Raw = make([]byte, m.Envelope.Size)
		if _, err := io.ReadFull(io.NewSectionReader(m.Body, 0, int64(m.Envelope.Size)), m.Raw); err != nil {
			return nil, fmt.Errorf("reading the spooled mail %s: %w", id, err)
		}
	}
	return &item{
		id: id, envelope: envelope, digest: stream.DigestOf(m.Envelope), raw: m.Raw, size: len(m.Raw), room: stream.EnvelopeRoom(len(envelope)),
		done: make(chan error, 1), deadline: deadline,
	}, nil
}
