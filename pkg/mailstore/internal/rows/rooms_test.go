package rows

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/oklog/ulid/v2"

	"github.com/sluice-mail/sluice/pkg/mailstore"
)

// sample is a mail of n bytes: text that packs, or noise that does not.
func sample(n int, noise bool) mailstore.Mail {
	raw := make([]byte, n)
	for i := range raw {
		if raw[i] = byte(rand.Uint32()); !noise {
			raw[i] = 'a' + raw[i]%16
		}
	}
	return mailstore.Mail{ID: ulid.Make(), Size: int64(n), SHA256: sha256.Sum256(raw), Raw: raw, Mailboxes: []string{"a@example.com"}}
}

// The bodies of a batch must not get into each other's way, nor into that of a batch prepared at the same time, however
// often their room has been used before.
func TestBodiesKeepToTheirRoom(t *testing.T) {
	p, err := mailstore.NewPacker(mailstore.CodecZstd)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for range 4 {
		var batches []*Batch
		for range 3 {
			var mails []mailstore.Mail
			for range 60 {
				mails = append(mails, sample(rand.IntN(30_000), rand.IntN(4) == 0))
			}
			mails = append(mails, sample(900_000, true), sample(900_000, false), sample(roomy, false), sample(roomy+1, true), sample(0, false))
			b, err := Prepare(mails, 0, p)
			if err != nil {
				t.Fatal(err)
			}
			batches = append(batches, b)
		}
		for _, b := range batches {
			for _, m := range b.Mails {
				if raw, err := p.Unpack(m.Body, m.Codec); err != nil || !bytes.Equal(raw, m.Raw) {
					t.Fatalf("%d bytes, %v: other bytes came back: %v", m.Size, m.Codec, err)
				}
			}
			b.Release()
		}
	}
}

// roomy is as large as a piece of room.
const roomy = 256 << 10

func TestOnlyVerifiedMailIsNotHashedAgain(t *testing.T) {
	p, err := mailstore.NewPacker(mailstore.CodecNone)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for _, tt := range []struct {
		name     string
		change   func(*mailstore.Mail)
		verified bool
		mismatch bool
	}{
		{"as it should be", func(*mailstore.Mail) {}, false, false},
		{"other bytes", func(m *mailstore.Mail) { m.Raw[0]++ }, false, true},
		{"other bytes, and somebody has vouched for them", func(m *mailstore.Mail) { m.Raw[0]++ }, true, false},
		{"a byte less, and somebody has vouched for it", func(m *mailstore.Mail) { m.Raw = m.Raw[1:] }, true, true},
	} {
		m := sample(1000, false)
		tt.change(&m)
		m.Verified = tt.verified
		if _, err := Prepare([]mailstore.Mail{m}, 0, p); errors.Is(err, mailstore.ErrMismatch) != tt.mismatch {
			t.Errorf("%s: %v", tt.name, err)
		}
	}
}
