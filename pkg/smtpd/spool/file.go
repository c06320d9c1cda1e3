package spool

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// createUnlinked opens a file without a name in dir: whatever happens to the process, nothing is left behind.
func createUnlinked(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	if err == nil {
		return os.NewFile(uintptr(fd), dir+"/(unlinked)"), nil
	}
	// overlayfs of older kernels, NFS and some FUSE file systems have no O_TMPFILE; EISDIR is what kernels
	// before 3.11 say.
	if !errors.Is(err, unix.EOPNOTSUPP) && !errors.Is(err, unix.EISDIR) && !errors.Is(err, unix.EINVAL) {
		return nil, &os.PathError{Op: "open", Path: dir, Err: err}
	}
	f, err := os.CreateTemp(dir, "sluice-spool-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// diskError turns "no space" and "over quota" into ErrFull and remembers it for Full.
func (p *Pool) diskError(doing string, err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		p.short.Store(true)
		p.refused.WithLabelValues("no_space").Inc()
		return fmt.Errorf("spooling a mail: %s in %s: %w: %w", doing, p.dir, ErrFull, err)
	}
	return fmt.Errorf("spooling a mail: %s in %s: %w", doing, p.dir, err)
}
