package publish

import (
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
)

// answer is the log's answer to a publish, or the reason why there was none.
type answer struct {
	Stream    string `json:"stream"`
	Sequence  uint64 `json:"seq"`
	Duplicate bool   `json:"duplicate"`
	Batch     string `json:"batch"`
	Count     int    `json:"count"`
	Error     *refusal

	// lost is set when there was no answer: a timeout, a lost connection, no responder.
	lost error
}

// refusal is an error of the JetStream API.
type refusal struct {
	Code        int    `json:"code"`
	ErrCode     int    `json:"err_code"`
	Description string `json:"description"`
}

func (r *refusal) Error() string { return fmt.Sprintf("%s (%d)", r.Description, r.ErrCode) }

var (
	errTimeout      = errors.New("no answer in time")
	errDisconnected = errors.New("the connection was lost")
	errNoResponders = errors.New("nobody takes mail for this shard: the stream is missing, or has no leader now")
	errStrange      = errors.New("an answer that is not an acknowledgement")
)

// parse reads an answer. An empty one is the server's word that a member of a batch is staged, nothing more.
func parse(msg *nats.Msg) answer {
	if msg.Header.Get("Status") == "503" && len(msg.Data) == 0 {
		return answer{lost: errNoResponders}
	}
	if len(msg.Data) == 0 {
		return answer{}
	}
	var a answer
	if err := json.Unmarshal(msg.Data, &a); err != nil {
		return answer{lost: fmt.Errorf("%w: %w", errStrange, err)}
	}
	return a
}

// outcome is what an answer means for the mails it is about.
type outcome int

const (
	// unsure: they may be in the log or not; publish them again under the same ids.
	unsure outcome = iota
	// stored: they are in the log, on disk.
	stored
	// doubled: an earlier attempt is in the log. After a crash of the log it may be in the page cache only, and
	// this answer did not wait for an fsync: publish them once more as a copy; the database absorbs it.
	doubled
	// full: the log has no room; they are not in it.
	full
	// busy: the log has too much to do; they are not in it; back off and try again.
	busy
	// absent: the stream has no leader, or is missing; nothing was delivered to it; try again, here or elsewhere.
	absent
	// wrong: the log will not take one of them as it is; try them one by one, once.
	wrong
)

// Error codes of the JetStream API (errors.json of nats-server).
const (
	codeAccountResources   = 10002
	codeInsufficient       = 10023
	codeStorageResources   = 10047
	codeMessageSize        = 10054
	codeStoreFailed        = 10077
	codeHeaderSize         = 10097
	codeDuplicateInProcess = 10158
	codeTooManyRequests    = 10167
	codeBatchDisabled      = 10174
	codeBatchIncomplete    = 10176
	codeBatchTooLarge      = 10199
	codeBatchDuplicate     = 10201
	codeTooManyBatches     = 10210
)

// classify is the table of outcomes. An answer that is not in it is unsure: the mail is not assumed to be stored, and attempts
// continue until the deadline.
func classify(a answer) outcome {
	switch {
	case errors.Is(a.lost, errNoResponders):
		return absent
	case a.lost != nil:
		return unsure
	case a.Error == nil && a.Duplicate:
		return doubled
	case a.Error == nil && a.Sequence > 0:
		return stored
	case a.Error == nil:
		return unsure
	}
	switch a.Error.ErrCode {
	case codeBatchDuplicate:
		return doubled
	case codeStoreFailed:
		// One code, several reasons; the text tells them apart ("maximum bytes exceeded", "message too large").
		if strings.Contains(a.Error.Description, "maximum") {
			return full
		}
		if strings.Contains(a.Error.Description, "too large") {
			return wrong
		}
	case codeInsufficient, codeAccountResources, codeStorageResources:
		return full
	case codeBatchIncomplete, codeTooManyRequests, codeTooManyBatches:
		return busy
	case codeHeaderSize, codeMessageSize, codeBatchDisabled:
		return wrong
	}
	if a.Error.Code == 429 {
		return busy
	}
	return unsure // codeDuplicateInProcess and codeBatchTooLarge among them
}

// label is the value of the metric's code label.
func (a answer) label() string {
	switch {
	case errors.Is(a.lost, errTimeout):
		return "timeout"
	case errors.Is(a.lost, errDisconnected):
		return "disconnected"
	case errors.Is(a.lost, errNoResponders):
		return "no_responders"
	case a.lost != nil:
		return "unsent"
	case a.Error != nil:
		return strconv.Itoa(a.Error.ErrCode)
	case a.Duplicate:
		return "duplicate"
	}
	return "stored"
}

// reason is the answer in words, for logs and for the error given to the SMTP side.
func (a answer) reason() error {
	if a.lost != nil {
		return a.lost
	}
	if a.Error != nil {
		return a.Error
	}
	return errStrange
}
