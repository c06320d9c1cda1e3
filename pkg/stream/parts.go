package stream

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

// ErrDamaged: the log does not hold what the envelope says: parts are missing or mixed up, or size or SHA-256
// are wrong. The mail is a dead letter.
var ErrDamaged = errors.New("the mail is damaged in the log")

// errNotFound: the stream has no such message; its leader says so too.
var errNotFound = errors.New("no such message in the log")

// getWait bounds one read of one message when the context does not.
const getWait = 10 * time.Second

// partSource reads single messages of a stream, by direct get: any replica answers, nothing is consumed.
type partSource struct{ nc *nats.Conn }

// getRequest is the body of $JS.API.DIRECT.GET and $JS.API.STREAM.MSG.GET.
type getRequest struct {
	Seq   uint64     `json:"seq,omitempty"`
	Next  string     `json:"next_by_subj,omitempty"`
	Last  string     `json:"last_by_subj,omitempty"`
	Lasts []string   `json:"multi_last,omitempty"`
	UpTo  uint64     `json:"up_to_seq,omitempty"`
	Since *time.Time `json:"start_time,omitempty"`
}

// sequence reads one message. A replica that lags answers 404 for what the leader has, so a 404 is asked
// again of the leader before it is believed.
func (s partSource) sequence(ctx context.Context, stream string, seq uint64) (record, error) {
	r, err := s.direct(ctx, stream, getRequest{Seq: seq})
	if errors.Is(err, errNotFound) {
		return s.leader(ctx, stream, getRequest{Seq: seq})
	}
	return r, err
}

// next reads the first message on subject at or after seq.
func (s partSource) next(ctx context.Context, stream, subject string, seq uint64) (record, error) {
	return s.leader(ctx, stream, getRequest{Seq: seq, Next: subject})
}

// lastUpTo reads the last message on subject at or before seq.
func (s partSource) lastUpTo(ctx context.Context, stream, subject string, seq uint64) (record, error) {
	r, err := s.leader(ctx, stream, getRequest{Last: subject})
	if err == nil && r.sequence > seq {
		return s.direct(ctx, stream, getRequest{Lasts: []string{subject}, UpTo: seq})
	}
	return r, err
}

// since reads the first message that the log took at or after t.
func (s partSource) since(ctx context.Context, stream, subject string, t time.Time) (record, error) {
	return s.direct(ctx, stream, getRequest{Next: subject, Since: &t})
}

func (s partSource) request(ctx context.Context, subject string, req getRequest) (*nats.Msg, error) {
	body, err := json.Marshal(req)
	if err != nil {
		return nil, fmt.Errorf("encoding a read of the log: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, getWait)
	defer cancel()
	msg, err := s.nc.RequestWithContext(ctx, subject, body)
	if err != nil {
		return nil, fmt.Errorf("reading from the log (%s): %w", subject, err)
	}
	return msg, nil
}

func (s partSource) direct(ctx context.Context, stream string, req getRequest) (record, error) {
	msg, err := s.request(ctx, "$JS.API.DIRECT.GET."+stream, req)
	if err != nil {
		return record{}, err
	}
	if status := msg.Header.Get("Status"); status != "" {
		if status == "404" {
			return record{}, errNotFound
		}
		return record{}, fmt.Errorf("reading from %s: the log answers %s %s", stream, status, msg.Header.Get("Description"))
	}
	seq, err := strconv.ParseUint(msg.Header.Get("Nats-Sequence"), 10, 64)
	if err != nil {
		return record{}, fmt.Errorf("reading from %s: the answer has no sequence: %w", stream, err)
	}
	at, err := time.Parse(time.RFC3339Nano, msg.Header.Get("Nats-Time-Stamp"))
	if err != nil {
		return record{}, fmt.Errorf("reading from %s: the answer has no time: %w", stream, err)
	}
	return record{
		stream: stream, subject: msg.Header.Get("Nats-Subject"), sequence: seq, time: at,
		header: msg.Header, data: msg.Data,
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

func (s partSource) leader(ctx context.Context, stream string, req getRequest) (record, error) {
	msg, err := s.request(ctx, "$JS.API.STREAM.MSG.GET."+stream, req)
	if err != nil {
		return record{}, err
	}
	var a leaderAnswer
	if err := json.Unmarshal(msg.Data, &a); err != nil {
		return record{}, fmt.Errorf("reading from %s: decoding the answer: %w", stream, err)
	}
	if a.Error != nil {
		if a.Error.Code == 404 {
			return record{}, errNotFound
		}
		return record{}, fmt.Errorf("reading from %s: the log answers %d %s", stream, a.Error.Code, a.Error.Description)
	}
	return a.record(stream)
}

func (a *leaderAnswer) record(stream string) (record, error) {
	r := record{stream: stream, subject: a.Message.Subject, sequence: a.Message.Seq, time: a.Message.Time}
	var err error
	if r.data, err = base64.StdEncoding.DecodeString(a.Message.Data); err != nil {
		return record{}, fmt.Errorf("reading from %s: decoding the payload: %w", stream, err)
	}
	raw, err := base64.StdEncoding.DecodeString(a.Message.Header)
	if err != nil {
		return record{}, fmt.Errorf("reading from %s: decoding the headers: %w", stream, err)
	}
	if len(raw) > 0 {
		if r.header, err = nats.DecodeHeadersMsg(raw); err != nil {
			return record{}, fmt.Errorf("reading from %s: decoding the headers: %w", stream, err)
		}
	}
	return r, nil
}
