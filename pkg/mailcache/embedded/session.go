package embedded

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
)

const (
	maxValue = 1 << 20 // as Memcached's default
	maxKey   = 250
	tooLarge = "SERVER_ERROR object too large for cache"
	badLine  = "CLIENT_ERROR bad command line format"
)

// session is one connection.
type session struct {
	store *store
	r     *bufio.Reader
	w     *bufio.Writer
}

// serve answers commands until the connection ends. Replies are sent when no more input is waiting.
func (s *session) serve(conn net.Conn) {
	s.r, s.w = bufio.NewReaderSize(conn, 64<<10), bufio.NewWriterSize(conn, 64<<10)
	for {
		line, err := s.r.ReadSlice('\n')
		if err != nil {
			return // gone, or a line of 64 KB
		}
		words := strings.Fields(string(bytes.TrimRight(line, "\r\n")))
		if len(words) > 0 && words[0] == "quit" {
			return
		}
		reply, err := s.command(words)
		if err != nil {
			return
		}
		if noreply := len(words) > 0 && words[len(words)-1] == "noreply"; !noreply {
			_, _ = s.w.WriteString(reply + "\r\n") // the error stays, and Flush returns it
		}
		if s.r.Buffered() == 0 {
			if err := s.w.Flush(); err != nil {
				return
			}
		}
	}
}

// command carries out one command, and returns its last line.
func (s *session) command(words []string) (string, error) {
	if len(words) == 0 {
		return "ERROR", nil
	}
	verb, args := words[0], words[1:]
	switch verb {
	case "set", "add", "replace", "append", "prepend", "cas":
		return s.put(verb, args)
	case "get", "gets":
		return s.get(verb == "gets", args)
	case "gat", "gats":
		return s.getAndTouch(verb == "gats", args)
	case "delete", "touch", "incr", "decr":
		return s.onKey(verb, args), nil
	case "flush_all":
		s.store.cache.InvalidateAll()
		return "OK", nil
	case "version":
		return "VERSION 1.6.0-embedded", nil
	case "verbosity":
		return "OK", nil
	}
	return "ERROR", nil
}

// put reads the value that follows the line. The error ends the connection: what follows could be a value.
func (s *session) put(verb string, args []string) (string, error) {
	want := 4
	if verb == "cas" {
		want = 5
	}
	if len(args) < want {
		return badLine, nil
	}
	flags, err1 := strconv.ParseUint(args[1], 10, 32)
	exptime, err2 := strconv.ParseInt(args[2], 10, 64)
	size, err3 := strconv.ParseUint(args[3], 10, 31)
	var cas uint64
	var err4 error
	if verb == "cas" {
		cas, err4 = strconv.ParseUint(args[4], 10, 64)
	}
	if err1 != nil || err2 != nil || err3 != nil || err4 != nil || len(args[0]) > maxKey {
		return badLine, nil
	}
	if size > maxValue {
		_, err := io.CopyN(io.Discard, s.r, int64(size)+2)
		return tooLarge, err
	}
	value := make([]byte, size+2)
	if _, err := io.ReadFull(s.r, value); err != nil {
		return "", err
	}
	if string(value[size:]) != "\r\n" {
		return "", fmt.Errorf("no line end after a value")
	}
	given := item{value: value[:size:size], flags: uint32(flags), expires: deadline(exptime)}
	return s.store.put(verb, args[0], given, cas), nil
}

func (s *session) get(withCAS bool, keys []string) (string, error) {
	if len(keys) == 0 {
		return "ERROR", nil
	}
	for _, key := range keys {
		if i, ok := s.store.get(key); ok {
			s.value(key, i, withCAS)
		}
	}
	return "END", nil
}

func (s *session) getAndTouch(withCAS bool, args []string) (string, error) {
	if len(args) < 2 {
		return "ERROR", nil
	}
	exptime, err := strconv.ParseInt(args[0], 10, 64)
	if err != nil {
		return badLine, nil
	}
	for _, key := range args[1:] {
		if i, ok := s.store.touch(key, deadline(exptime)); ok {
			s.value(key, i, withCAS)
		}
	}
	return "END", nil
}

func (s *session) value(key string, i item, withCAS bool) {
	// Errors stay in the writer until it is flushed.
	fmt.Fprintf(s.w, "VALUE %s %d %d", key, i.flags, len(i.value))
	if withCAS {
		fmt.Fprintf(s.w, " %d", i.cas)
	}
	_, _ = s.w.WriteString("\r\n")
	_, _ = s.w.Write(i.value)
	_, _ = s.w.WriteString("\r\n")
}

// onKey is the commands with a key and at most a number.
func (s *session) onKey(verb string, args []string) string {
	if len(args) == 0 {
		return "ERROR"
	}
	if verb == "delete" {
		if s.store.remove(args[0]) {
			return "DELETED"
		}
		return "NOT_FOUND"
	}
	if len(args) < 2 {
		return "ERROR"
	}
	if verb == "touch" {
		exptime, err := strconv.ParseInt(args[1], 10, 64)
		if err != nil {
			return badLine
		}
		if _, ok := s.store.touch(args[0], deadline(exptime)); ok {
			return "TOUCHED"
		}
		return "NOT_FOUND"
	}
	delta, err := strconv.ParseUint(args[1], 10, 64)
	if err != nil {
		return "CLIENT_ERROR invalid numeric delta argument"
	}
	return s.store.add(args[0], delta, verb == "incr")
}
