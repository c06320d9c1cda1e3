package spool

import (
	"errors"
	"net/netip"
	"testing"

	"golang.org/x/sys/unix"
)

func TestNoSpaceLeft(t *testing.T) {
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
		t.Skipf("skipped: mounting a small tmpfs needs root: %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	p := newPool(t, Config{Dir: dir, PerMail: 64 << 10})
	b := begin(t, p)
	err := write(b, random(2<<20))
	if !errors.Is(err, ErrFull) || !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("got %v, want ErrFull for ENOSPC", err)
	}
	p.memory.used.Add(p.memory.limit)
	if _, err := p.Begin(netip.Prefix{}, nil); !errors.Is(err, ErrFull) {
		t.Errorf("Begin on a full file system: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := p.Full(); err != nil {
		t.Errorf("with room again: %v", err)
	}
	p.memory.used.Add(-p.memory.limit)
	again := begin(t, p)
	if err := write(again, random(500<<10)); err != nil {
		t.Error(err)
	}
	if err := again.Close(); err != nil {
		t.Error(err)
	}
}
