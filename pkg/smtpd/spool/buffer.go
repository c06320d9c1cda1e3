package spool

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
)

// stageSize is what a mail in a file keeps in memory to join small writes (a dot-stuffed line arrives as
// several spans). It is not part of the memory budget: one per large mail in flight.
const stageSize = 8 << 10

// ErrClosed is returned by every operation on a Buffer after Close.
var ErrClosed = errors.New("spool buffer is closed")

// Buffer is one mail. Writing is for one goroutine; after Flush any number may ReadAt.
type Buffer struct {
	pool    *Pool
	network netip.Prefix
	onShed  func()
	hash    hash.Hash
	size    int64

	mem   *[]byte // current memory buffer, nil before the first byte and after the move to a file
	class int     // index of mem's class

	mu     sync.Mutex // the owner against shedding, Flush against ReadAt
	err    error      // the first failed write, or ErrShed; the mail is lost from then on
	file   *os.File
	stage  *[stageSize]byte
	staged int
	sealed bool // Flush was called: the mail is whole
	closed bool

	onDisk atomic.Int64 // bytes accounted to the disk bound
	grown  atomic.Int64 // when the file last grew, in nanoseconds of Pool.now
}

// Write appends to the mail. Its error wraps ErrFull when the bounds or the disk are exhausted; after an
// error every further Write and Flush returns it again.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return 0, ErrClosed
	}
	if b.err != nil {
		return 0, b.err
	}
	if err := b.append(p); err != nil {
		b.err = err
		return 0, err
	}
	b.hash.Write(p)
	b.size += int64(len(p))
	return len(p), nil
}

func (b *Buffer) append(p []byte) error {
	need := int(b.size) + len(p)
	if b.file == nil && (b.mem == nil || need > len(*b.mem)) && len(p) > 0 {
		if !b.grow(need) {
			if err := b.moveToFile(); err != nil {
				return err
			}
		}
	}
	if b.file == nil {
		if len(p) > 0 {
			copy((*b.mem)[b.size:], p)
		}
		return nil
	}
	return b.appendFile(p)
}

// grow moves the mail to the memory class that holds need bytes; false when it must go to a file.
func (b *Buffer) grow(need int) bool {
	for i, c := range b.pool.classes {
		if c.size < need {
			continue
		}
		if !b.pool.memory.take(int64(c.size)) {
			return false
		}
		next := c.free.Get().(*[]byte)
		if b.mem != nil {
			copy(*next, (*b.mem)[:b.size])
			b.releaseMemory()
		}
		b.mem, b.class = next, i
		return true
	}
	return false
}

func (b *Buffer) moveToFile() error {
	f, err := createUnlinked(b.pool.dir)
	if err != nil {
		return b.pool.diskError("creating a temporary file", err)
	}
	b.pool.files.Add(1)
	b.file = f
	b.grown.Store(int64(b.pool.now()))
	b.pool.mu.Lock()
	b.pool.spooled[b] = struct{}{}
	b.pool.mu.Unlock()
	b.stage = b.pool.stages.Get().(*[stageSize]byte)
	if b.mem == nil {
		return nil
	}
	if err := b.appendFile((*b.mem)[:b.size]); err != nil {
		return err
	}
	b.releaseMemory()
	return nil
}

func (b *Buffer) releaseMemory() {
	c := b.pool.classes[b.class]
	c.free.Put(b.mem)
	b.pool.memory.give(int64(c.size))
	b.mem = nil
}

func (b *Buffer) appendFile(p []byte) error {
	if !b.pool.takeDisk(b, int64(len(p))) {
		b.pool.refused.WithLabelValues("disk_bound").Inc()
		return fmt.Errorf("spooling a mail: temporary files reached their bound of %d bytes: %w", b.pool.disk.limit, ErrFull)
	}
	b.onDisk.Add(int64(len(p)))
	if len(p) < stageSize-b.staged {
		b.staged += copy(b.stage[b.staged:], p)
		return nil
	}
	b.grown.Store(int64(b.pool.now()))
	if err := b.flushStage(); err != nil {
		return err
	}
	if len(p) < stageSize {
		b.staged = copy(b.stage[:], p)
		return nil
	}
	if _, err := b.file.Write(p); err != nil {
		return b.pool.diskError("writing a temporary file", err)
	}
	return nil
}

func (b *Buffer) flushStage() error {
	if b.staged == 0 {
		return nil
	}
	if _, err := b.file.Write(b.stage[:b.staged]); err != nil {
		return b.pool.diskError("writing a temporary file", err)
	}
	b.staged = 0
	return nil
}

// Flush makes every byte readable by ReadAt. Call it once after the last Write and look at its error: it is
// the last chance to hear that the disk is full.
func (b *Buffer) Flush() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sealed = true
	switch {
	case b.closed:
		return ErrClosed
	case b.err != nil:
		return b.err
	case b.file == nil:
		return nil
	}
	b.err = b.flushStage()
	return b.err
}

// ReadAt reads from the mail wherever it is. It implements io.ReaderAt and flushes first when needed.
func (b *Buffer) ReadAt(p []byte, off int64) (int, error) {
	if err := b.Flush(); err != nil {
		return 0, err
	}
	if b.file != nil {
		return b.file.ReadAt(p, off)
	}
	if off < 0 {
		return 0, fmt.Errorf("reading a spooled mail at negative offset %d", off)
	}
	if off >= b.size {
		return 0, io.EOF
	}
	n := copy(p, (*b.mem)[off:b.size])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Bytes returns the whole mail when it is in memory. The slice is valid until Close.
func (b *Buffer) Bytes() ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.file != nil || b.closed || b.err != nil {
		return nil, false
	}
	if b.mem == nil {
		return []byte{}, true
	}
	return (*b.mem)[:b.size:b.size], true
}

// Size is the number of bytes written.
func (b *Buffer) Size() int64 { return b.size }

// SHA256 is the digest of the bytes written so far.
func (b *Buffer) SHA256() [sha256.Size]byte {
	var sum [sha256.Size]byte
	b.hash.Sum(sum[:0])
	return sum
}

// Close gives back memory, disk and accounting. It may be called more than once.
func (b *Buffer) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return nil
	}
	b.closed = true
	if b.mem != nil {
		b.releaseMemory()
	}
	if b.file == nil {
		return nil
	}
	b.pool.mu.Lock()
	delete(b.pool.spooled, b)
	b.pool.mu.Unlock()
	return b.dropFile()
}

// dropFile gives back what a mail on disk holds.
func (b *Buffer) dropFile() error {
	err := b.file.Close()
	b.pool.stages.Put(b.stage)
	b.file, b.stage = nil, nil
	b.pool.disk.give(b.onDisk.Swap(0))
	b.pool.files.Add(-1)
	return err
}
