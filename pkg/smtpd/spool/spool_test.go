package spool

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

func newPool(t testing.TB, cfg Config) *Pool {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	p, err := New(cfg, prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if memory, disk := p.InUse(); memory != 0 || disk != 0 || p.files.Load() != 0 {
			t.Errorf("not given back: %d bytes of memory, %d of disk, %d files", memory, disk, p.files.Load())
		}
		if names, err := os.ReadDir(cfg.Dir); err != nil || len(names) != 0 {
			t.Errorf("left in the directory: %v %v", names, err)
		}
	})
	return p
}

func begin(t testing.TB, p *Pool) *Buffer {
	t.Helper()
	b, err := p.Begin(netip.Prefix{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func random(n int) []byte {
	b := make([]byte, 0, n+8)
	rnd := rand.New(rand.NewPCG(1, uint64(n)))
	for len(b) < n {
		b = binary.LittleEndian.AppendUint64(b, rnd.Uint64())
	}
	return b[:n]
}

// write sends text in pieces as a dialogue would.
func write(b *Buffer, text []byte) error {
	rnd := rand.New(rand.NewPCG(2, uint64(len(text))))
	for len(text) > 0 {
		k := min(len(text), 1+rnd.IntN(32<<10))
		if rnd.IntN(3) == 0 {
			k = min(k, 80)
		}
		if _, err := b.Write(text[:k]); err != nil {
			return err
		}
		text = text[k:]
	}
	return b.Flush()
}

func TestBytesSizeAndDigest(t *testing.T) {
	p := newPool(t, Config{PerMail: 256 << 10, Memory: 64 << 20})
	for _, n := range []int{0, 1, 4000, 8 << 10, 8<<10 + 1, 100_000, 256 << 10, 256<<10 + 1, 3 << 20} {
		text := random(n)
		b := begin(t, p)
		if err := write(b, text); err != nil {
			t.Fatal(err)
		}
		if b.Size() != int64(n) || b.SHA256() != sha256.Sum256(text) {
			t.Errorf("%d bytes: size %d, digest differs: %v", n, b.Size(), b.SHA256() != sha256.Sum256(text))
		}
		got, err := io.ReadAll(io.NewSectionReader(b, 0, b.Size()))
		if err != nil || !bytes.Equal(got, text) {
			t.Errorf("%d bytes: ReadAt differs, %v", n, err)
		}
		mem, ok := b.Bytes()
		if ok != (n <= 256<<10) || ok && !bytes.Equal(mem, text) {
			t.Errorf("%d bytes: in memory: %v", n, ok)
		}
		memory, disk := p.InUse()
		if ok && disk != 0 || !ok && (memory != 0 || disk != int64(n)) {
			t.Errorf("%d bytes: accounted %d memory, %d disk", n, memory, disk)
		}
		if n == 4000 && memory != 16<<10 {
			t.Errorf("a 4 KB mail costs %d bytes of memory", memory)
		}
		if k, err := b.ReadAt(make([]byte, 1), int64(n)); k != 0 || err != io.EOF {
			t.Errorf("reading behind the end: %d %v", k, err)
		}
		if err := errors.Join(b.Close(), b.Close()); err != nil {
			t.Error(err)
		}
		if _, err := b.Write([]byte("x")); !errors.Is(err, ErrClosed) {
			t.Errorf("writing after Close: %v", err)
		}
	}
}

func TestMemoryBudgetGoesToDisk(t *testing.T) {
	p := newPool(t, Config{PerMail: 256 << 10, Memory: 400 << 10})
	first, second := begin(t, p), begin(t, p)
	text := random(200 << 10)
	for _, b := range []*Buffer{first, second} {
		if err := write(b, text); err != nil {
			t.Fatal(err)
		}
	}
	if _, ok := first.Bytes(); !ok {
		t.Error("the first mail is not in memory")
	}
	if _, ok := second.Bytes(); ok {
		t.Error("the second mail is in memory over the budget")
	}
	if memory, _ := p.InUse(); memory > 400<<10 {
		t.Errorf("%d bytes of memory in use", memory)
	}
	if second.SHA256() != sha256.Sum256(text) {
		t.Error("digest differs")
	}
	if err := errors.Join(first.Close(), second.Close()); err != nil {
		t.Error(err)
	}
}

func TestDiskBound(t *testing.T) {
	p := newPool(t, Config{PerMail: 8 << 10, Memory: 1 << 20, MaxDisk: 100_000})
	b := begin(t, p)
	err := write(b, random(200_000))
	if !errors.Is(err, ErrFull) {
		t.Fatalf("got %v, want ErrFull", err)
	}
	if err := b.Flush(); !errors.Is(err, ErrFull) {
		t.Errorf("Flush after a failed Write: %v", err)
	}
	if _, err := b.ReadAt(make([]byte, 1), 0); !errors.Is(err, ErrFull) {
		t.Errorf("a lost mail can be read: %v", err)
	}
	if _, ok := b.Bytes(); ok {
		t.Error("a lost mail has bytes")
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	exact := begin(t, p)
	if err := write(exact, random(100_000)); err != nil {
		t.Fatalf("exactly the bound: %v", err)
	}
	p.memory.used.Add(p.memory.limit) // a small mail would be let in while there is memory
	if _, err := p.Begin(netip.Prefix{}, nil); !errors.Is(err, ErrFull) {
		t.Errorf("Begin at the bound: %v", err)
	}
	if err := exact.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Full(); err != nil {
		t.Errorf("after Close: %v", err)
	}
	p.memory.used.Add(-p.memory.limit)
}

func TestManyAtOnce(t *testing.T) {
	p := newPool(t, Config{PerMail: 32 << 10, Memory: 200 << 10, MaxDisk: 2 << 20})
	var wg sync.WaitGroup
	for w := range 16 {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(3, uint64(w)))
			for range 50 {
				b, err := p.Begin(netip.Prefix{}, nil)
				if errors.Is(err, ErrFull) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				text := random(rnd.IntN(300 << 10))
				if err := write(b, text); err != nil && !errors.Is(err, ErrFull) {
					t.Error(err)
				} else if err == nil {
					got := make([]byte, len(text))
					if _, err := b.ReadAt(got, 0); err != nil && err != io.EOF || !bytes.Equal(got, text) {
						t.Errorf("read back differs: %v", err)
					}
				}
				if err := b.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func TestNewSaysWhatIsWrong(t *testing.T) {
	_, err := New(Config{Dir: filepath.Join(t.TempDir(), "missing")}, prometheus.NewRegistry())
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func BenchmarkMail(b *testing.B) {
	p, err := New(Config{Dir: b.TempDir()}, prometheus.NewRegistry())
	if err != nil {
		b.Fatal(err)
	}
	for _, size := range []struct {
		name string
		n    int
	}{{"4KB", 4 << 10}, {"20KB", 20 << 10}, {"200KB", 200 << 10}} {
		text := random(size.n)
		b.Run(size.name, func(b *testing.B) {
			b.SetBytes(int64(size.n))
			b.ReportAllocs()
			for b.Loop() {
				m, err := p.Begin(netip.Prefix{}, nil)
				if err != nil {
					b.Fatal(err)
				}
				for rest := text; len(rest) > 0; {
					k := min(len(rest), 32<<10)
					if _, err := m.Write(rest[:k]); err != nil {
						b.Fatal(err)
					}
					rest = rest[k:]
				}
				_ = m.SHA256()
				_ = m.Close()
			}
		})
	}
}
