package main

import (
	"fmt"
	"strconv"
	"strings"
)

// play applies one call that ended.
func (p *player) play(c call, h *handle) error {
	if c.result < 0 {
		return nil
	}
	switch c.name {
	case "openat", "open", "creat":
		return p.opened(c)
	case "close":
		return nil
	case "lseek":
		if h != nil {
			h.offset = c.result
		}
		return nil
	case "write", "pwrite64":
		if h != nil {
			return p.wrote(c, h)
		}
		return nil
	case "fsync", "fdatasync":
		if h != nil {
			p.synced(h.file, c.began, c)
		}
		return nil
	case "ftruncate":
		if h != nil {
			return p.truncated(h.file, c.args[1], c)
		}
		return nil
	case "truncate":
		name, err := path("", c.args[0])
		if err != nil || !p.ours(name) {
			return err
		}
		return p.truncated(p.tree[name], c.args[1], c)
	case "mkdir", "mkdirat", "rename", "renameat", "renameat2", "unlink", "unlinkat", "rmdir":
		return p.named(c)
	}
	// The rest is recorded so that a server that begins to use it is noticed.
	if h != nil {
		return fmt.Errorf("%s is not simulated", c.name)
	}
	return nil
}

func (p *player) ours(name string) bool {
	return name == p.disk.root || strings.HasPrefix(name, p.disk.root+"/")
}

func (p *player) opened(c call) error {
	args := c.args
	if c.name != "openat" {
		args = append([]string{"AT_FDCWD"}, args...)
	}
	name, err := path(args[0], args[1])
	if err != nil || !p.ours(name) {
		return err
	}
	flags := args[2]
	f, known := p.tree[name]
	if known && f == nil {
		p.open[c.result] = &handle{path: name, file: nil} // a directory; fsync of it forces the journal
		return nil
	}
	if !known {
		f = &file{}
		p.disk.files = append(p.disk.files, f)
		p.tree[name] = f
		p.disk.names = append(p.disk.names, naming{op: "create", path: name, file: f, ended: c.ended, at: c.at})
	} else if strings.Contains(flags, "O_TRUNC") {
		f.changes = append(f.changes, change{ended: c.ended, at: c.at})
	}
	p.open[c.result] = &handle{
		path: name, file: f, append: strings.Contains(flags, "O_APPEND"),
		synced: strings.Contains(flags, "O_SYNC") || strings.Contains(flags, "O_DSYNC"),
	}
	return nil
}

func (p *player) wrote(c call, h *handle) error {
	data, err := text(c.args[1])
	if err != nil {
		return err
	}
	if int64(len(data)) < c.result {
		return fmt.Errorf("strace cut the data: %d of %d bytes", len(data), c.result)
	}
	data = data[:c.result]
	offset := h.offset
	switch {
	case c.name == "pwrite64":
		if offset, err = strconv.ParseInt(c.args[3], 10, 64); err != nil {
			return err
		}
	case h.append:
		offset = int64(len(h.file.all()))
		h.offset = offset + c.result
	default:
		h.offset += c.result
	}
	h.file.changes = append(h.file.changes, change{offset, data, c.ended, c.at})
	if h.synced {
		p.synced(h.file, c.ended+1, c)
	}
	return nil
}

// synced notes an fsync, or a write that is one, of a file or (nil) a directory.
func (p *player) synced(f *file, began int, c call) {
	s := syncing{began, c.at}
	p.disk.syncs = append(p.disk.syncs, s)
	if f != nil {
		f.syncs = append(f.syncs, s)
	}
}

func (p *player) truncated(f *file, size string, c call) error {
	n, err := strconv.ParseInt(size, 10, 64)
	if err != nil || f == nil {
		return fmt.Errorf("truncation of an unknown file: %w", err)
	}
	f.changes = append(f.changes, change{offset: n, ended: c.ended, at: c.at})
	return nil
}

// named applies the calls that change names.
func (p *player) named(c call) error {
	args := c.args
	if !strings.HasSuffix(strings.TrimSuffix(c.name, "2"), "at") {
		args = []string{"AT_FDCWD", args[0]}
		if c.name == "rename" {
			args = []string{"AT_FDCWD", c.args[0], "AT_FDCWD", c.args[1]}
		}
	}
	from, err := path(args[0], args[1])
	if err != nil || !p.ours(from) {
		return err
	}
	n := naming{path: from, ended: c.ended, at: c.at}
	switch c.name {
	case "mkdir", "mkdirat":
		n.op = "mkdir"
		p.tree[from] = nil
	case "unlink", "unlinkat", "rmdir":
		n.op = "remove"
		delete(p.tree, from)
	default:
		n.op = "rename"
		if n.to, err = path(args[2], args[3]); err != nil {
			return err
		}
		move(p.tree, n.path, n.to)
	}
	p.disk.names = append(p.disk.names, n)
	return nil
}
