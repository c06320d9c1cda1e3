package stream

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"

	"github.com/sluice-mail/sluice/pkg/stream/internal/record"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// readAhead is how many parts are asked for at once: enough to hide the round trip, few enough to bound the
// memory of one reader to readAhead × PartBytes.
const readAhead = 3

// partReader reads the parts of a large mail in order.
type partReader struct {
	ctx     context.Context
	cancel  context.CancelFunc
	mail    *Message
	asked   uint32 // parts asked for
	given   uint32 // parts taken from pending
	pending [readAhead]chan partAnswer
	rest    []byte
	err     error
}

type partAnswer struct {
	record record.Record
	err    error
}

func openParts(ctx context.Context, m *Message) *partReader {
	ctx, cancel := context.WithCancel(ctx)
	return &partReader{ctx: ctx, cancel: cancel, mail: m}
}

func (p *partReader) Read(b []byte) (int, error) {
	for len(p.rest) == 0 && p.err == nil {
		p.rest, p.err = p.part()
	}
	if len(p.rest) == 0 {
		return 0, p.err
	}
	n := copy(b, p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// Close ends the reads under way and waits for them.
func (p *partReader) Close() error {
	p.cancel()
	for ; p.given < p.asked; p.given++ {
		<-p.pending[p.given%readAhead]
	}
	p.rest, p.err = nil, errors.New("read after Close")
	return nil
}

// part returns the next part and keeps readAhead of them on their way.
func (p *partReader) part() ([]byte, error) {
	n := p.mail.Envelope.GetParts()
	if p.given == n {
		return nil, io.EOF
	}
	for p.asked < n && p.asked < p.given+readAhead {
		p.ask(p.asked)
		p.asked++
	}
	a := <-p.pending[p.given%readAhead]
	i := p.given
	p.given++
	return p.check(i, a)
}

func (p *partReader) ask(i uint32) {
	c := make(chan partAnswer, 1)
	p.pending[i%readAhead] = c
	seq := p.mail.partSequence(i)
	go func() {
		r, err := p.mail.log.Sequence(p.ctx, p.mail.Stream, seq)
		c <- partAnswer{r, err}
	}()
}

func (p *partReader) check(i uint32, a partAnswer) ([]byte, error) {
	n, seq := p.mail.Envelope.GetParts(), p.mail.partSequence(i)
	if errors.Is(a.err, record.ErrNotFound) {
		return nil, fmt.Errorf("%w: part %d of %d (sequence %d of %s) is missing", ErrDamaged, i+1, n, seq, p.mail.Stream)
	}
	if a.err != nil {
		return nil, fmt.Errorf("reading part %d of %d: %w", i+1, n, a.err)
	}
	if !p.mail.ownsPart(a.record) {
		return nil, fmt.Errorf("%w: sequence %d of %s is not part %d of %d of this mail", ErrDamaged, seq, p.mail.Stream, i+1, n)
	}
	return a.record.Data, nil
}

// partSequence is where part i (from 0) of a large mail stands: the parts are just before the head.
func (m *Message) partSequence(i uint32) uint64 {
	return m.Sequence - uint64(m.Envelope.GetParts()) + uint64(i)
}

// ownsPart says whether a record can be a part of this mail. The order of the parts is proven by the SHA-256.
func (m *Message) ownsPart(r record.Record) bool {
	want := PartSubject(m.Shard)
	if m.Stream == DeadStream {
		want = DeadPartSubject
	}
	if r.Subject != want {
		return false
	}
	id := r.Header.Get(IDHeader)
	return id == "" || strings.Contains(id, m.ID.String())
}

// verifier passes a mail on and checks it against its envelope when it ends.
type verifier struct {
	io.ReadCloser
	sum  hash.Hash
	size uint64
	env  *mailv1.Envelope
}

func newVerifier(r io.ReadCloser, env *mailv1.Envelope) *verifier {
	return &verifier{ReadCloser: r, sum: sha256.New(), env: env}
}

func (v *verifier) Read(b []byte) (int, error) {
	n, err := v.ReadCloser.Read(b)
	v.sum.Write(b[:n])
	v.size += uint64(n)
	if !errors.Is(err, io.EOF) {
		return n, err
	}
	if bad := checkBytes(v.env, v.size, v.sum.Sum(nil)); bad != nil {
		return n, bad
	}
	return n, err
}
