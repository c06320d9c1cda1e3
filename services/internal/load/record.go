package load

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"
)

// syncEvery is how often the record is made durable. What a killed generator has written is kept by the
// operating system anyway; syncing each line would take the disk away from the server under test.
const syncEvery = 250 * time.Millisecond

// recorder appends Acks to a file in the order they come in. An Ack is written before its connection takes
// the next mail, so a generator that is killed loses at most one Ack per connection.
type recorder struct {
	mu     sync.Mutex
	file   *os.File
	dirty  bool
	failed error // the first; a run whose record cannot be written is worth nothing

	stop, done chan struct{}
}

// openRecord begins or continues a record. A half line at its end, left by a killed generator, is removed.
func openRecord(path string) (*recorder, error) {
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("opening the record: %w", err)
	}
	if err := seekToLastLine(file); err != nil {
		_ = file.Close()
		return nil, fmt.Errorf("finding the end of the record %s: %w", path, err)
	}
	r := &recorder{file: file, stop: make(chan struct{}), done: make(chan struct{})}
	go r.syncOften()
	return r, nil
}

func seekToLastLine(file *os.File) error {
	end, err := file.Seek(0, io.SeekEnd)
	if err != nil || end == 0 {
		return err
	}
	const longestLine = 1 << 20
	start := max(0, end-longestLine)
	tail := make([]byte, end-start)
	if _, err := file.ReadAt(tail, start); err != nil {
		return err
	}
	keep := start + int64(bytes.LastIndexByte(tail, '\n')+1)
	if keep == start && start > 0 {
		return errors.New("its last line is longer than 1 MB: is it a record?")
	}
	if keep == end {
		return nil
	}
	if err := file.Truncate(keep); err != nil {
		return err
	}
	_, err = file.Seek(keep, io.SeekStart)
	return err
}

// add writes one line. The first error of the file is returned from then on.
func (r *recorder) add(a Ack) error {
	var line bytes.Buffer
	enc := json.NewEncoder(&line)
	enc.SetEscapeHTML(false)
	err := enc.Encode(a)
	r.mu.Lock()
	defer r.mu.Unlock()
	if err == nil {
		_, err = r.file.Write(line.Bytes())
	}
	r.dirty = true
	r.keep(err)
	return r.failed
}

// keep remembers the first error; mu is held.
func (r *recorder) keep(err error) {
	if err != nil && r.failed == nil {
		r.failed = fmt.Errorf("writing the record: %w", err)
	}
}

func (r *recorder) syncOften() {
	defer close(r.done)
	tick := time.NewTicker(syncEvery)
	defer tick.Stop()
	for {
		select {
		case <-r.stop:
			return
		case <-tick.C:
			r.sync()
		}
	}
}

// sync does not hold mu while the disk works, so that no mail waits for it.
func (r *recorder) sync() {
	r.mu.Lock()
	dirty := r.dirty
	r.dirty = false
	r.mu.Unlock()
	if !dirty {
		return
	}
	err := r.file.Sync()
	r.mu.Lock()
	r.keep(err)
	r.mu.Unlock()
}

// close syncs what is left and reports the first error.
func (r *recorder) close() error {
	close(r.stop)
	<-r.done
	r.sync()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keep(r.file.Close())
	return r.failed
}
