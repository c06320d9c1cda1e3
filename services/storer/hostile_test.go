package storer

import (
	"bytes"
	"crypto/sha256"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/oklog/ulid/v2"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/sluice-mail/sluice/pkg/mailparse/mailtest"
	"github.com/sluice-mail/sluice/pkg/mailstore"
	"github.com/sluice-mail/sluice/pkg/stream"
	mailv1 "github.com/sluice-mail/sluice/proto/mail/v1"
)

// Whatever a mail consists of, the database takes it as the storer hands it over, what was read of its header
// included, and gives back its bytes: 5,000 hostile mails, and those of the parser's own tests.
func TestHostileMailIsStoredByteForByte(t *testing.T) {
	store, err := openSQLite(t, slog.New(slog.NewTextHandler(io.Discard, nil)), prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	if err := store.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	var raws [][]byte
	for seed := range uint64(5000) {
		raws = append(raws, mailtest.Hostile(seed))
	}
	for _, pattern := range []string{"mails/*", "fuzz/*/*"} {
		files, err := filepath.Glob("../../pkg/mailparse/testdata/" + pattern)
		if err != nil || len(files) == 0 {
			t.Fatalf("no files %s: %v", pattern, err)
		}
		for _, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			raws = append(raws, raw)
		}
	}
	const batch = 128
	for ; len(raws) > 0; raws = raws[min(batch, len(raws)):] {
		storeAndReadBack(t, store, raws[:min(batch, len(raws))])
	}
}

func storeAndReadBack(t *testing.T, store mailstore.Store, raws [][]byte) {
	t.Helper()
	mails := make([]mailstore.Mail, len(raws))
	for i, raw := range raws {
		id, sum := ulid.Make(), sha256.Sum256(raw)
		env := &mailv1.Envelope{Id: id[:], ReceivedAt: int64(id.Time()), Size: uint64(len(raw)), Sha256: sum[:],
			Recipients: []*mailv1.Recipient{{Mailbox: "u@example.com"}}}
		mail, err := convert(t.Context(), &stream.Message{Envelope: env, Raw: raw})
		if err != nil {
			t.Fatal(err)
		}
		mails[i] = mail
	}
	if result, err := store.PutBatch(t.Context(), mails); err != nil || result.New != len(mails) {
		t.Fatalf("%d of %d mails stored, %v", result.New, len(mails), err)
	}
	for i, mail := range mails {
		var got bytes.Buffer
		if err := store.Raw(t.Context(), mail.ID, &got); err != nil || !bytes.Equal(got.Bytes(), raws[i]) {
			t.Fatalf("%d bytes come back as %d, %v: %.500q", len(raws[i]), got.Len(), err, raws[i])
		}
	}
}
