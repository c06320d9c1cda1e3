package rows

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/sluice-mail/sluice/pkg/mailstore"
)

// Part is one row of a large mail.
type Part struct {
	Index int
	Codec mailstore.Codec
	Body  []byte // valid until the next part
}

// ErrStop returned by the function given to EachPart ends it without an error.
var ErrStop = errors.New("stop")

// errSource marks errors of where a large mail is read from.
var errSource = errors.New("the log")

func openBytes(raw []byte) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil }
}

// EachPart reads a large mail and calls fn for each part of it. One part is in memory at a time, raw and packed. When
// it returns nil after the last part, size and SHA-256 are those of the mail; on any error the caller must roll back.
func (m *Mail) EachPart(ctx context.Context, p *mailstore.Packer, fn func(Part) error) error {
	r, err := m.Open(ctx)
	if err != nil {
		return m.sourceError(err)
	}
	defer r.Close()
	hash, buf := sha256.New(), make([]byte, min(m.Size, mailstore.PartSize))
	for i, left := 0, m.Size; i < m.Parts; i++ {
		raw := buf[:min(left, mailstore.PartSize)]
		if _, err := io.ReadFull(r, raw); err != nil {
			return m.sourceError(err)
		}
		left -= int64(len(raw))
		hash.Write(raw)
		body, codec := p.Pack(raw)
		switch err := fn(Part{i, codec, body}); {
		case errors.Is(err, ErrStop):
			return nil
		case err != nil:
			return err
		}
	}
	// A byte after the size would mean that the mail is longer. Reading on also lets a verifying reader give its verdict.
	switch n, err := io.CopyN(io.Discard, r, 1); {
	case n > 0:
		return m.mismatch("longer than its size")
	case !errors.Is(err, io.EOF):
		return m.sourceError(err)
	case [32]byte(hash.Sum(nil)) != m.SHA256:
		return m.mismatch("SHA-256")
	}
	return nil
}

// sourceError is for when the log, not the database, is the trouble: the same mail again, a little later.
func (m *Mail) sourceError(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return m.mismatch("shorter than its size")
	}
	return &mailstore.Error{Class: mailstore.Retry, Op: "reading mail " + m.ID.String() + " to store it",
		Err: fmt.Errorf("%w: %w", errSource, err)}
}

func (m *Mail) mismatch(what string) error {
	return &mailstore.Error{Class: mailstore.Data, Op: "storing " + m.ID.String(),
		Err: fmt.Errorf("%w: %s", mailstore.ErrMismatch, what)}
}

// Copy writes the parts of a stored mail to w, verified. get returns one packed part.
func Copy(w io.Writer, m mailstore.Stored, p *mailstore.Packer, get func(part int) ([]byte, mailstore.Codec, error)) error {
	hash, left := sha256.New(), m.Size
	for i := range m.Parts {
		body, codec, err := get(i)
		if err != nil {
			return err
		}
		raw, err := p.Unpack(body, codec)
		if err != nil {
			return fmt.Errorf("mail %v, part %d: %w: %w", m.ID, i, mailstore.ErrDamaged, err)
		}
		if want := min(left, mailstore.PartSize); int64(len(raw)) != want {
			return fmt.Errorf("mail %v, part %d: %w: %d bytes, not %d", m.ID, i, mailstore.ErrDamaged, len(raw), want)
		}
		left -= int64(len(raw))
		hash.Write(raw)
		if i == m.Parts-1 && (left != 0 || [32]byte(hash.Sum(nil)) != m.SHA256) {
			// Before the last bytes are written, so that a small mail is never handed out damaged.
			return fmt.Errorf("mail %v: %w", m.ID, mailstore.ErrDamaged)
		}
		if _, err := w.Write(raw); err != nil {
			return fmt.Errorf("writing out mail %v: %w", m.ID, err)
		}
	}
	return nil
}
