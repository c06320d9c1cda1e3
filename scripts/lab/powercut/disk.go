package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sort"
	"time"
)

// policy is how much of the metadata (names, not contents) survives a power failure.
type policy int

const (
	// untilSync: what came before the last fsync of anything: it forces the journal.
	untilSync policy = iota
	// everything: the journal was written just before the failure.
	everything
)

func (p policy) String() string {
	if p == everything {
		return "complete"
	}
	return "as of the last fsync"
}

// disk is the recorded history of the files under one directory. Positions are lines of the trace: an operation
// counts as done from the line on which it ended.
type disk struct {
	root  string
	names []naming
	syncs []syncing // of any file, for the metadata
	files []*file
}

// naming is one change of the directory tree.
type naming struct {
	op       string // create, mkdir, rename, remove
	path, to string
	file     *file
	ended    int
	at       time.Time
}

// file is the history of one inode.
type file struct {
	changes []change
	syncs   []syncing
}

// change is a write, or, with nil data, a truncation to offset.
type change struct {
	offset int64
	data   []byte
	ended  int
	at     time.Time
}

// syncing is an fsync: it covers what ended before it began.
type syncing struct {
	began int
	at    time.Time // when it ended
}

func (d *disk) String() string {
	writes, bytes := 0, 0
	for _, f := range d.files {
		for _, c := range f.changes {
			writes++
			bytes += len(c.data)
		}
	}
	return fmt.Sprintf("%d files, %d changes of names, %d writes of %d bytes, %d fsyncs", len(d.files), len(d.names), writes, bytes, len(d.syncs))
}

// covered is the position up to which the last fsync that ended by then reaches.
func covered(syncs []syncing, moment time.Time) int {
	last := -1
	for _, s := range syncs {
		if !s.at.After(moment) {
			last = max(last, s.began)
		}
	}
	return last
}

// tree is which file has which name at a moment; a nil file is a directory.
func (d *disk) tree(moment time.Time, metadata policy) map[string]*file {
	upTo := covered(d.syncs, moment)
	tree := map[string]*file{d.root: nil}
	for _, n := range d.names {
		if n.at.After(moment) || metadata == untilSync && n.ended >= upTo {
			continue
		}
		switch n.op {
		case "create", "mkdir":
			tree[n.path] = n.file
		case "remove":
			delete(tree, n.path)
		case "rename":
			move(tree, n.path, n.to)
		}
	}
	return tree
}

// move renames a file, or a directory with all in it.
func move(tree map[string]*file, from, to string) {
	for path, f := range tree {
		if path == from || len(path) > len(from) && path[:len(from)] == from && path[len(from)] == '/' {
			delete(tree, path)
			tree[to+path[len(from):]] = f
		}
	}
}

// content is what the file holds after a power failure: what was synced. Truncations are metadata.
func (f *file) content(moment time.Time, metadata policy) []byte {
	upTo := covered(f.syncs, moment)
	var b []byte
	for _, c := range f.changes {
		if c.at.After(moment) {
			break
		}
		synced := c.ended < upTo
		switch {
		case c.data == nil && (synced || metadata == everything):
			b = resize(b, c.offset)
		case c.data != nil && synced:
			b = write(b, c)
		}
	}
	return b
}

func (f *file) all() []byte {
	var b []byte
	for _, c := range f.changes {
		if c.data == nil {
			b = resize(b, c.offset)
		} else {
			b = write(b, c)
		}
	}
	return b
}

func resize(b []byte, size int64) []byte {
	if int64(len(b)) >= size {
		return b[:size]
	}
	return append(b, make([]byte, size-int64(len(b)))...)
}

func write(b []byte, c change) []byte {
	end := c.offset + int64(len(c.data))
	if int64(len(b)) < end {
		b = resize(b, end)
	}
	copy(b[c.offset:], c.data)
	return b
}

// rebuild writes the store as it is after a power failure into dir.
func (d *disk) rebuild(dir string, moment time.Time, metadata policy) error {
	tree := d.tree(moment, metadata)
	for _, path := range sorted(tree) {
		rel, err := filepath.Rel(d.root, path)
		if err != nil {
			return err
		}
		target := filepath.Join(dir, rel)
		if err := os.MkdirAll(filepath.Dir(target), 0o755); err != nil {
			return err
		}
		if f := tree[path]; f == nil {
			err = os.MkdirAll(target, 0o755)
		} else {
			err = os.WriteFile(target, f.content(moment, metadata), 0o644)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func sorted(tree map[string]*file) []string {
	paths := make([]string, 0, len(tree))
	for path := range tree {
		paths = append(paths, path)
	}
	sort.Strings(paths)
	return paths
}

// compare checks the recording, with nothing dropped, against the real directory.
func (d *disk) compare(dir string) error {
	tree := d.tree(time.Now(), everything)
	var problems []error
	seen := map[string]bool{}
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		seen[path] = true
		f, known := tree[path]
		switch {
		case !known:
			problems = append(problems, fmt.Errorf("%s is not in the recording", path))
		case entry.IsDir():
		case f == nil:
			problems = append(problems, fmt.Errorf("%s is a directory in the recording", path))
		default:
			real, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			if got := f.all(); !bytes.Equal(real, got) {
				problems = append(problems, fmt.Errorf("%s differs: %d bytes, %d in the recording", path, len(real), len(got)))
			}
		}
		return nil
	})
	for path := range tree {
		if !seen[path] {
			problems = append(problems, fmt.Errorf("%s is only in the recording", path))
		}
	}
	return errors.Join(append(problems, err)...)
}
