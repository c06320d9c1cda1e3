package spool

import (
	"cmp"
	"errors"
	"net/netip"
	"slices"
	"time"
)

// ErrShed says that a mail was ended to make room for others. The SMTP reply is 421 4.3.1.
var ErrShed = errors.New("the upload was ended: it makes too little progress, and its room is needed")

// takeDisk accounts n bytes of temporary files for b. When the bound is reached, it takes them from uploads that make too
// little progress; it returns false when there is none. b is nil for a mail that has nothing yet.
func (p *Pool) takeDisk(b *Buffer, n int64) bool {
	for !p.disk.take(n) {
		victim := p.shedOne(b)
		if victim == nil {
			return false
		}
		p.shedCount.Inc()
		if victim.onShed != nil {
			victim.onShed()
		}
	}
	return true
}

// candidate is an upload that might be shed.
type candidate struct {
	buffer *Buffer
	idle   time.Duration
	over   bool // its network has more than its share
}

// shedOne ends one upload that is on disk and takes its room. Uploads of networks with more than their share come first, and among
// these the one that has stood still for longest. An upload of a network within its share, or of the same network as b, is
// ended only if it has stood still for a while; otherwise uploads would take each other's room, and none would finish.
func (p *Pool) shedOne(b *Buffer) *Buffer {
	p.mu.Lock()
	defer p.mu.Unlock()
	held := make(map[netip.Prefix]int64)
	for other := range p.spooled {
		held[other.network] += other.onDisk.Load()
	}
	var list []candidate
	now := p.now()
	for other := range p.spooled {
		c := candidate{other, now - time.Duration(other.grown.Load()), held[other.network] > p.share}
		greedy := c.over && (b == nil || other.network != b.network)
		if other != b && (greedy || c.idle >= p.patience) {
			list = append(list, c)
		}
	}
	slices.SortFunc(list, func(x, y candidate) int {
		if x.over != y.over {
			if x.over {
				return -1
			}
			return 1
		}
		return cmp.Compare(y.idle, x.idle)
	})
	for _, c := range list {
		if c.buffer.lose() {
			return c.buffer
		}
	}
	return nil
}

// lose ends the mail and releases its room; the pool is locked. It returns false if the mail is being written or read at this
// moment, or is complete, so that the log may have it soon.
func (b *Buffer) lose() bool {
	if !b.mu.TryLock() {
		return false
	}
	defer b.mu.Unlock()
	if b.closed || b.sealed || b.file == nil {
		return false
	}
	b.err = ErrShed
	_ = b.dropFile() // nothing of it is needed any more
	delete(b.pool.spooled, b)
	return true
}

// now is the time since the pool was made.
func (p *Pool) now() time.Duration { return time.Since(p.epoch) }
