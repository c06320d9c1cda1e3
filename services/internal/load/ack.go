package load

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// State is how the sending of a mail ended.
type State string

const (
	// Acked: the server said 2xx after the final dot. The mail must be stored, once.
	Acked State = "acked"
	// Refused: the server said 4xx or 5xx. The mail must not be stored.
	Refused State = "refused"
	// Unconfirmed: the final dot was sent, and no answer came, or 451 "not confirmed". Stored or not, both
	// are right.
	Unconfirmed State = "unconfirmed"
	// Cut: the connection ended before the final dot was sent. The mail must not be stored.
	Cut State = "cut"
)

// Ack is what is known about one try to send one mail.
type Ack struct {
	Index  uint64    `json:"index"`
	Seed   uint64    `json:"seed"`
	State  State     `json:"state"`
	ID     string    `json:"id,omitempty"` // the server's, from "queued as ID" or "not confirmed, id ID"
	SHA256 string    `json:"sha256"`       // of the bytes before dot-stuffing, hexadecimal
	Size   int       `json:"size"`
	From   string    `json:"from"`
	Rcpts  []string  `json:"rcpts"` // those the server accepted
	SentAt time.Time `json:"sent_at"`
	AckAt  time.Time `json:"ack_at"`          // when the answer came, or the connection was lost
	Reply  string    `json:"reply,omitempty"` // the deciding answer
	Error  string    `json:"error,omitempty"` // why there is none
}

// ReadAcks calls fn for each Ack of a record in order, until fn returns an error. A last line without its
// end, as a killed generator leaves it, is no Ack.
func ReadAcks(r io.Reader, fn func(Ack) error) error {
	lines := bufio.NewReaderSize(r, 64<<10)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("reading line %d of the record: %w", n, err)
		}
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		var a Ack
		if err := json.Unmarshal(line, &a); err != nil {
			return fmt.Errorf("line %d of the record is not an answer of a load run: %w", n, err)
		}
		if err := fn(a); err != nil {
			return err
		}
	}
}
