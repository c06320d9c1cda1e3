// Package spool holds the bytes of a mail from their arrival until the log has them. Small mails are in memory; large ones, and
// all of them once the memory budget is used up, are in an unlinked temporary file, which disappears with the process.
// Memory and disk are bounded for the whole process. Size and SHA-256 are known as soon as the last byte has arrived.
package spool

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sys/unix"
)

// ErrFull says that neither memory nor disk may take more now. The SMTP answer is 452 4.3.1.
var ErrFull = errors.New("spool is full")

// Defaults for zero fields of Config.
const (
	DefaultMemory  = 256 << 20
	DefaultPerMail = 256 << 10
	DefaultMaxDisk = 4 << 30

	defaultPatience = 5 * time.Second
)

// Config bounds a Pool. Zero fields take the defaults above.
type Config struct {
	// Dir is where temporary files go; empty means the system's temporary directory.
	Dir string
	// Memory is what all mails together may hold in memory.
	Memory int64
	// PerMail is what one mail may hold in memory before it moves to a file.
	PerMail int
	// MaxDisk is what all temporary files together may hold.
	MaxDisk int64
	// Share is how much of that one network keeps when others need room; an eighth when 0.
	Share int64
	// Patience is how long an upload within its share may stand still when others need room.
	Patience time.Duration
}

// Pool hands out Buffers and keeps their sum within bounds. It is safe for concurrent use.
type Pool struct {
	dir     string
	perMail int
	classes []class
	memory  account
	disk    account
	files   atomic.Int64
	// short is set when the file system refused a write although MaxDisk had room (ENOSPC, EDQUOT), and
	// cleared when Full sees free space again.
	short  atomic.Bool
	stages sync.Pool

	share    int64
	patience time.Duration
	epoch    time.Time
	mu       sync.Mutex // taken with a Buffer's own locked, never the other way round
	spooled  map[*Buffer]struct{}

	refused   *prometheus.CounterVec
	shedCount prometheus.Counter
}

// class is one size of memory buffers. A mail climbs through the classes as it grows, so that a 4 KB mail
// does not cost what a 256 KB mail costs.
type class struct {
	size int
	free *sync.Pool
}

// account is a bounded counter.
type account struct {
	used  atomic.Int64
	limit int64
}

func (a *account) take(n int64) bool {
	if a.used.Add(n) <= a.limit {
		return true
	}
	a.used.Add(-n)
	return false
}

func (a *account) give(n int64) { a.used.Add(-n) }

// New makes a Pool and checks that Dir can hold temporary files.
func New(cfg Config, reg prometheus.Registerer) (*Pool, error) {
	cfg = withDefaults(cfg)
	p := &Pool{
		dir:     cfg.Dir,
		perMail: cfg.PerMail,
		classes: makeClasses(cfg.PerMail),
		memory:  account{limit: cfg.Memory},
		disk:    account{limit: cfg.MaxDisk},
		share:   cfg.Share, patience: cfg.Patience,
		epoch:   time.Now(),
		spooled: make(map[*Buffer]struct{}),
		stages:  sync.Pool{New: func() any { return new([stageSize]byte) }},
	}
	f, err := createUnlinked(p.dir)
	if err != nil {
		return nil, fmt.Errorf("checking the spool directory %s (it must exist, be writable and have room): %w", p.dir, err)
	}
	if err := f.Close(); err != nil {
		return nil, fmt.Errorf("checking the spool directory %s: %w", p.dir, err)
	}
	return p, p.register(reg)
}

func withDefaults(cfg Config) Config {
	if cfg.Dir == "" {
		cfg.Dir = os.TempDir()
	}
	if cfg.Memory == 0 {
		cfg.Memory = DefaultMemory
	}
	if cfg.PerMail == 0 {
		cfg.PerMail = DefaultPerMail
	}
	if cfg.MaxDisk == 0 {
		cfg.MaxDisk = DefaultMaxDisk
	}
	cfg.Share = cmp.Or(cfg.Share, cfg.MaxDisk/8)
	cfg.Patience = cmp.Or(cfg.Patience, defaultPatience)
	return cfg
}

// makeClasses cuts perMail into sizes four apart, smallest first, never under 8 KiB.
func makeClasses(perMail int) []class {
	var sizes []int
	for size := perMail; ; size /= 4 {
		sizes = append(sizes, size)
		if size/4 < 8<<10 {
			break
		}
	}
	classes := make([]class, len(sizes))
	for i, size := range sizes {
		classes[len(sizes)-1-i] = class{size: size, free: &sync.Pool{New: func() any {
			b := make([]byte, size)
			return &b
		}}}
	}
	return classes
}

// Begin starts one mail of a client's network. It takes no memory before the first byte; Close releases everything it took. shed
// is called, from any goroutine, when the mail is ended because others need its room; Close must be called then too.
func (p *Pool) Begin(network netip.Prefix, shed func()) (*Buffer, error) {
	if err := p.Full(); err != nil {
		return nil, err
	}
	return &Buffer{pool: p, network: network, onShed: shed, hash: sha256.New()}, nil
}

// Full says, for the answer to MAIL, whether another mail could be accepted: nil or ErrFull. While there is memory the answer
// is nil, because most mails never need a file.
func (p *Pool) Full() error {
	smallest := int64(p.classes[0].size)
	if p.memory.used.Load()+smallest <= p.memory.limit {
		return nil
	}
	if p.disk.used.Load()+smallest > p.disk.limit && !p.haveDisk(smallest) {
		p.refused.WithLabelValues("disk_bound").Inc()
		return fmt.Errorf("temporary files reached their bound of %d bytes: %w", p.disk.limit, ErrFull)
	}
	if p.short.Load() && !p.hasRoomAgain() {
		p.refused.WithLabelValues("no_space").Inc()
		return fmt.Errorf("the file system of %s has no room: %w", p.dir, ErrFull)
	}
	return nil
}

// haveDisk makes room for n bytes without keeping it.
func (p *Pool) haveDisk(n int64) bool {
	if !p.takeDisk(nil, n) {
		return false
	}
	p.disk.give(n)
	return true
}

// hasRoomAgain asks the file system after it had refused a write.
func (p *Pool) hasRoomAgain() bool {
	var st unix.Statfs_t
	if err := unix.Statfs(p.dir, &st); err != nil {
		return false
	}
	if int64(st.Bavail)*int64(st.Bsize) < int64(p.perMail) {
		return false
	}
	p.short.Store(false)
	return true
}

// InUse reports the bytes accounted for in memory and on disk, for tests and status pages.
func (p *Pool) InUse() (memory, disk int64) { return p.memory.used.Load(), p.disk.used.Load() }

func (p *Pool) register(reg prometheus.Registerer) error {
	p.refused = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "sluice_spool_refused_total",
		Help: "Times the spool refused a mail, by what was exhausted.",
	}, []string{"reason"})
	p.shedCount = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "sluice_spool_shed_total",
		Help: "Uploads ended to make room for others, because they stood still or their network had more than its share.",
	})
	gauge := func(name, help string, value *atomic.Int64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help},
			func() float64 { return float64(value.Load()) })
	}
	for _, c := range []prometheus.Collector{
		p.refused, p.shedCount,
		gauge("sluice_spool_memory_bytes", "Bytes in memory of mails that are being received.", &p.memory.used),
		gauge("sluice_spool_disk_bytes", "Bytes on disk of mails that are being received.", &p.disk.used),
		gauge("sluice_spool_files", "Temporary files open.", &p.files),
	} {
		if err := reg.Register(c); err != nil {
			return fmt.Errorf("registering spool metrics: %w", err)
		}
	}
	return nil
}
