package storetest

import (
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"runtime"
	"runtime/debug"
	"testing"

	"github.com/sluice-mail/sluice/pkg/mailstore"
)

func largeMailInParts(t *testing.T, open Open) {
	s := open(t, Options{})
	m := largeMail(t, 4, 3*mailstore.PartSize+5, "a@example.com", "b@example.com")
	put(t, s, mailstore.Result{New: 1}, m)
	stored, err := s.Mail(t.Context(), m.ID)
	if err != nil {
		t.Fatal(err)
	}
	if stored.Parts != 4 || stored.Size != m.Size || len(stored.Entries) != 2 {
		t.Errorf("stored as %+v", stored)
	}
	hash := sha256.New()
	if err := s.Raw(t.Context(), m.ID, hash); err != nil {
		t.Fatal(err)
	}
	if [32]byte(hash.Sum(nil)) != m.SHA256 {
		t.Error("other bytes came back")
	}
	opened := 0
	inner := m.Open
	m.Open = func(ctx context.Context) (io.ReadCloser, error) { opened++; return inner(ctx) }
	put(t, s, mailstore.Result{Existing: 1}, m)
	if opened > 1 || len(allIDs(t, s)) != 1 {
		t.Error("a large mail that is there already was stored again")
	}
}

// A mail of 100 MiB goes in and out through a few parts' worth of memory.
func largeMailNeedsLittleMemory(t *testing.T, open Open) {
	const size, limit = 100 << 20, 72 << 20
	s := open(t, Options{})
	m := largeMail(t, 5, size, "a@example.com")
	defer debug.SetGCPercent(debug.SetGCPercent(25))
	var peak meter
	inner := m.Open
	m.Open = func(ctx context.Context) (io.ReadCloser, error) {
		r, err := inner(ctx)
		return io.NopCloser(io.TeeReader(r, &peak)), err
	}
	runtime.GC()
	runtime.GC() // what pools held goes with the second
	peak.start()
	put(t, s, mailstore.Result{New: 1}, m)
	if err := s.Raw(t.Context(), m.ID, &peak); err != nil {
		t.Fatal(err)
	}
	if peak.seen != 2*size {
		t.Fatalf("%d bytes seen, want %d", peak.seen, 2*size)
	}
	t.Logf("at most %d MiB more than before", peak.most>>20)
	if peak.most > limit {
		t.Errorf("%d MiB of memory, allowed are %d", peak.most>>20, limit>>20)
	}
}

// meter looks at the heap every MiB that passes by.
type meter struct {
	base, most  int64
	seen, asked int64
}

func (m *meter) start() { m.base = heap() }

func heap() int64 {
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

func (m *meter) Write(p []byte) (int, error) {
	m.seen += int64(len(p))
	if m.seen-m.asked >= 1<<20 {
		m.asked = m.seen
		m.most = max(m.most, heap()-m.base)
	}
	return len(p), nil
}

// The caller gives up in the middle of a mail.
func cancelled(t *testing.T, open Open) {
	s := open(t, Options{})
	m := largeMail(t, 7, 20<<20, "a@example.com")
	whole := m.Open
	ctx, cancel := context.WithCancel(t.Context())
	m.Open = func(ctx context.Context) (io.ReadCloser, error) {
		r, err := whole(ctx)
		return io.NopCloser(io.TeeReader(r, after{10 << 20, new(int), cancel})), err
	}
	for range 2 { // the second time it is cancelled from the start
		_, err := s.PutBatch(ctx, []mailstore.Mail{m})
		if !errors.Is(err, context.Canceled) || mailstore.Classify(err) != mailstore.Reconnect {
			t.Errorf("%v: %v", mailstore.Classify(err), err)
		}
	}
	if len(allIDs(t, s)) != 0 {
		t.Error("something was stored")
	}
	m.Open = whole
	put(t, s, mailstore.Result{New: 1}, m)
}

// after calls fn when n bytes have passed.
type after struct {
	n    int
	seen *int
	fn   func()
}

func (a after) Write(p []byte) (int, error) {
	if *a.seen += len(p); *a.seen >= a.n {
		a.fn()
	}
	return len(p), nil
}
