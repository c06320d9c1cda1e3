package spool

import (
	"errors"
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
	return createAndUnlink(dir)
}

// InMemory reports whether files in dir are kept in memory (tmpfs).
func InMemory(dir string) bool {
	var st unix.Statfs_t
	return unix.Statfs(dir, &st) == nil && (st.Type == unix.TMPFS_MAGIC || st.Type == unix.RAMFS_MAGIC)
}
