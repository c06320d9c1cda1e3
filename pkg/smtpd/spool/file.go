package spool

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// createAndUnlink is for where a file has a name to begin with.
func createAndUnlink(dir string) (*os.File, error) {
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
