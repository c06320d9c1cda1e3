package mailparse

import (
	"bytes"
	"strings"
)

// mediaType reads "type/subtype" at the start of a Content-Type value, in lower case. The common ones
// cost no memory.
func mediaType(value []byte) (string, bool) {
	value = skipSpace(value)
	end := bytes.IndexAny(value, "; \t\r\n(,\"")
	if end >= 0 {
		value = value[:end]
	}
	slash := bytes.IndexByte(value, '/')
	if slash <= 0 || slash == len(value)-1 || len(value) > 127 { // RFC 6838 section 4.2
		return "", false
	}
	var buf [127]byte
	low := buf[:len(value)]
	for i, c := range value {
		if c <= ' ' || c >= 127 {
			return "", false
		}
		low[i] = lower(c)
	}
	switch string(low) {
	case "text/plain":
		return "text/plain", true
	case "text/html":
		return "text/html", true
	case "multipart/alternative":
		return "multipart/alternative", true
	case "multipart/mixed":
		return "multipart/mixed", true
	case "multipart/related":
		return "multipart/related", true
	case "application/octet-stream":
		return "application/octet-stream", true
	case "application/pdf":
		return "application/pdf", true
	case "image/png":
		return "image/png", true
	case "image/jpeg":
		return "image/jpeg", true
	}
	return string(low), true
}

func isMultipart(mediaType string) bool { return strings.HasPrefix(mediaType, "multipart/") }

func isText(mediaType string) bool { return strings.HasPrefix(mediaType, "text/") }

// paramScanner steps over the parameters behind the first word of a structured value (RFC 2045 section
// 5.1), taking what senders really write: missing quotes, words without a value, comments.
type paramScanner struct {
	rest   []byte
	name   []byte
	value  []byte // without its quotes; escapes and folds are still in it
	quoted bool
	count  int
	// steps counts the bytes looked at; the tests hold it to a multiple of the length.
	steps int
}

func scanParams(value []byte) paramScanner {
	if i := bytes.IndexAny(value, "; \t\r\n"); i >= 0 {
		return paramScanner{rest: value[i:]}
	}
	return paramScanner{}
}

func (s *paramScanner) next() bool {
	for s.count < MaxParams {
		before := len(s.rest)
		for len(s.rest) > 0 && (s.rest[0] == ';' || isSpace(s.rest[0])) {
			s.rest = s.rest[1:]
		}
		s.rest = skipSpace(s.rest) // comments too
		s.steps += before - len(s.rest)
		if len(s.rest) == 0 {
			return false
		}
		s.count++
		end := bytes.IndexAny(s.rest, "=;")
		s.steps += max(end, 0)
		if end < 0 {
			s.steps += len(s.rest)
			return false
		}
		name := s.rest[:end]
		if s.rest[end] == ';' { // a word without a value
			s.rest = s.rest[end:]
			continue
		}
		s.name = bytes.TrimSpace(name)
		s.readValue(bytes.TrimLeft(s.rest[end+1:], " \t\r\n")) // a file may be named "(1).pdf"
		return true
	}
	return false
}

func (s *paramScanner) readValue(rest []byte) {
	s.quoted = false
	if len(rest) > 0 && rest[0] == '"' {
		end := closingQuote(rest)
		s.steps += max(end, 0)
		if end > 0 {
			s.quoted = true
			s.value, s.rest = rest[1:end], rest[end+1:]
			return
		}
		s.steps += len(rest)
		rest = rest[1:] // never closed: up to the next parameter
	}
	end := bytes.IndexByte(rest, ';')
	if end < 0 {
		end = len(rest)
	}
	s.steps += end
	s.value, s.rest = bytes.TrimSpace(rest[:end]), rest[end:]
}

// closingQuote returns the index of the quote that ends the quoted string s begins with, or -1.
func closingQuote(s []byte) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

// unquote removes the line ends of folds, and the escapes of a quoted string (RFC 5322 section 3.2.4). A
// backslash that does not escape a quote or a backslash stays: senders write Windows paths.
func unquote(s []byte, quoted bool) []byte {
	if !bytes.ContainsAny(s, "\\\r\n") {
		return s
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\r' || c == '\n':
		case quoted && c == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'):
			i++
			out = append(out, s[i])
		default:
			out = append(out, c)
		}
	}
	return out
}

// skipSpace removes white space and comments (RFC 5322 section 3.2.2) from the front.
func skipSpace(s []byte) []byte {
	depth := 0
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '(':
			depth++
		case depth > 0 && c == ')':
			depth--
		case depth > 0 && c == '\\':
			i++
		case depth == 0 && !isSpace(c):
			return s[i:]
		}
	}
	return nil
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c | 0x20
	}
	return c
}

// equalFold compares with a lower-case ASCII word.
func equalFold(s []byte, word string) bool {
	if len(s) != len(word) {
		return false
	}
	for i, c := range s {
		if lower(c) != word[i] {
			return false
		}
	}
	return true
}
