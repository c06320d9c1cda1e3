package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// straceArgs records what changes files, each string whole and in hex. `-y` adds the path of a descriptor that is
// a directory's in the *at calls; `-T` and `-ttt` give the time at which a call ended.
func straceArgs(out string) []string {
	return []string{
		"strace", "--seccomp-bpf", "-f", "-y", "-xx", "-s", "67108864", "-ttt", "-T", "-o", out, "-e",
		"trace=open,openat,creat,close,dup,dup2,dup3,lseek,write,pwrite64,writev,pwritev,pwritev2,fsync,fdatasync,sync,syncfs,sync_file_range," +
			"ftruncate,truncate,fallocate,rename,renameat,renameat2,unlink,unlinkat,rmdir,mkdir,mkdirat,link,linkat,symlinkat,copy_file_range,sendfile,splice",
	}
}

// call is one system call of the trace.
type call struct {
	name   string
	args   []string
	result int64
	began  int // lines of the trace
	ended  int
	at     time.Time // when it ended
}

// player turns system calls into the history of a disk.
type player struct {
	disk *disk
	tree map[string]*file // now
	open map[int64]*handle
}

type handle struct {
	file   *file
	path   string
	offset int64
	append bool
	synced bool // O_SYNC
}

// readTrace plays the trace of everything under root.
func readTrace(trace, root string) (*disk, error) {
	in, err := os.Open(trace)
	if err != nil {
		return nil, err
	}
	defer in.Close()
	p := &player{
		disk: &disk{root: root}, open: map[int64]*handle{},
		tree: map[string]*file{root: nil},
	}
	unfinished := map[string]string{}
	begun := map[string]int{}
	handles := map[string]*handle{} // the descriptor of an unfinished call, as it was when the call began
	lines := bufio.NewReaderSize(in, 1<<20)
	for n := 0; ; n++ {
		line, err := lines.ReadString('\n')
		if err == io.EOF {
			return p.disk, nil
		}
		if err != nil {
			return nil, err
		}
		pid, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		stamp, rest, _ := strings.Cut(strings.TrimSpace(rest), " ")
		if strings.HasPrefix(rest, "+++") || strings.HasPrefix(rest, "---") {
			continue
		}
		if text, ok := strings.CutSuffix(rest, "<unfinished ...>"); ok {
			unfinished[pid], begun[pid] = strings.TrimSpace(text), n
			handles[pid] = p.begin(text)
			continue
		}
		began, resumed := n, false
		var h *handle
		if strings.HasPrefix(rest, "<... ") {
			_, tail, _ := strings.Cut(rest, "resumed>")
			rest, began, h, resumed = unfinished[pid]+tail, begun[pid], handles[pid], true
		} else {
			h = p.begin(rest)
		}
		c, err := parseCall(rest, stamp, resumed)
		if err != nil {
			return nil, fmt.Errorf("line %d of the trace: %w: %.200s", n+1, err, rest)
		}
		c.began, c.ended = began, n
		if err := p.play(c, h); err != nil {
			return nil, fmt.Errorf("line %d of the trace: %w: %.200s", n+1, err, rest)
		}
	}
}

// begin resolves the descriptor a call works on; a close frees it at once.
func (p *player) begin(text string) *handle {
	name, args, _ := strings.Cut(text, "(")
	fd, err := strconv.ParseInt(strings.TrimSpace(upTo(args, "<,)")), 10, 64)
	if err != nil {
		return nil
	}
	h := p.open[fd]
	if name == "close" {
		delete(p.open, fd)
	}
	return h
}

func upTo(s, stops string) string {
	if i := strings.IndexAny(s, stops); i >= 0 {
		return s[:i]
	}
	return s
}

// parseCall reads `name(args) = result <seconds>`.
func parseCall(text, stamp string, resumed bool) (call, error) {
	var c call
	i := strings.LastIndex(text, " = ") // strings are in hex: it is in none of them
	if i < 0 {
		return c, fmt.Errorf("no result")
	}
	var args string
	var ok bool
	if c.name, args, ok = strings.Cut(strings.TrimSuffix(strings.TrimSpace(text[:i]), ")"), "("); !ok {
		return c, fmt.Errorf("no arguments")
	}
	c.args = split(args)
	result := text[i+len(" = "):]
	c.result, _ = strconv.ParseInt(upTo(result, " <"), 10, 64)
	if strings.HasPrefix(result, "?") {
		c.result = -1
	}
	seconds, err := strconv.ParseFloat(stamp, 64)
	if err != nil {
		return c, err
	}
	micros := int64(seconds * 1e6)
	if j := strings.LastIndex(result, "<"); j >= 0 && !resumed {
		took, _ := strconv.ParseFloat(strings.Trim(result[j:], "<>"), 64)
		micros += int64(took*1e6) + 1
	}
	c.at = time.UnixMicro(micros)
	return c, nil
}

// split separates arguments; a string is in hex, so it has no comma or quote of its own.
func split(args string) []string {
	list := strings.Split(args, ",")
	for i := range list {
		list[i] = strings.TrimSpace(list[i])
	}
	return list
}

// text decodes a string argument.
func text(arg string) ([]byte, error) {
	arg = strings.Trim(arg, `"`)
	b := make([]byte, len(arg)/4)
	for i := range b {
		if arg[4*i] != '\\' || arg[4*i+1] != 'x' {
			return nil, fmt.Errorf("not a whole string in hex")
		}
		hi, lo := digit(arg[4*i+2]), digit(arg[4*i+3])
		b[i] = hi<<4 | lo
	}
	return b, nil
}

func digit(c byte) byte {
	if c >= 'a' {
		return c - 'a' + 10
	}
	return c - '0'
}

// path is the file an *at call means: its directory's descriptor is annotated with the directory's path.
func path(dir, name string) (string, error) {
	b, err := text(name)
	if err != nil || filepath.IsAbs(string(b)) {
		return string(b), err
	}
	_, where, found := strings.Cut(dir, "<")
	where = strings.TrimSuffix(where, ">")
	if strings.HasPrefix(where, `\x`) {
		raw, err := text(where)
		if err != nil {
			return "", err
		}
		where = string(raw)
	}
	if !found {
		return string(b), nil
	}
	return filepath.Join(where, string(b)), nil
}
