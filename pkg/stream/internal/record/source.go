package record

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
)

// ErrNotFound: the stream has no such message; its leader says so too.
var ErrNotFound = errors.New("no such message in the log")

// getWait bounds one read of one message when the context does not.
const getWait = 10 * time.Second

// Record is one message of a stream, whichever way it was read.
type Record struct {
	Stream   string
	Subject  string
	Sequence uint64
	Time     time.Time // when the log took it
	Header   nats.Header
	Data     []byte // the payload; nil when only headers were read
}

// Source reads single messages of a stream, by direct get: any replica answers, nothing is consumed.
type Source struct{ NC *nats.Conn }

// getRequest is the body of $JS.API.DIRECT.GET and $JS.API.STREAM.MSG.GET.
type getRequest struct {
	Seq   uint64     `json:"seq,omitempty"`
	Next  string     `json:"next_by_subj,omitempty"`
	Last  string     `json:"last_by_subj,omitempty"`
	Lasts []string   `json:"multi_last,omitempty"`
	UpTo  uint64     `json:"up_to_seq,omitempty"`
	Since *time.Time `json:"start_time,omitempty"`
}

// Sequence reads one message. A replica that lags answers 404 for what the leader has, so a 404 is asked
// again of the leader before it is believed.
func (s Source) Sequence(ctx context.Context, stream string, seq uint64) (Record, error) {
	r, err := s.direct(ctx, stream, getRequest{Seq: seq})
	if errors.Is(err, ErrNotFound) {
		return s.leader(ctx, stream, getRequest{Seq: seq})
	}
	return r, err
}

// Next reads the first message on subject at or after seq.
func (s Source) Next(ctx context.Context, stream, subject string, seq uint64) (Record, error) {
	return s.leader(ctx, stream, getRequest{Seq: seq, Next: subject})
}

// LastUpTo reads the last message on subject at or before seq.
func (s Source) LastUpTo(ctx context.Context, stream, subject string, seq uint64) (Record, error) {
	r, err := s.leader(ctx, stream, getRequest{Last: subject})
	if err == nil && r.Sequence > seq {
		return s.direct(ctx, stream, getRequest{Lasts: []string{subject}, UpTo: seq})
	}
	return r, err
}

// Since reads the first message that the log took at or after t.
func (s Source) Since(ctx context.Context, stream, subject string, t time.Time) (Record, error) {
	return s.direct(ctx, stream, getRequest{Next: subject, Since: &t})
}

func (s Source) request(ctx context.Context, subject string, req getRequest) (*nats.Msg, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("encoding a read of the log: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, getWait)
	defer cancel()
	msg, err := s.NC.RequestWithContext(ctx, subject, body)
	if err != nil {
		return nil, fmt.Errorf("reading from the log (%s): %w", subject, err)
	}
	return msg, nil
}

func (s Source) direct(ctx context.Context, stream string, req getRequest) (Record, error) {
	msg, err := s.request(ctx, "$JS.API.DIRECT.GET."+stream, req)
	if err != nil {
		return Record{}, err
	}
	if status := msg.Header.Get("Status"); status != "" {
		if status == "404" {
			return Record{}, ErrNotFound
		}
		return Record{}, fmt.Errorf("reading from %s: the log answers %s %s", stream, status, msg.Header.Get("Description"))
	}
	seq, err := strconv.ParseUint(msg.Header.Get("Nats-Sequence"), 10, 64)
	if err != nil {
		return Record{}, fmt.Errorf("reading from %s: the answer has no sequence: %w", stream, err)
	}
	at, err := time.Parse(time.RFC3339Nano, msg.Header.Get("Nats-Time-Stamp"))
	if err != nil {
		return Record{}, fmt.Errorf("reading from %s: the answer has no time: %w", stream, err)
	}
	return Record{
		Stream: stream, Subject: msg.Header.Get("Nats-Subject"), Sequence: seq, Time: at,
		Header: msg.Header, Data: msg.Data,
	}, nil
}

// leaderAnswer is what $JS.API.STREAM.MSG.GET sends.
type leaderAnswer struct {
	Error *struct {
		Code        int    `json:"code"`
		Description string `json:"description"`
	} `json:"error"`
	Message struct {
		Subject string    `json:"subject"`
		Seq     uint64    `json:"seq"`
		Header  string    `json:"hdrs"`
		Data    string    `json:"data"`
		Time    time.Time `json:"time"`
	} `json:"message"`
}

func (s Source) leader(ctx context.Context, stream string, req getRequest) (Record, error) {
	msg, err := s.request(ctx, "$JS.API.STREAM.MSG.GET."+stream, req)
	if err != nil {
		return Record{}, err
	}
	var a leaderAnswer
	if err := json.Unmarshal(msg.Data, &a); err != nil {
		return Record{}, fmt.Errorf("reading from %s: decoding the answer: %w", stream, err)
	}
	if a.Error != nil {
		if a.Error.Code == 404 {
			return Record{}, ErrNotFound
		}
		return Record{}, fmt.Errorf("reading from %s: the log answers %d %s", stream, a.Error.Code, a.Error.Description)
	}
	return a.record(stream)
}

func (a *leaderAnswer) record(stream string) (Record, error) {
	r := Record{Stream: stream, Subject: a.Message.Subject, Sequence: a.Message.Seq, Time: a.Message.Time}
	var err error
	if r.Data, err = base64.StdEncoding.DecodeString(a.Message.Data); err != nil {
		return Record{}, fmt.Errorf("reading from %s: decoding the payload: %w", stream, err)
	}
	raw, err := base64.StdEncoding.DecodeString(a.Message.Header)
	if err != nil {
		return Record{}, fmt.Errorf("reading from %s: decoding the headers: %w", stream, err)
	}
	if len(raw) > 0 {
		if r.Header, err = nats.DecodeHeadersMsg(raw); err != nil {
			return Record{}, fmt.Errorf("reading from %s: decoding the headers: %w", stream, err)
		}
	}
	return r, nil
}
