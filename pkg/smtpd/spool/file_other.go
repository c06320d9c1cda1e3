//go:build !linux

package spool

import "os"

// createUnlinked opens a file that has no name any more.
func createUnlinked(dir string) (*os.File, error) { return createAndUnlink(dir) }

// InMemory cannot be told here.
func InMemory(string) bool { return false }
