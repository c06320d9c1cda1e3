package publish

import (
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nuid"
)

const (
	// maxBatchMessages is half of what an unconfigured server takes.
	maxBatchMessages = 500
	// maxBatchBytes bounds how long readers of the stream wait while a batch is committed.
	maxBatchBytes = 4 << 20
)

// openBatch numbers the members of one attempt. Every attempt is a new batch: an id must not be used again.
type openBatch struct {
	nc    *nats.Conn
	id    string
	size  int
	begun time.Time
}

func newBatch(nc *nats.Conn) *openBatch {
	return &openBatch{nc: nc, id: nuid.Next(), begun: time.Now()}
}

// add sends a member. With a reply subject the server answers, with nothing in it, when the member is staged.
func (b *openBatch) add(msg *nats.Msg) error {
	b.size++
	msg.Header.Set(batchIDHeader, b.id)
	msg.Header.Set(batchSequenceHeader, strconv.Itoa(b.size))
	return b.nc.PublishMsg(msg)
}

// commit sends the last member; its reply subject gets the acknowledgement of the whole.
func (b *openBatch) commit(msg *nats.Msg) error {
	msg.Header.Set(batchCommitHeader, "1")
	return b.add(msg)
}

// confirmed says whether an answer acknowledges this batch, all of it.
func (b *openBatch) confirmed(a answer) bool { return a.Batch == b.id && a.Count == b.size }
